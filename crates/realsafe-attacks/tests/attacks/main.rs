//! Every attack against models whose answer is known, and against what any attack must keep.

mod apgd;
mod apgd_traces;
mod bench;
mod chains;
mod closed_form;
mod codes;
mod counting;
mod driver;
mod fab;
mod gradient_steps;
mod labels;
mod minimal_distance;
mod oracle;
mod prior_guided;
mod prior_guided_traces;
mod problems;
mod randomised;
mod reference;
mod registration;
mod rejecting;
mod sample;
mod scores;
mod searches;
mod square;
mod transfer;
mod walks;
