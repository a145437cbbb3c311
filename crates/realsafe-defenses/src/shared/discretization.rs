//! Randomized discretization: what `rand-mix` and `rand-disc` share.

use burn::tensor::activation::softmax;
use burn::tensor::{Tensor, TensorData};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use realsafe_core::{Draws, Stop, fill_gaussian, read};
use realsafe_plan::{Fallback, Parameter, ParameterKind, Values};

/// The noise that is added twice.
pub(crate) const NOISE: Parameter = Parameter {
    name: "noise",
    kind: ParameterKind::Number { minimum: 0.0, maximum: 10.0 },
    unit: "pixel range 0 to 1",
    fallback: Fallback::Value("16/255"),
    documentation: "The standard deviation of the Gaussian noise.",
};

/// How many colours are left.
pub(crate) const CENTRES: Parameter = Parameter {
    name: "centres",
    kind: ParameterKind::Count { minimum: 1, maximum: 1000 },
    unit: "colours",
    fallback: Fallback::Value("5"),
    documentation: "How many pixels are drawn as centres of clusters.",
};

/// How they are chosen.
pub(crate) const SEEDING: Parameter = Parameter {
    name: "seeding",
    kind: ParameterKind::Choice(&["uniform", "k-means++"]),
    unit: "",
    fallback: Fallback::Value("uniform"),
    documentation: "Whether all pixels are as likely, or those more that are far from the centres so far.",
};

/// How fast the share of a centre falls.
pub(crate) const SHARPNESS: Parameter = Parameter {
    name: "sharpness",
    kind: ParameterKind::Number { minimum: 0.0, maximum: 1e6 },
    unit: "per squared distance, pixel range 0 to 1",
    fallback: Fallback::Value("40"),
    documentation: "The alpha in the weights exp(-alpha d²) of centres at distance d.",
};

/// The random part: noise and centres.
pub(crate) struct Discretization {
    noise: f32,
    centres: usize,
    distant: bool,
}

/// Images taken apart.
pub(crate) struct Clusters {
    /// The centres `[n, channels, centres, 1]`, pixels of noisy images.
    centres: Tensor<4>,
    /// The squared distances `[n, 1, centres, pixels]` of pixels with other noise to them.
    distances: Tensor<4>,
}

impl Clusters {
    /// Every pixel as the mean of the centres, weighted by distance: `[n, channels, 1, pixels]`.
    pub(crate) fn mixture(self, sharpness: f64) -> Tensor<4> {
        (self.centres * softmax(self.distances * -sharpness, 2)).sum_dim(2)
    }

    /// Every pixel as its nearest centre: `[n, channels, 1, pixels]`.
    pub(crate) fn nearest(self) -> Tensor<4> {
        let [rows, channels, count, _] = self.centres.dims();
        let pixels = self.distances.dims()[3];
        let nearest = self.distances.argmin(2).expand([rows, channels, 1, pixels]);
        self.centres.expand([rows, channels, count, pixels]).gather(2, nearest)
    }
}

impl Discretization {
    /// By [`NOISE`], [`CENTRES`] and [`SEEDING`].
    pub(crate) fn from(values: &Values) -> Self {
        Self {
            noise: values.number(NOISE.name) as f32,
            centres: values.count(CENTRES.name) as usize,
            distant: values.text(SEEDING.name) == "k-means++",
        }
    }

    /// Adds noise, and draws the centres; differentiable, the choice of the centres aside.
    pub(crate) fn clusters(&self, images: Tensor<4>, draws: &Draws) -> Result<Clusters, Stop> {
        let [rows, channels, height, width] = images.dims();
        let (pixels, device) = (height * width, images.device());
        let clean = if self.distant { read(images.clone().inner())? } else { Vec::new() };
        let size = channels * pixels;
        let (mut first, mut second) = (vec![0.0; rows * size], vec![0.0; rows * size]);
        let mut chosen: Vec<i64> = Vec::with_capacity(rows * channels * self.centres);
        for row in 0..rows {
            let mut random = draws.stream(row);
            let own = row * size..(row + 1) * size;
            for noise in [&mut first[own.clone()], &mut second[own.clone()]] {
                fill_gaussian(&mut random, noise);
                noise.iter_mut().for_each(|value| *value *= self.noise);
            }
            let places: Vec<usize> = if self.distant {
                let noisy: Vec<f32> = clean[own.clone()].iter().zip(&first[own]).map(|(a, b)| a + b).collect();
                distant(&noisy, pixels, self.centres, &mut random)
            } else {
                (0..self.centres).map(|_| random.random_range(0..pixels)).collect()
            };
            (0..channels).for_each(|_| chosen.extend(places.iter().map(|place| *place as i64)));
        }
        let flat: Tensor<3> = images.reshape([rows, channels, pixels]);
        let noise = |noise| Tensor::<3>::from_data(TensorData::new(noise, [rows, channels, pixels]), &device);
        let chosen = Tensor::from_data(TensorData::new(chosen, [rows, channels, self.centres]), &device);
        let centres = (flat.clone() + noise(first)).gather(2, chosen).reshape([rows, channels, self.centres, 1]);
        let points = (flat + noise(second)).reshape([rows, channels, 1, pixels]);
        let distances = (points - centres.clone()).square().sum_dim(1);
        Ok(Clusters { centres, distances })
    }
}

/// Draws pixels of an image in planes, each with a probability in proportion to its squared distance from the nearest one
/// that was drawn before.
fn distant(planes: &[f32], pixels: usize, count: usize, random: &mut ChaCha8Rng) -> Vec<usize> {
    let mut chosen = vec![random.random_range(0..pixels)];
    let mut distances = vec![f64::INFINITY; pixels];
    while chosen.len() < count {
        let last = chosen[chosen.len() - 1];
        for (at, distance) in distances.iter_mut().enumerate() {
            let squares = planes.chunks_exact(pixels).map(|plane| f64::from(plane[at] - plane[last]).powi(2));
            *distance = distance.min(squares.sum());
        }
        let mut left = distances.iter().sum::<f64>() * random.random::<f64>();
        let found = distances.iter().position(|distance| {
            left -= distance;
            left < 0.0
        });
        // Where all pixels are alike, one is as good as another.
        chosen.push(found.unwrap_or(last));
    }
    chosen
}
