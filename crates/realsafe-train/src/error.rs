//! Why training runs end early.

use realsafe_core::Stop;
use realsafe_plan::Chosen;

/// Why a run did not finish.
#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    /// It cannot be run, or not be resumed, as it is.
    #[error("{0}")]
    Invalid(String),
    /// The device reported an error.
    #[error("the device reports: {0}")]
    Device(String),
    /// The loss or the weights became infinite or undefined.
    #[error("the loss or the weights are not finite any more in epoch {epoch}; lower `learning-rate`")]
    Diverged {
        /// The epoch, from 1.
        epoch: u32,
    },
    /// It was cancelled.
    #[error("interrupted after {done} of {epochs} epochs; the same command goes on from there")]
    Interrupted {
        /// How many epochs are done and kept.
        done: u32,
        /// How many there are.
        epochs: u32,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] std::io::Error),
}

impl TrainingError {
    /// That a component is unknown to this program.
    pub(crate) fn not_linked(chosen: &Chosen) -> Self {
        let component = chosen.component;
        Self::Invalid(format!("the {} `{}` is not linked into this program", component.kind().name(), component.id))
    }
}

impl From<Stop> for TrainingError {
    fn from(stop: Stop) -> Self {
        Self::Device(stop.to_string())
    }
}

impl From<csv::Error> for TrainingError {
    fn from(error: csv::Error) -> Self {
        Self::File(error.into())
    }
}
