//! Every attack against models whose answer is known, and against what any attack must keep.

mod apgd;
mod bench;
mod chains;
mod closed_form;
mod codes;
mod counting;
mod fab;
mod invariants;
mod labels;
mod minimal_distance;
mod prior_guided;
mod randomised;
mod reference;
mod registration;
mod rejecting;
mod scores;
mod searches;
mod square;
mod transfer;
