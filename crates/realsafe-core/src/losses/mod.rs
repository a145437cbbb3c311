//! What attacks raise, as a function of logits on the host.
//!
//! Logits are read back once per step anyway, to judge success; computing the loss and its derivative there, in double
//! precision, costs nothing beside a propagation and keeps saturated softmax outputs from rounding to a zero gradient.

mod cross_entropy;
mod dlr;
mod dlr_targeted;
mod margin;
mod max_mahalanobis;

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

/// A loss that is a function of each row alone.
trait RowLoss: Send + Sync {
    /// The objective of a row, which is raised away from the label or towards the target; writes its derivative.
    fn row(&self, logits: &[f32], label: usize, target: Option<usize>, derivative: &mut [f32]) -> f32;
}

impl<L: RowLoss> Loss for L {
    fn evaluate(
        &self,
        logits: &Logits,
        labels: &[u32],
        targets: &[Option<u32>],
        derivatives: &mut [f32],
    ) -> Result<Vec<f32>, Stop> {
        let aims = labels.iter().zip(targets);
        let rows = logits.rows().zip(derivatives.chunks_exact_mut(logits.classes())).zip(aims);
        let values = rows.map(|((logits, derivative), (label, target))| {
            self.row(logits, *label as usize, target.map(|target| target as usize), derivative)
        });
        Ok(values.collect())
    }
}

/// The objective of a row where a function of one class is raised for the label or lowered for the target; writes its derivative.
fn for_or_against(
    label: usize,
    target: Option<usize>,
    derivative: &mut [f32],
    of_class: impl Fn(usize, &mut [f32]) -> f32,
) -> f32 {
    let (class, sign) = target.map_or((label, 1.0), |target| (target, -1.0));
    let value = of_class(class, derivative);
    derivative.iter_mut().for_each(|derivative| *derivative *= sign);
    sign * value
}

#[cfg(test)]
mod tests {
    use super::dlr::Dlr;
    use super::dlr_targeted::DlrTargeted;
    use super::max_mahalanobis::MaxMahalanobis;
    use super::*;

    #[test]
    fn derivatives_match_finite_differences() {
        let logits = [0.5, -1.0, 2.0, 0.25];
        let losses: [&dyn Loss; 5] = [&CrossEntropy, &Margin, &Dlr, &DlrTargeted, &MaxMahalanobis];
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

    /// Logits 1, 4, 2, 0 with label 0 and target 3, against the formulas worked out by hand.
    #[test]
    fn ratios_of_logits_are_those_of_the_paper() {
        let value = |loss: &dyn Loss, target, scale: f32| {
            let logits = Logits::from_values(4, [1.0, 4.0, 2.0, 0.0].map(|logit: f32| scale * logit + 7.0).to_vec());
            loss.evaluate(&logits, &[0], &[target], &mut [0.0; 4]).unwrap()[0]
        };
        for scale in [1.0, 1e-2, 1e4] {
            let expected: [(&dyn Loss, Option<u32>, f32); 4] = [
                // The rival is class 1; the third largest is class 0 itself.
                (&Dlr, None, (4.0 - 1.0) / (4.0 - 1.0)),
                (&Dlr, Some(3), (0.0 - 4.0) / (4.0 - 1.0)),
                (&DlrTargeted, Some(3), (0.0 - 1.0) / (4.0 - 0.5 * (1.0 + 0.0))),
                (&DlrTargeted, None, (4.0 - 1.0) / (4.0 - 0.5 * (1.0 + 0.0))),
            ];
            for (at, (loss, target, expected)) in expected.into_iter().enumerate() {
                assert!((value(loss, target, scale) - expected).abs() < 1e-3, "{at}, logits times {scale}");
            }
        }
    }

    #[test]
    fn the_adaptive_loss_raises_the_margin_or_the_target_alone() {
        let derivative = |target| {
            let mut derivative = [0.0; 3];
            let logits = Logits::from_values(3, vec![1.0, 4.0, 2.0]);
            MaxMahalanobis.evaluate(&logits, &[0], &[target], &mut derivative).unwrap();
            derivative
        };
        assert_eq!((derivative(None), derivative(Some(2))), ([-1.0, 1.0, 0.0], [0.0, 0.0, 1.0]));
    }
}
