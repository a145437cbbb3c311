//! The vocabulary on burn: images, models, defenses, attacks, the doors that attacks go through, and the driver that
//! runs them.
//!
//! No backend is named outside [`device`]: burn's [`Tensor`](burn::tensor::Tensor) and
//! [`Device`](burn::tensor::Device) carry none.

mod attack;
mod batch;
mod catalogue;
mod certificate;
mod dataset;
mod defense;
pub mod device;
mod doors;
mod draws;
mod driver;
mod ensemble;
mod logits;
mod losses;
mod median;
mod mixture;
mod model;
mod oracle;
mod pieces;
mod pool;
mod product;
pub mod projection;
pub mod random;
mod recipe;
mod rows;
mod search;
mod task;
mod trainable;

pub use attack::{Attack, AttackContext, ComponentFailure, Run, Stop};
pub use batch::{Batch, fill_ball, fill_gaussian, fill_uniform, length};
pub use catalogue::{
    AttackEntry, Built, CertificateEntry, ChainEntry, CombinedModelEntry, DatasetEntry, DefenseEntry, Entry, Locations,
    LossEntry, ModelEntry, RecipeEntry, Registry,
};
pub use certificate::{Certificates, Certifier, ProofOptions};
pub use dataset::{Dataset, Samples};
pub use defense::{DefendedModel, Defense, Parametrisation};
pub use doors::{DeriveRow, Door, Gradients, Labels, Scores, ScoresAndSurrogates, Surrogates};
pub use draws::Draws;
pub use driver::Driver;
pub use logits::{Logits, most_frequent, read};
pub use losses::{CrossEntropy, Loss, Margin, margin, strongest_rival};
pub use median::median;
pub use mixture::mixture;
pub use model::{Model, Tape};
pub use oracle::{Ascent, Network, OpenTape, Oracle, Role};
pub use pool::Pool;
pub use product::product;
pub use recipe::{Objective, Recipe, TrainingBatch};
pub use rows::{HostRows, Rows, Select};
pub use task::{Contribution, Control, Judged, Judgement, Member, Recorded, Shares, Task, Verdict};
pub use trainable::{Trainable, TrainableEntry, TrainingState};

pub use inventory;

/// The text of a panic.
pub fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no reason given".to_owned())
}
