//! Attacks: batches of independent per-sample machines that a driver steps.

use burn::tensor::Tensor;
use realsafe_plan::Cost;

use crate::oracle::Door;
use crate::{Batch, Driver, Samples, Select};

/// Why an attack stops before it is done.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Stop {
    /// The user interrupted the run.
    #[error("interrupted")]
    Cancelled,
    /// The device failed.
    #[error("the device failed: {0}")]
    Device(String),
    /// The attack asked for more than it declares as the cost of a step.
    #[error(
        "the attack asked for more propagations on sample {sample} than its budget and its declared step cost allow"
    )]
    Budget {
        /// The index of the sample in the dataset.
        sample: u32,
    },
}

/// An attack as a machine over rows: the driver owns the loop, the budget, early exit and the record.
///
/// Rows must not influence each other, and random numbers must come from [`Batch::stream`].
pub trait Attack: Send + Sync + 'static {
    /// What it may ask of the victim: `dyn Labels`, `dyn Scores` or `dyn Gradients`.
    type Door: Door + ?Sized;
    /// What it keeps per row.
    type State: Select;

    /// How many steps it makes at most.
    fn steps(&self) -> u32;

    /// The most that [`Attack::start`] asks of the victim per row.
    fn start_cost(&self) -> Cost {
        Cost::default()
    }

    /// The most that one step asks of the victim per row.
    fn step_cost(&self) -> Cost;

    /// The state before the first step.
    ///
    /// # Errors
    /// Only what the door reports.
    fn start(&self, door: &mut Self::Door, batch: &Batch) -> Result<Self::State, Stop>;

    /// Makes one step on every row.
    ///
    /// # Errors
    /// Only what the door reports.
    fn step(&self, door: &mut Self::Door, batch: &Batch, state: &mut Self::State) -> Result<(), Stop>;

    /// The image `[n, channels, height, width]` that each row would return now.
    fn iterates(&self, batch: &Batch, state: &Self::State) -> Tensor<4>;
}

/// An attack behind a pointer: what the catalogue builds. Implemented for every [`Attack`].
pub trait Run: Send + Sync {
    /// Runs all restarts and steps.
    ///
    /// # Errors
    /// See [`Stop`].
    fn run(&self, driver: &mut Driver<'_>) -> Result<(), Stop>;
}

impl<A: Attack> Run for A {
    fn run(&self, driver: &mut Driver<'_>) -> Result<(), Stop> {
        driver.drive(self)
    }
}

/// What is fixed before an attack is built.
#[derive(Clone, Debug)]
pub struct AttackContext {
    /// Images of the same dataset, from its start, that decision-based attacks may start from.
    pub pool: std::sync::Arc<Samples>,
}
