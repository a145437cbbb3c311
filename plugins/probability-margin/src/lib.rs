//! The largest other probability minus the probability of the class, as guided adversarial margin attacks (GAMA) raise it.
//!
//! ## What it does
//! `max over j ≠ c of p(j) − p(c)`, where p is the softmax of the logits and c the label. Towards a target it is the
//! negative of that for the target. It lies between -1 and 1: unlike cross-entropy and the margin of logits, its gradient
//! fades as a sample is lost or won for good.
//!
//! ## References
//! Sriramanan, Addepalli, Baburaj, Babu: Guided Adversarial Attack for Evaluating and Enhancing Adversarial Defenses,
//! NeurIPS 2020 (arXiv:2011.14969).

use realsafe_plugin::{About, Error, Loss, Values};

realsafe_plugin::plugin!(static PLUGIN: [loss ProbabilityMargin]);
realsafe_plugin::export!(PLUGIN);

struct ProbabilityMargin;

impl Loss for ProbabilityMargin {
    const ABOUT: About = About {
        id: "probability-margin",
        revision: 1,
        documentation: include_str!("lib.rs"),
        example: "",
        parameters: &[],
    };

    fn create(_: &Values<'_>) -> Result<Self, Error> {
        Ok(Self)
    }

    fn evaluate(&self, logits: &[f32], label: u32, target: Option<u32>, derivatives: &mut [f32]) -> Result<f32, Error> {
        let (class, sign) = target.map_or((label, 1.0), |target| (target, -1.0));
        let class = class as usize;
        let others = (0..logits.len()).filter(|other| *other != class);
        let rival = others.reduce(|best, other| if logits[other] > logits[best] { other } else { best });
        let (Some(rival), true) = (rival, class < logits.len()) else {
            return Err(format!("class {class} has no rival among {} classes", logits.len()).into());
        };
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut weights: Vec<f64> = logits.iter().map(|logit| f64::from(logit - largest).exp()).collect();
        let total: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= total);
        // The slope of p(i) along logit j is p(i) · ([i = j] − p(j)).
        let margin = weights[rival] - weights[class];
        for (j, derivative) in derivatives.iter_mut().enumerate() {
            let own = f64::from(u8::from(j == rival)) - f64::from(u8::from(j == class));
            *derivative = (sign * weights[j] * (own - margin)) as f32;
        }
        Ok((sign * margin) as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivatives_match_finite_differences() {
        let logits = [0.5, -1.0, 2.0, 0.25];
        for target in [None, Some(1)] {
            let mut derivatives = [0.0; 4];
            ProbabilityMargin.evaluate(&logits, 0, target, &mut derivatives).unwrap();
            for class in 0..4 {
                let at = |change: f32| {
                    let mut moved = logits;
                    moved[class] += change;
                    ProbabilityMargin.evaluate(&moved, 0, target, &mut [0.0; 4]).unwrap()
                };
                assert!(((at(1e-2) - at(-1e-2)) / 2e-2 - derivatives[class]).abs() < 1e-3, "{target:?} {class}");
            }
        }
    }

    #[test]
    fn it_is_raised_by_mistakes_and_by_the_target() {
        let value = |target| ProbabilityMargin.evaluate(&[0.0, 9.0], 0, target, &mut [0.0; 2]).unwrap();
        assert!(value(None) > 0.99);
        assert!(value(Some(1)) > 0.99);
        assert!(value(Some(0)) < -0.99);
        assert!(ProbabilityMargin.evaluate(&[1.0], 0, None, &mut [0.0]).is_err());
    }
}
