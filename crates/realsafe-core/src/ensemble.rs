//! Several networks asked as if they were one.

use realsafe_plan::Ensemble;

use crate::{Logits, Stop};

/// Gives the objective of each row of logits, and writes its derivative with respect to these to the slice, row by row.
pub(crate) type Derive<'a> = &'a mut dyn FnMut(&Logits, &mut [f32]) -> Result<Vec<f32>, Stop>;

/// The logits `[n, classes]` that some networks have together. Where each has a loss of its own there are none; their mean
/// says what they predict.
pub(crate) fn combine(ensemble: Ensemble, parts: &[Logits]) -> Logits {
    if let [single] = parts {
        return single.clone();
    }
    let values = match ensemble {
        Ensemble::Logits | Ensemble::Loss => mean(&parts.iter().map(Logits::values).collect::<Vec<_>>()),
        Ensemble::Probabilities => {
            let share = 1.0 / parts.len() as f64;
            let parts: Vec<Vec<f64>> = parts.iter().map(probabilities).collect();
            let mean = |place: usize| parts.iter().map(|part| part[place]).sum::<f64>() * share;
            (0..parts[0].len()).map(|place| mean(place).max(f64::MIN_POSITIVE).ln() as f32).collect()
        }
    };
    Logits::from_values(parts[0].classes(), values)
}

/// The mean of several answers, number by number.
pub(crate) fn mean<T: AsRef<[f32]>>(answers: &[T]) -> Vec<f32> {
    let share = 1.0 / answers.len() as f64;
    let sum = |mut sum: Vec<f64>, values: &T| {
        let values = values.as_ref();
        sum.resize(values.len(), 0.0);
        sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += f64::from(*value));
        sum
    };
    answers.iter().fold(Vec::new(), sum).into_iter().map(|sum| (sum * share) as f32).collect()
}

/// The objective of each row, and its derivatives with respect to the logits of each network.
pub(crate) fn cotangents(
    ensemble: Ensemble,
    parts: &[Logits],
    derive: Derive<'_>,
) -> Result<(Vec<f32>, Vec<Vec<f32>>), Stop> {
    let size = parts[0].values().len();
    let share = 1.0 / parts.len() as f64;
    if ensemble == Ensemble::Loss || parts.len() == 1 {
        let own = |part: &Logits| {
            let mut derivatives = vec![0.0; size];
            let objective = derive(part, &mut derivatives)?;
            derivatives.iter_mut().for_each(|derivative| *derivative *= share as f32);
            Ok((objective, derivatives))
        };
        let (objectives, derivatives) = parts.iter().map(own).collect::<Result<(Vec<_>, Vec<_>), Stop>>()?;
        return Ok((mean(&objectives), derivatives));
    }
    let mut derivatives = vec![0.0; size];
    let objective = derive(&combine(ensemble, parts), &mut derivatives)?;
    if ensemble == Ensemble::Logits {
        derivatives.iter_mut().for_each(|derivative| *derivative *= share as f32);
        return Ok((objective, vec![derivatives; parts.len()]));
    }
    let own: Vec<Vec<f64>> = parts.iter().map(probabilities).collect();
    let mean = |place: usize| own.iter().map(|part| part[place]).sum::<f64>() * share;
    let classes = parts[0].classes();
    // The derivative of the logarithm of the mean, first with respect to the mean, then through each softmax.
    let outer: Vec<f64> =
        (0..size).map(|place| f64::from(derivatives[place]) / mean(place).max(f64::MIN_POSITIVE)).collect();
    let through = |part: &Vec<f64>| {
        let rows = part.chunks_exact(classes).zip(outer.chunks_exact(classes));
        let row = |(part, outer): (&[f64], &[f64])| {
            let along: f64 = part.iter().zip(outer).map(|(part, outer)| part * outer).sum();
            let row = part.iter().zip(outer).map(|(part, outer)| (share * part * (outer - along)) as f32);
            row.collect::<Vec<f32>>()
        };
        rows.flat_map(row).collect()
    };
    Ok((objective, own.iter().map(through).collect()))
}

/// The softmax of each row.
fn probabilities(logits: &Logits) -> Vec<f64> {
    let row = |logits: &[f32]| {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weights: Vec<f64> = logits.iter().map(|logit| f64::from(logit - largest).exp()).collect();
        let total: f64 = weights.iter().sum();
        weights.into_iter().map(move |weight| weight / total)
    };
    logits.rows().flat_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CrossEntropy, Loss};

    #[test]
    fn cotangents_match_finite_differences() {
        let parts = [vec![0.5, -1.0, 2.0, 0.0, 0.25, -0.5], vec![1.0, 0.0, -0.5, 0.75, 2.0, 0.0]];
        let (labels, targets) = ([0, 2], [None, Some(1)]);
        for ensemble in Ensemble::ALL {
            let objective = |parts: &[Vec<f32>; 2]| {
                let logits: Vec<Logits> = parts.iter().map(|part| Logits::from_values(3, part.clone())).collect();
                let evaluated = cotangents(ensemble, &logits, &mut |logits, derivatives| {
                    CrossEntropy.evaluate(logits, &labels, &targets, derivatives)
                });
                evaluated.unwrap().0.iter().sum::<f32>()
            };
            let logits: Vec<Logits> = parts.iter().map(|part| Logits::from_values(3, part.clone())).collect();
            let found = cotangents(ensemble, &logits, &mut |logits, derivatives| {
                CrossEntropy.evaluate(logits, &labels, &targets, derivatives)
            });
            let (_, found) = found.unwrap();
            for part in 0..2 {
                for place in 0..6 {
                    let moved = |by: f32| {
                        let mut moved = parts.clone();
                        moved[part][place] += by;
                        objective(&moved)
                    };
                    let slope = (moved(1e-2) - moved(-1e-2)) / 2e-2;
                    assert!((slope - found[part][place]).abs() < 1e-3, "{ensemble:?} {part} {place}");
                }
            }
        }
    }
}
