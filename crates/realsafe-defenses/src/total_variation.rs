//! Total variation minimisation: keeps a random part of the pixels, and fills in a smooth image.
//!
//! ## What it does
//! Each pixel is kept with the probability `keep`, all its channels together. What comes out is close to a minimum of the
//! squared distance from the kept pixels plus `strength` times the anisotropic total variation, channel by channel, found by
//! the split Bregman method: sweeps of Gauss-Seidel until an image changes by less than 0.0001 on average, or 100 of them. The
//! result is cut to `[0, 1]`.
//!
//! The defaults are those of the authors: they keep one half at a strength of 0.03.
//!
//! ## What an attacker sees
//! The derivative of the solver is not offered; the default is `identity` (BPDA). Attacks average over draws with `eot`.
//!
//! ## References
//! Guo, Rana, Cisse, van der Maaten: Countering Adversarial Images Using Input Transformations, ICLR 2018
//! (arXiv:1711.00117), after Goldstein, Osher: The Split Bregman Method for L1-Regularized Problems, SIAM J. Imaging Sciences
//! 2(2), 2009. Broken by Athalye, Carlini, Wagner, ICML 2018 (arXiv:1802.00420).

use burn::tensor::{Tensor, TensorData};
use rand::RngExt;
use realsafe_core::{Defense, DefenseEntry, Draws, Stop, inventory, read};
use realsafe_plan::{Component, DefenseTraits, Fallback, GradientMode, Origin, Parameter, ParameterKind, Traits};

/// When sweeps end: the root of the mean squared change, and their number.
const SMALL_CHANGE: f64 = 1e-4;
const SWEEPS: usize = 100;

struct TotalVariation {
    keep: f64,
    strength: f64,
}

impl Defense for TotalVariation {
    fn forward(&self, images: Tensor<4>, draws: &Draws) -> Result<Tensor<4>, Stop> {
        let [rows, channels, height, width] = images.dims();
        let device = images.device();
        let pixels = read(images)?;
        let mut smoothed = Vec::with_capacity(pixels.len());
        for (row, image) in pixels.chunks_exact(channels * height * width).enumerate() {
            let mut random = draws.stream(row);
            let kept: Vec<bool> = (0..height * width).map(|_| random.random::<f64>() < self.keep).collect();
            smoothed.extend(minimise(image, &kept, [height, width], 2.0 / self.strength));
        }
        Ok(Tensor::from_data(TensorData::new(smoothed, [rows, channels, height, width]), &device))
    }
}

/// Solves for an image in planes; `weight` is that of half the squared distance from its kept pixels.
fn minimise(image: &[f32], kept: &[bool], size: [usize; 2], weight: f64) -> Vec<f32> {
    let mut channels: Vec<Bregman> = image.chunks_exact(kept.len()).map(|plane| Bregman::new(plane, size)).collect();
    for _ in 0..SWEEPS {
        let change: f64 = channels.iter_mut().map(|channel| channel.sweep(kept, weight)).sum();
        if (change / image.len() as f64).sqrt() <= SMALL_CHANGE {
            break;
        }
    }
    channels.iter().flat_map(|channel| channel.solution.iter().map(|value| value.clamp(0.0, 1.0) as f32)).collect()
}

/// The state of the method for one channel. What belongs to two neighbours is kept at the place of the first one: for each
/// pixel the one to its right, and the one below.
struct Bregman {
    data: Vec<f64>,
    /// Width and height.
    lengths: [usize; 2],
    solution: Vec<f64>,
    /// What stands for the differences of neighbours in the total variation.
    split: [Vec<f64>; 2],
    /// What these lack, added up.
    residual: [Vec<f64>; 2],
}

impl Bregman {
    fn new(channel: &[f32], [height, width]: [usize; 2]) -> Self {
        let data: Vec<f64> = channel.iter().copied().map(f64::from).collect();
        let zeros = || [vec![0.0; data.len()], vec![0.0; data.len()]];
        Self { lengths: [width, height], solution: data.clone(), split: zeros(), residual: zeros(), data }
    }

    /// Updates every pixel in turn, then the differences; gives the sum of the squares of the changes.
    fn sweep(&mut self, kept: &[bool], weight: f64) -> f64 {
        let (lengths, u) = (self.lengths, &mut self.solution);
        let steps = [1, lengths[0]];
        let places = |at: usize| [at % lengths[0], at / lengths[0]];
        let coupling = 2.0 * weight;
        let mut change = 0.0;
        for at in 0..u.len() {
            let (mut around, mut neighbours) = (0.0, 0.0);
            for (axis, place) in places(at).into_iter().enumerate() {
                let (step, pull) = (steps[axis], |at: usize| self.split[axis][at] - self.residual[axis][at]);
                if place > 0 {
                    around += u[at - step] + pull(at - step);
                    neighbours += 1.0;
                }
                if place + 1 < lengths[axis] {
                    around += u[at + step] - pull(at);
                    neighbours += 1.0;
                }
            }
            let before = u[at];
            if kept[at] {
                u[at] = (coupling * around + weight * self.data[at]) / (weight + neighbours * coupling);
            } else if neighbours > 0.0 {
                u[at] = around / neighbours;
            }
            change += (u[at] - before).powi(2);
        }
        for at in 0..u.len() {
            for (axis, place) in places(at).into_iter().enumerate() {
                if place + 1 < lengths[axis] {
                    let (split, residual) = (&mut self.split[axis][at], &mut self.residual[axis][at]);
                    let wanted = u[at + steps[axis]] - u[at] + *residual;
                    *split = wanted.signum() * (wanted.abs() - 1.0 / coupling).max(0.0);
                    *residual = wanted - *split;
                }
            }
        }
        change
    }
}

inventory::submit! {
    DefenseEntry {
        component: Component {
            id: "total-variation",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("total_variation.rs"),
            parameters: &[
                Parameter {
                    name: "keep",
                    kind: ParameterKind::Number { minimum: 0.0, maximum: 1.0 },
                    unit: "probability",
                    fallback: Fallback::Value("0.5"),
                    documentation: "How likely a pixel is to be kept; with 1, nothing is random.",
                },
                Parameter {
                    name: "strength",
                    kind: ParameterKind::Number { minimum: 1e-6, maximum: 1e6 },
                    unit: "pixel range 0 to 1",
                    fallback: Fallback::Value("0.03"),
                    documentation: "The weight of the total variation against the distance from the kept pixels.",
                },
            ],
            example: "keep = 0.5",
            traits: Traits::Defense(DefenseTraits {
                gradients: &[GradientMode::Identity, GradientMode::Blocked],
                randomised: true,
                optimises: true,
                ..DefenseTraits::PLAIN
            }),
        },
        build: &|values, _| Ok(Box::new(TotalVariation {
            keep: values.number("keep"),
            strength: values.number("strength"),
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::reference::{pattern, reference};

    /// Squared distance from kept pixels plus strength times total variation, of two planes of eight by eight.
    fn objective(found: &[f32], image: &[f32], kept: &[bool], strength: f64) -> f64 {
        let value = |at: usize| f64::from(found[at]);
        let distance = (0..found.len()).filter(|at| kept[at % 64]).map(|at| (value(at) - f64::from(image[at])).powi(2));
        let across = (0..found.len()).filter(|at| at % 8 < 7).map(|at| (value(at + 1) - value(at)).abs());
        let down = (0..found.len()).filter(|at| at % 64 < 56).map(|at| (value(at + 8) - value(at)).abs());
        distance.sum::<f64>() + strength * (across.sum::<f64>() + down.sum::<f64>())
    }

    /// Against the minimum as a quadratic program has it; which is not unique where pixels are missing.
    #[test]
    fn it_comes_close_to_the_minimum() {
        let image = pattern(2 * 8 * 8);
        let half: Vec<bool> = (0..64).map(|at| at * 7 % 5 < 2).collect();
        for (kept, strength, name) in
            [(half, 0.3, "total-variation-half"), (vec![true; 64], 0.1, "total-variation-whole")]
        {
            let found = minimise(&image, &kept, [8, 8], 2.0 / strength);
            let [reached, least] = [&found, &reference(name)].map(|pixels| objective(pixels, &image, &kept, strength));
            assert!(reached < 1.01 * least, "{name}: {reached} instead of {least}");
        }
    }
}
