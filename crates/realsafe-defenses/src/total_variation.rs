//! Total variation minimisation: keeps a random part of the pixels, and fills in a smooth image.
//!
//! ## What it does
//! Each pixel is kept with the probability `keep`, all its channels together. What comes out is close to a minimum of the
//! squared distance from the kept pixels plus `strength` times the anisotropic total variation, channel by channel, found by
//! the split Bregman method: sweeps of Gauss-Seidel until an image changes by less than 0.001 on average, or 100 of them. The
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
const SMALL_CHANGE: f64 = 1e-3;
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

/// A plane with a border of one pixel on each side.
#[derive(Clone)]
struct Plane {
    values: Vec<f64>,
    stride: usize,
}

impl Plane {
    fn zeros([height, width]: [usize; 2]) -> Self {
        Self { values: vec![0.0; (height + 2) * (width + 2)], stride: width + 2 }
    }

    /// The plane of a channel, with its second lines mirrored around the first ones.
    fn mirrored(channel: &[f32], size: [usize; 2]) -> Self {
        let [height, width] = size;
        let mut plane = Self::zeros(size);
        let mirror = |at: usize, length: usize| match at {
            0 => 1.min(length - 1),
            at if at > length => length.saturating_sub(2),
            at => at - 1,
        };
        for y in 0..height + 2 {
            for x in 0..width + 2 {
                // Corners are nobody's neighbours.
                plane.values[y * plane.stride + x] = channel[mirror(y, height) * width + mirror(x, width)].into();
            }
        }
        plane
    }
}

/// Solves for an image in planes; `weight` is that of the distance from its kept pixels.
fn minimise(image: &[f32], kept: &[bool], size: [usize; 2], weight: f64) -> Vec<f32> {
    let [height, width] = size;
    let mut channels: Vec<Bregman> =
        image.chunks_exact(height * width).map(|plane| Bregman::new(plane, size)).collect();
    for _ in 0..SWEEPS {
        let change: f64 = channels.iter_mut().map(|channel| channel.sweep(kept, weight)).sum();
        if (change / image.len() as f64).sqrt() <= SMALL_CHANGE {
            break;
        }
    }
    channels.iter().flat_map(Bregman::result).collect()
}

/// The state of the method for one channel, each differences of two pixels with the first one's place.
struct Bregman {
    data: Vec<f32>,
    size: [usize; 2],
    solution: Plane,
    /// Differences to the right and downwards that are penalised in the place of the solution's.
    split: [Plane; 2],
    /// What these lack.
    residual: [Plane; 2],
}

impl Bregman {
    fn new(channel: &[f32], size: [usize; 2]) -> Self {
        let zeros = || [Plane::zeros(size), Plane::zeros(size)];
        let solution = Plane::mirrored(channel, size);
        Self { data: channel.to_vec(), size, solution, split: zeros(), residual: zeros() }
    }

    /// Updates every pixel in turn; gives the sum of the squares of the changes.
    fn sweep(&mut self, kept: &[bool], weight: f64) -> f64 {
        let [height, width] = self.size;
        let stride = self.solution.stride;
        let coupling = 2.0 * weight;
        let mut change = 0.0;
        for y in 0..height {
            for x in 0..width {
                let at = (y + 1) * stride + x + 1;
                let u = &mut self.solution.values;
                let before = u[at];
                let steps = [1, stride];
                let differences = steps.map(|step| u[at + step] - before);
                let mut around = 0.0;
                for (axis, step) in steps.into_iter().enumerate() {
                    let (d, b) = (&self.split[axis].values, &self.residual[axis].values);
                    around += u[at - step] + u[at + step] + d[at - step] - d[at] - b[at - step] + b[at];
                }
                let place = y * width + x;
                u[at] = if kept[place] {
                    (coupling * around + weight * f64::from(self.data[place])) / (weight + 4.0 * coupling)
                } else {
                    around / 4.0
                };
                change += (u[at] - before).powi(2);
                for (axis, difference) in differences.into_iter().enumerate() {
                    let (d, b) = (&mut self.split[axis].values[at], &mut self.residual[axis].values[at]);
                    let wanted = difference + *b;
                    *d = wanted.signum() * (wanted.abs() - 1.0 / coupling).max(0.0);
                    *b += difference - *d;
                }
            }
        }
        change
    }

    fn result(&self) -> impl Iterator<Item = f32> {
        let [height, width] = self.size;
        let lines = self.solution.values.chunks_exact(width + 2).skip(1).take(height);
        lines.flat_map(move |line| line[1..=width].iter().map(|value| value.clamp(0.0, 1.0) as f32))
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
                output: DefenseTraits::SAME_SHAPE,
            }),
        },
        build: &|values, _| Ok(Box::new(TotalVariation {
            keep: values.number("keep"),
            strength: values.number("strength"),
        })),
    }
}
