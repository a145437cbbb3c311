//! Losses that gradient attacks raise, as functions of one sample's logits on the host.
//!
//! Logits are read back once per step anyway, to judge success; computing the loss and its derivative there, in double
//! precision, costs nothing beside a propagation and keeps saturated softmax outputs from rounding to a zero gradient.

/// A loss of one sample's logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Softmax cross-entropy of the class.
    CrossEntropy,
    /// The largest other logit minus the logit of the class (Carlini and Wagner 2017): positive when misclassified.
    Margin,
}

impl Loss {
    /// The names under which specs choose a loss.
    pub const NAMES: &[&str] = &["cross-entropy", "margin"];

    /// The loss of that name; names are checked before by the parameter table.
    pub fn named(name: &str) -> Self {
        match name {
            "margin" => Self::Margin,
            _ => Self::CrossEntropy,
        }
    }

    /// The loss for `class`, and its derivative with respect to each logit, written to `gradient`.
    pub fn evaluate(self, logits: &[f32], class: u32, gradient: &mut [f32]) -> f32 {
        let class = class as usize;
        match self {
            Self::CrossEntropy => {
                let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let weights: Vec<f64> = logits.iter().map(|logit| f64::from(logit - largest).exp()).collect();
                let total: f64 = weights.iter().sum();
                let others: f64 = weights.iter().enumerate().filter(|(other, _)| *other != class).map(|(_, w)| w).sum();
                for (derivative, weight) in gradient.iter_mut().zip(&weights) {
                    *derivative = (weight / total) as f32;
                }
                // Not `p - 1`, which rounds to zero when the model is certain.
                gradient[class] = -(others / total) as f32;
                (total.ln() - f64::from(logits[class] - largest)) as f32
            }
            Self::Margin => {
                let rival = strongest_rival(logits, class);
                gradient.fill(0.0);
                gradient[rival] = 1.0;
                gradient[class] = -1.0;
                logits[rival] - logits[class]
            }
        }
    }
}

/// The class with the largest logit among all but `class`.
fn strongest_rival(logits: &[f32], class: usize) -> usize {
    let others = (0..logits.len()).filter(|other| *other != class);
    others.reduce(|best, other| if logits[other] > logits[best] { other } else { best }).expect("at least two classes")
}

/// The margin of `class`: its logit minus the largest other one; negative when another class is predicted.
pub fn margin(logits: &[f32], class: u32) -> f32 {
    logits[class as usize] - logits[strongest_rival(logits, class as usize)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivatives_match_finite_differences() {
        let logits = [0.5, -1.0, 2.0, 0.25];
        for loss in [Loss::CrossEntropy, Loss::Margin] {
            let mut gradient = [0.0; 4];
            loss.evaluate(&logits, 0, &mut gradient);
            for class in 0..4 {
                let mut moved = logits;
                let mut ignored = [0.0; 4];
                moved[class] += 1e-2;
                let above = loss.evaluate(&moved, 0, &mut ignored);
                moved[class] -= 2e-2;
                let below = loss.evaluate(&moved, 0, &mut ignored);
                assert!(((above - below) / 2e-2 - gradient[class]).abs() < 1e-3, "{loss:?} {class}");
            }
        }
    }

    #[test]
    fn certainty_keeps_a_gradient() {
        let mut gradient = [0.0; 2];
        Loss::CrossEntropy.evaluate(&[50.0, 0.0], 0, &mut gradient);
        assert!(gradient[0] < 0.0 && gradient[1] > 0.0);
    }
}
