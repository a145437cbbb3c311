//! Training: recipes, one file each, whose header is their manual, and the loop around them.
//!
//! [`train`] runs a [`TrainingSpec`](realsafe_plan::TrainingSpec). The same spec on the same device gives the same
//! weights byte for byte, interrupted or not: every random number comes from a stream that is keyed by the seed, the
//! epoch and the sample.

mod adversary;
mod augmentation;
mod checkpoint;
mod error;
mod files;
mod losses;
mod metrics;
mod parameters;
mod preprocessed;
mod recipes;
mod schedule;
mod trainer;

pub use error::TrainingError;
pub use metrics::EpochMetrics;
pub use trainer::{Progress, TrainedWeights, TrainingSummary, Watch, train};

#[cfg(test)]
mod tests;
