//! The calls of a component, as both ends of a connection name them.

use serde::{Deserialize, Serialize};

use crate::{Failure, FailureKind, Problem, Shape};

/// What is fixed when an instance is created, beside its arguments.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Setting {
    /// Of an attack.
    Attack(Problem),
    /// Of everything else.
    Plain,
}

/// Which function of an attack is called.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Phase {
    Start,
    Step,
}

/// Which function of a defense, model or loss is called.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Operation {
    Forward(Shape),
    DefensePull(Shape),
    Logits(Shape),
    ModelPull(Shape),
    Evaluate { classes: u32 },
}

impl Operation {
    /// The number of values per row of each input and each output; all values have four bytes.
    pub(crate) fn widths(self) -> (Vec<usize>, Vec<usize>) {
        match self {
            Self::Forward(shape) => (vec![shape.values()], vec![shape.values()]),
            Self::DefensePull(shape) => (vec![shape.values(); 2], vec![shape.values()]),
            Self::Logits(shape) => (vec![shape.values()], vec![shape.classes as usize]),
            Self::ModelPull(shape) => (vec![shape.values(), shape.classes as usize], vec![shape.values()]),
            Self::Evaluate { classes } => (vec![classes as usize, 1, 1], vec![1, classes as usize]),
        }
    }

    /// Checks that the inputs are those of one number of rows, and tells it.
    pub(crate) fn rows(self, inputs: &[&[u8]]) -> Result<u32, Failure> {
        let (widths, _) = self.widths();
        let width = widths[0] * 4;
        let rows = inputs.first().map_or(0, |input| input.len()).checked_div(width).unwrap_or(0);
        let fit = inputs.len() == widths.len()
            && inputs.iter().zip(&widths).all(|(input, width)| rows.checked_mul(width * 4) == Some(input.len()));
        u32::try_from(rows)
            .ok()
            .filter(|_| fit)
            .ok_or_else(|| Failure::new(FailureKind::Failed, "the lengths of the inputs do not fit each other"))
    }
}
