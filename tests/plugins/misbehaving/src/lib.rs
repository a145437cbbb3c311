//! Everything that a plugin should not do, one component each.

mod attacks;
mod others;

use attacks::{
    Aborts, DependsOnBatch, EatsMemory, Hangs, IgnoresCancel, LeaksTape, LeavesBall, Misbehaving, OverQueries, Panics,
    Prints, RandomOutside, Segfaults, WritesNan,
};
use others::{DefenseCrashes, LossPanics, ModelCrashes, ModelNan};

realsafe_plugin::plugin! {
    static PLUGIN: [
        attack Misbehaving<Aborts>,
        attack Misbehaving<DependsOnBatch>,
        attack Misbehaving<EatsMemory>,
        attack Misbehaving<Hangs>,
        attack Misbehaving<IgnoresCancel>,
        attack Misbehaving<LeaksTape>,
        attack Misbehaving<LeavesBall>,
        attack Misbehaving<OverQueries>,
        attack Misbehaving<Panics>,
        attack Misbehaving<Prints>,
        attack Misbehaving<RandomOutside>,
        attack Misbehaving<Segfaults>,
        attack Misbehaving<WritesNan>,
        defense DefenseCrashes,
        loss LossPanics,
        model ModelCrashes,
        model ModelNan,
    ]
}
realsafe_plugin::export!(PLUGIN);
