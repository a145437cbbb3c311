//! Every attack against models whose answer is known, and against what any attack must keep.

mod bench;
mod closed_form;
mod counting;
mod invariants;
mod minimal_distance;
mod reference;
mod registration;
