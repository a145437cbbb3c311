//! What attacks raise, as a function of logits on the host.
//!
//! Logits are read back once per step anyway, to judge success; computing the loss and its derivative there, in double
//! precision, costs nothing beside a propagation and keeps saturated softmax outputs from rounding to a zero gradient.

mod cross_entropy;
mod margin;

pub use cross_entropy::CrossEntropy;
pub use margin::{Margin, margin, strongest_rival};

use crate::{Logits, Stop};

/// What an attacker raises.
pub trait Loss: Send + Sync {
    /// The objective of each row, and its derivative with respect to the row's logits, written to `derivatives`
    /// (`[n, classes]`, row by row): to be raised, away from the label or, where a row has one, towards the target.
    ///
    /// # Errors
    /// What failed, where the loss is not part of the program.
    fn evaluate(
        &self,
        logits: &Logits,
        labels: &[u32],
        targets: &[Option<u32>],
        derivatives: &mut [f32],
    ) -> Result<Vec<f32>, Stop>;
}

/// Evaluates a loss that is raised for the label or lowered for the target, row by row.
///
/// `row` takes logits and class, writes the derivative and gives the value.
fn row_by_row(
    logits: &Logits,
    labels: &[u32],
    targets: &[Option<u32>],
    derivatives: &mut [f32],
    row: impl Fn(&[f32], usize, &mut [f32]) -> f32,
) -> Vec<f32> {
    let aims = labels.iter().zip(targets);
    let rows = logits.rows().zip(derivatives.chunks_exact_mut(logits.classes())).zip(aims);
    let values = rows.map(|((logits, derivative), (label, target))| {
        let (class, sign) = target.map_or((*label, 1.0), |target| (target, -1.0));
        let value = row(logits, class as usize, derivative);
        derivative.iter_mut().for_each(|derivative| *derivative *= sign);
        sign * value
    });
    values.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivatives_match_finite_differences() {
        let logits = [0.5, -1.0, 2.0, 0.25];
        let losses: [&dyn Loss; 2] = [&CrossEntropy, &Margin];
        for (index, loss) in losses.into_iter().enumerate() {
            for target in [None, Some(1)] {
                let evaluate = |logits: [f32; 4]| {
                    let mut derivative = [0.0; 4];
                    let logits = Logits::from_values(4, logits.to_vec());
                    let value = loss.evaluate(&logits, &[0], &[target], &mut derivative).unwrap()[0];
                    (value, derivative)
                };
                let (_, derivative) = evaluate(logits);
                for class in 0..4 {
                    let moved = |by: f32| {
                        let mut moved = logits;
                        moved[class] += by;
                        evaluate(moved).0
                    };
                    let slope = (moved(1e-2) - moved(-1e-2)) / 2e-2;
                    assert!((slope - derivative[class]).abs() < 1e-3, "loss {index}, {target:?}, class {class}");
                }
            }
        }
    }
}
