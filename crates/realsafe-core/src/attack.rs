//! Attacks: batches of independent per-sample machines that a driver steps.

use std::sync::Arc;

use burn::tensor::Tensor;
use realsafe_plan::{Cost, Goal, Norm, Values};

use crate::doors::Door;
use crate::{Batch, Driver, Locations, Loss, Pool, Registry, Select};

/// Why an attack stops before it is done.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Stop {
    /// The user interrupted the run.
    #[error("interrupted")]
    Cancelled,
    /// The device failed.
    #[error("the device failed: {0}")]
    Device(String),
    /// A component that is not part of the program failed.
    #[error("{message}")]
    Component {
        /// How.
        failure: ComponentFailure,
        /// What it said, or what happened to it.
        message: String,
    },
    /// The attack asked for more than it declares as the cost of a step.
    #[error(
        "the attack asked for more propagations on sample {sample} than its budget and its declared step cost allow"
    )]
    Budget {
        /// The index of the sample in the dataset.
        sample: u32,
    },
}

/// How a component that is not part of the program can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComponentFailure {
    /// It says so, it panicked, or what it did makes no sense.
    Failed,
    /// Its process ended.
    Crashed,
    /// It did not answer in time.
    TimedOut,
    /// It took more memory than it may.
    OutOfMemory,
}

/// An attack as a machine over rows: the driver owns the loop, the budget, early exit and the record.
///
/// Rows must not influence each other, and random numbers must come from [`Batch::stream`].
pub trait Attack: Send + Sync + 'static {
    /// What it may ask of the victim: `dyn Labels`, `dyn Scores` or `dyn Gradients`; the [`Oracle`](crate::Oracle) itself
    /// where that is known only when the program runs.
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

    /// The most that the next step, which has this number from 0, asks of the victim for a row. No step starts that a budget does
    /// not cover, so an attack whose steps differ in what they cost says so here.
    fn next_cost(&self, _step: u32, _state: &Self::State, _row: usize) -> Cost {
        self.step_cost()
    }

    /// Whether every step is like any other, so that a search may shrink the ball between two of them.
    fn is_stationary(&self) -> bool {
        false
    }

    /// What the gradient through residual branches is multiplied by, in the networks whose gradients it uses: the surrogates
    /// where they stand in for the victim, else the victim. None leaves them as they are.
    fn residual_decay(&self) -> Option<f64> {
        None
    }

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

    /// Whether a row has nothing left to try, so that it may leave before its last step.
    fn has_ended(&self, _state: &Self::State, _row: usize) -> bool {
        false
    }

    /// What looked wrong during the run but did not stop it.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}

/// An attack behind a pointer: what the catalogue builds. Implemented for every [`Attack`].
pub trait Run: Send + Sync {
    /// Runs all restarts and steps.
    ///
    /// # Errors
    /// See [`Stop`].
    fn run(&self, driver: &mut Driver<'_>) -> Result<(), Stop>;

    /// See [`Attack::residual_decay`].
    fn residual_decay(&self) -> Option<f64>;

    /// What looked wrong during the run but did not stop it.
    fn warnings(&self) -> Vec<String>;
}

impl<A: Attack> Run for A {
    fn run(&self, driver: &mut Driver<'_>) -> Result<(), Stop> {
        driver.drive(self)
    }

    fn residual_decay(&self) -> Option<f64> {
        Attack::residual_decay(self)
    }

    fn warnings(&self) -> Vec<String> {
        Attack::warnings(self)
    }
}

/// What is fixed before an attack is built.
#[derive(Clone)]
pub struct AttackContext {
    /// All components, for those that the attack is made of.
    pub registry: Arc<Registry>,
    /// Where files are looked for.
    pub locations: Locations,
    /// The norm.
    pub norm: Norm,
    /// The goal.
    pub goal: Goal,
    /// Channels, height and width of the images.
    pub shape: [usize; 3],
    /// How many classes there are.
    pub classes: usize,
    /// How many surrogates there are.
    pub surrogates: usize,
    /// Images of the same dataset that decision-based attacks may start from.
    pub pool: Arc<Pool>,
}

impl AttackContext {
    /// The loss that a parameter of the attack names.
    ///
    /// # Errors
    /// What is wrong with its values or files.
    pub fn loss(&self, values: &Values, name: &str) -> Result<Arc<dyn Loss>, String> {
        self.registry.loss(values.component(name), &self.locations).map(Arc::from)
    }
}
