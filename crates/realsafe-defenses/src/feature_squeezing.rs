//! Feature squeezing: rejects images whose prediction changes much when what matters little is taken out of them.
//!
//! ## What it does
//! The network is asked for the image x and for squeezed versions of it: with `bits` bits per pixel (as `bit-depth` rounds), and
//! with every pixel the median of the `median` by `median` pixels around it (to the left and above, where these are even; the
//! image is mirrored at its edges; of two middle values, the larger one). With softmax outputs p, the score of an image is the
//! largest distance `‖p(x) − p(squeezed x)‖₁`, from 0 to 2. It is rejected where the score exceeds `threshold`; otherwise the
//! answer is that for x. An answer costs a pass for the image and one for each squeezed version.
//!
//! The authors set the threshold so that at most 5 % of clean training images are rejected, network by network. Their best
//! detectors have `bits = 1`, `median = 2` and a threshold of 0.0029 on MNIST; on CIFAR-10 `bits = 5`, `median = 2` and 1.1402,
//! beside non-local means, which are not offered here.
//!
//! A rejected clean image is an error. A rejected image of an attack is no success, whatever the goal.
//!
//! ## What an attacker sees
//! As all attacks on what rejects: the logits of the classes, where that of the label is the larger one of its own and that of
//! rejection. So attacks by labels see a rejected image recognised, and any loss has to beat the label and the detector at
//! once. The logit of rejection is the largest logit plus `slope · (g(score) − g(threshold))` with `g(s) = −log(1 − s/2)`: it
//! exceeds the others exactly where the image is rejected. As `1 − s/2` is the sum over classes of the smaller one of both
//! probabilities, its logarithm is computed from logits, and has a derivative even where two versions are certain of different
//! classes and the score itself has none in single precision. `smooth`, the default, is the derivative through all versions,
//! with rounding passed over as the identity (BPDA); it is the adaptive attack. With `exact`, nothing comes back through
//! rounding. An attack that knows nothing of the detector is one on the bare network as surrogate.
//!
//! ## References
//! Xu, Evans, Qi: Feature Squeezing: Detecting Adversarial Examples in Deep Neural Networks, NDSS 2018 (arXiv:1704.01155). Broken
//! by attacks on both at once: He, Wei, Chen, Carlini, Song: Adversarial Example Defenses: Ensembles of Weak Defenses are not
//! Strong, WOOT 2017 (arXiv:1706.04701).

use std::sync::Arc;

use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;
use realsafe_core::{Defense, DefenseEntry, Draws, Model, Stop, Tape, inventory, median};
use realsafe_plan::{
    Component, DefenseTraits, Fallback, GradientMode, Origin, Parameter, ParameterKind, Traits, Values,
};

use crate::bit_depth::nearest;

#[derive(Clone)]
struct FeatureSqueezing {
    squeezers: Vec<Squeezer>,
    threshold: f64,
    slope: f64,
}

impl FeatureSqueezing {
    /// The logits `[n, classes + 1]` with that of rejection, from those `[n, classes]` of the image and its squeezed versions.
    fn judge(&self, logits: &Tensor<2>, squeezed: &[Tensor<2>]) -> Tensor<2> {
        let own = log_softmax(logits.clone(), 1);
        let apart = |squeezed: &Tensor<2>| -log_sum_exp(own.clone().min_pair(log_softmax(squeezed.clone(), 1)));
        let most = Tensor::cat(squeezed.iter().map(apart).collect(), 1).max_dim(1);
        let bound = -(-self.threshold / 2.0).ln_1p();
        let rejection = logits.clone().max_dim(1) + (most - bound) * self.slope;
        Tensor::cat(vec![logits.clone(), rejection], 1)
    }
}

/// The logarithm `[n, 1]` of the sum of the exponentials of each row.
fn log_sum_exp(rows: Tensor<2>) -> Tensor<2> {
    let largest = rows.clone().max_dim(1);
    (rows - largest.clone()).exp().sum_dim(1).log() + largest
}

impl Defense for FeatureSqueezing {
    /// Images that are not rejected reach the model as they are.
    fn forward(&self, images: Tensor<4>, _: &Draws) -> Result<Tensor<4>, Stop> {
        Ok(images)
    }

    fn around(&self, behind: &Arc<dyn Model>, gradient: GradientMode) -> Option<Arc<dyn Model>> {
        Some(Arc::new(Squeezed { behind: Arc::clone(behind), squeezing: self.clone(), gradient }))
    }
}

/// What takes little out of images `[n, channels, height, width]`.
#[derive(Clone, Copy)]
enum Squeezer {
    /// So many bits per pixel.
    Bits(i32),
    /// The median of a square of so many pixels.
    Median(usize),
}

impl Squeezer {
    fn squeeze(self, images: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Bits(bits) => nearest(images, 2_f64.powi(bits) - 1.0),
            Self::Median(side) => median_filter(images, side),
        }
    }

    /// The vector-Jacobian product at images.
    fn pull(self, images: Tensor<4>, cotangent: Tensor<4>, gradient: GradientMode) -> Tensor<4> {
        match self {
            Self::Bits(_) if gradient == GradientMode::Smooth => cotangent,
            Self::Bits(_) => cotangent.zeros_like(),
            Self::Median(side) => {
                let leaf = images.autodiff().require_grad();
                let mut gradients = (median_filter(leaf.clone(), side) * cotangent).sum().backward();
                leaf.grad_remove(&mut gradients).unwrap_or_else(|| leaf.inner().zeros_like())
            }
        }
    }
}

/// The median of the squares around all pixels, mirrored at the edges.
fn median_filter(images: Tensor<4>, side: usize) -> Tensor<4> {
    let [_, _, height, width] = images.dims();
    // A square of at most three pixels goes one beyond the edge, where the mirror shows the edge itself.
    let edge = |images: &Tensor<4>, axis: usize, at: usize| images.clone().narrow(axis, at, 1);
    let padded = Tensor::cat(vec![edge(&images, 2, 0), images.clone(), edge(&images, 2, height - 1)], 2);
    let padded = Tensor::cat(vec![edge(&padded, 3, 0), padded.clone(), edge(&padded, 3, width - 1)], 3);
    let places = (0..side * side).map(|place| (place / side, place % side));
    median(places.map(|(top, left)| padded.clone().narrow(2, top, height).narrow(3, left, width)).collect())
}

/// All that is behind, asked for the image and what is left of it.
struct Squeezed {
    behind: Arc<dyn Model>,
    squeezing: FeatureSqueezing,
    gradient: GradientMode,
}

impl Model for Squeezed {
    fn passes(&self) -> u64 {
        self.behind.passes() * (1 + self.squeezing.squeezers.len() as u64)
    }

    fn rejects(&self) -> bool {
        true
    }

    fn logits(&self, images: Tensor<4>, draws: &Draws) -> Result<Tensor<2>, Stop> {
        let ask = |(part, squeezer): (u64, &Squeezer)| {
            self.behind.logits(squeezer.squeeze(images.clone()), &draws.of_part(part))
        };
        let squeezed = (1..).zip(&self.squeezing.squeezers).map(ask).collect::<Result<Vec<_>, _>>()?;
        let logits = self.behind.logits(images.clone(), &draws.of_part(0))?;
        Ok(self.squeezing.judge(&logits, &squeezed))
    }

    fn forward(&self, images: Tensor<4>, draws: &Draws) -> Result<Tape, Stop> {
        let ask = |(part, squeezer): (u64, &Squeezer)| {
            Ok((self.behind.forward(squeezer.squeeze(images.clone()), &draws.of_part(part))?, *squeezer))
        };
        let squeezed = (1..).zip(&self.squeezing.squeezers).map(ask).collect::<Result<Vec<_>, Stop>>()?;
        let tape = self.behind.forward(images.clone(), &draws.of_part(0))?;
        let leaf = |tape: &Tape| tape.logits.clone().autodiff().require_grad();
        let leaves: Vec<Tensor<2>> = squeezed.iter().map(|(tape, _)| leaf(tape)).collect();
        let own = leaf(&tape);
        let judged = self.squeezing.judge(&own, &leaves);
        let gradient = self.gradient;
        Ok(Tape::new(judged.clone().inner(), move |cotangents| {
            let mut gradients = (judged * cotangents).sum().backward();
            let mut of = |leaf: &Tensor<2>| {
                leaf.grad_remove(&mut gradients).unwrap_or_else(|| leaf.clone().inner().zeros_like())
            };
            let mut sum = tape.pull(of(&own))?;
            for ((tape, squeezer), leaf) in squeezed.into_iter().zip(&leaves) {
                sum = sum + squeezer.pull(images.clone(), tape.pull(of(leaf))?, gradient);
            }
            Ok(sum)
        }))
    }

    fn with_residual_decay(&self, decay: f64) -> Option<Arc<dyn Model>> {
        let behind = self.behind.with_residual_decay(decay)?;
        Some(Arc::new(Self { behind, squeezing: self.squeezing.clone(), gradient: self.gradient }))
    }
}

/// The squeezers that are set.
fn squeezers(values: &Values) -> Vec<Squeezer> {
    let count = |name| values.is_set(name).then(|| values.count(name));
    let bits = count("bits").map(|bits| Squeezer::Bits(bits as i32));
    let median = count("median").map(|side| Squeezer::Median(side as usize));
    bits.into_iter().chain(median).collect()
}

inventory::submit! {
    DefenseEntry {
        component: Component {
            id: "feature-squeezing",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("feature_squeezing.rs"),
            parameters: &[
                Parameter {
                    name: "threshold",
                    kind: ParameterKind::Number { minimum: 0.0, maximum: 1.999 },
                    unit: "distance between probabilities",
                    fallback: Fallback::Required,
                    documentation: "The score above which an image is rejected.",
                },
                Parameter {
                    name: "bits",
                    kind: ParameterKind::Count { minimum: 1, maximum: 8 },
                    unit: "bits per pixel and channel",
                    fallback: Fallback::Unset,
                    documentation: "How many bits a squeezed version has; unset, there is no such version.",
                },
                Parameter {
                    name: "median",
                    kind: ParameterKind::Count { minimum: 2, maximum: 3 },
                    unit: "pixels",
                    fallback: Fallback::Unset,
                    documentation: "The side of the square whose median a squeezed version has; unset, there is no such version.",
                },
                Parameter {
                    name: "slope",
                    kind: ParameterKind::Number { minimum: 1e-3, maximum: 1e6 },
                    unit: "",
                    fallback: Fallback::Value("1"),
                    documentation: "How fast the logit of rejection grows with the score, for attackers; verdicts do not depend on it.",
                },
            ],
            example: "threshold = 0.5\nbits = 4\nmedian = 2",
            traits: Traits::Defense(DefenseTraits {
                gradients: &[GradientMode::Smooth, GradientMode::Exact, GradientMode::Blocked],
                rejects: true,
                output: |values, shape| match squeezers(values).is_empty() {
                    true => Err("it needs something to squeeze with: set `bits`, `median` or both".to_owned()),
                    false => Ok(shape),
                },
                ..DefenseTraits::PLAIN
            }),
        },
        build: &|values, _| Ok(Box::new(FeatureSqueezing {
            squeezers: squeezers(values),
            threshold: values.number("threshold"),
            slope: values.number("slope"),
        })),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::activation::softmax;
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::shared::reference::{pattern, reference};

    /// Two logits: weighted sums of pixels.
    struct Sums;

    impl Model for Sums {
        fn logits(&self, images: Tensor<4>, _: &Draws) -> Result<Tensor<2>, Stop> {
            let flat: Tensor<2> = images.flatten(1, 3);
            let count = flat.dims()[1];
            let weights: Vec<f32> = (0..count).map(|at| (at as f32 * 1.7).sin()).collect();
            let weights = Tensor::<2>::from_data(TensorData::new(weights, [1, count]), &flat.device());
            let weights = if flat.is_tracked() { weights.autodiff() } else { weights };
            Ok(Tensor::cat(vec![(flat.clone() * weights).sum_dim(1), flat.square().mean_dim(1) * 4.0], 1))
        }
    }

    fn images(count: usize) -> Tensor<4> {
        Tensor::from_data(TensorData::new(pattern(count * 2 * 5 * 7), [count, 2, 5, 7]), &Device::flex())
    }

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_into_vec().unwrap()
    }

    fn around(threshold: f64, squeezers: Vec<Squeezer>, gradient: GradientMode) -> Arc<dyn Model> {
        let squeezing = FeatureSqueezing { squeezers, threshold, slope: 10.0 };
        squeezing.around(&(Arc::new(Sums) as Arc<dyn Model>), gradient).unwrap()
    }

    /// Against `scipy.ndimage.median_filter` with `mode="reflect"`, which the authors call.
    #[test]
    fn medians_are_those_of_scipy() {
        for side in [2, 3] {
            let expected = reference(&format!("median-{side}"));
            assert_eq!(values(median_filter(images(1), side)), expected, "{side}");
        }
    }

    #[test]
    fn an_image_is_rejected_where_its_score_exceeds_the_threshold() {
        let draws = Draws::none(3);
        let squeezers = vec![Squeezer::Bits(1), Squeezer::Median(3)];
        let probabilities = |images: Tensor<4>| values(softmax(Sums.logits(images, &draws).unwrap(), 1));
        let own = probabilities(images(3));
        let others = squeezers.iter().map(|squeezer| probabilities(squeezer.squeeze(images(3)))).collect::<Vec<_>>();
        let score = |row: usize| {
            let distance = |other: &Vec<f32>| (0..2).map(|at| (own[2 * row + at] - other[2 * row + at]).abs()).sum();
            others.iter().map(distance).fold(0.0, f32::max)
        };
        let scores = [0, 1, 2].map(score);
        let threshold = f64::from(scores.iter().sum::<f32>() / 3.0);
        let model = around(threshold, squeezers, GradientMode::Smooth);
        assert_eq!((model.passes(), model.rejects()), (3, true));
        let logits = values(model.logits(images(3), &draws).unwrap());
        let bare = values(Sums.logits(images(3), &draws).unwrap());
        let mut rejected = Vec::new();
        for (row, logits) in logits.chunks_exact(3).enumerate() {
            assert_eq!(logits[..2], bare[2 * row..2 * row + 2]);
            let largest = logits[0].max(logits[1]);
            let apart = |score: f64| -(1.0 - score / 2.0).ln();
            let expected = f64::from(largest) + 10.0 * (apart(scores[row].into()) - apart(threshold));
            assert!((f64::from(logits[2]) - expected).abs() < 1e-4, "{} {expected}", logits[2]);
            rejected.push(logits[2] > largest);
        }
        assert_eq!(rejected, scores.map(|score| f64::from(score) > threshold));
        assert!(rejected.contains(&true) && rejected.contains(&false), "{scores:?}");
        assert_eq!(values(model.forward(images(3), &draws).unwrap().logits), logits);
        // Rows do not matter to each other.
        let alone = values(model.logits(images(3).narrow(0, 1, 1), &Draws::none(1)).unwrap());
        assert_eq!(alone, logits[3..6]);
    }

    #[test]
    fn gradients_are_those_of_finite_differences_and_rounding_is_passed_over() {
        let draws = Draws::none(1);
        let gradient = |squeezer: Squeezer, mode| {
            let tape = around(0.1, vec![squeezer], mode).forward(images(1), &draws).unwrap();
            let cotangent = Tensor::<2>::from_data(TensorData::new(vec![0.5_f32, -1.0, 2.0], [1, 3]), &Device::flex());
            values(tape.pull(cotangent).unwrap())
        };
        let model = around(0.1, vec![Squeezer::Median(2)], GradientMode::Exact);
        let value = |images: Tensor<4>| {
            let logits = values(model.logits(images, &draws).unwrap());
            f64::from(logits[0]) * 0.5 - f64::from(logits[1]) + 2.0 * f64::from(logits[2])
        };
        let found = gradient(Squeezer::Median(2), GradientMode::Exact);
        for at in (0..70).step_by(3) {
            let moved = |by: f32| {
                let mut pixels = pattern(70);
                pixels[at] += by;
                value(Tensor::from_data(TensorData::new(pixels, [1, 2, 5, 7]), &Device::flex()))
            };
            let slope = (moved(2e-3) - moved(-2e-3)) / 4e-3;
            assert!((slope - f64::from(found[at])).abs() < 0.02 * (1.0 + slope.abs()), "{at}: {slope} {}", found[at]);
        }
        let [exact, smooth] = [GradientMode::Exact, GradientMode::Smooth].map(|mode| gradient(Squeezer::Bits(2), mode));
        assert_ne!(exact, smooth);
        // What rounding is passed over for is what a version that is not squeezed at all would give at the rounded image.
        let squeezed = Squeezer::Bits(2).pull(images(1), images(1), GradientMode::Smooth);
        assert_eq!(values(squeezed), values(images(1)));
    }
}
