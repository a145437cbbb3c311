//! Image quilting: puts every image together anew from patches of clean images.
//!
//! ## What it does
//! Before anything runs, `patches` squares of `patch` pixels are cut from images of a dataset, image and place drawn evenly from
//! a stream that depends on nothing but their numbers. An image is then covered, left to right and top to bottom, by patches
//! that overlap by `overlap` pixels (the last ones of a line by more, where they would stand out). Each is drawn evenly from the
//! `neighbours` patches with the smallest squared distance from what the image has at the place, anew for every image of every
//! pass. Where it overlaps with what is there already, the two meet along the path on which they differ least.
//!
//! The authors cut a million patches of 5 pixels from ImageNet's training images, overlap them by 2 and draw from 10.
//!
//! ## What an attacker sees
//! Pixels are those of the dataset, so `exact` gives no gradient (and looks like robustness where there is none). The default is
//! `identity` (BPDA). Attacks average over draws with `eot`, unless `neighbours` is 1.
//!
//! ## References
//! Guo, Rana, Cisse, van der Maaten: Countering Adversarial Images Using Input Transformations, ICLR 2018
//! (arXiv:1711.00117), after Efros, Freeman: Image Quilting for Texture Synthesis and Transfer, SIGGRAPH 2001. Broken by
//! Athalye, Carlini, Wagner, ICML 2018 (arXiv:1802.00420).

use burn::tensor::{Tensor, TensorData};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use realsafe_core::random::{Purpose, StreamKey, stream};
use realsafe_core::{DatasetEntry, Defense, DefenseEntry, Draws, Locations, Stop, inventory, read};
use realsafe_plan::{
    Component, DefenseTraits, Fallback, GradientMode, Origin, Parameter, ParameterKind, Traits, Values,
};

struct Quilting {
    /// Patches, one after the other, in planes.
    patches: Vec<f32>,
    side: usize,
    overlap: usize,
    neighbours: usize,
}

impl Quilting {
    fn new(values: &Values, locations: &Locations) -> Result<Self, String> {
        let images = DatasetEntry::open(values.component("images"), locations)?;
        if images.is_empty() {
            return Err("the dataset of its `images` is empty".to_owned());
        }
        let (count, side) = (values.count("patches"), values.count("patch") as usize);
        let mut patches = Vec::new();
        for number in 0..count {
            let key = StreamKey { seed: 0, purpose: Purpose::Defense, sample: number, restart: 0, step: 0 };
            let mut random = stream(key);
            let samples = images.read(&[random.random_range(0..images.len() as u32)])?;
            let [channels, height, width] = samples.shape;
            if side > height.min(width) {
                return Err(format!("patches of {side} pixels cannot be cut from images of {height}x{width}"));
            }
            let (top, left) = (random.random_range(0..=height - side), random.random_range(0..=width - side));
            for line in (0..channels * side).map(|line| (line / side) * height + top + line % side) {
                patches.extend_from_slice(&samples.pixels[line * width + left..][..side]);
            }
        }
        let (overlap, neighbours) = (values.count("overlap") as usize, values.count("neighbours").min(count) as usize);
        Ok(Self { patches, side, overlap, neighbours })
    }

    /// Where patches begin on an axis.
    fn places(&self, length: usize) -> impl Iterator<Item = usize> + Clone {
        let last = length - self.side;
        (0..last).step_by(self.side - self.overlap).chain([last])
    }

    /// Quilts an image in planes.
    fn quilt(&self, image: &[f32], [channels, height, width]: [usize; 3], random: &mut ChaCha8Rng) -> Vec<f32> {
        let side = self.side;
        let mut quilt = vec![0.0; image.len()];
        let (mut bottom, mut wanted) = (0, Vec::with_capacity(channels * side * side));
        for top in self.places(height) {
            let mut right = 0;
            for left in self.places(width) {
                let line = |line: usize| ((line / side) * height + top + line % side) * width + left;
                wanted.clear();
                (0..channels * side).for_each(|at| wanted.extend_from_slice(&image[line(at)..][..side]));
                let patch = self.near(&wanted, random);
                // How far the patch overlaps with those to the left and above.
                let over = [if left > 0 { right - left } else { 0 }, if top > 0 { bottom - top } else { 0 }];
                let kept = kept(patch, &quilt, side, over, &line);
                for (at, value) in patch.iter().enumerate() {
                    if !kept[at % (side * side)] {
                        quilt[line(at / side) + at % side] = *value;
                    }
                }
                right = left + side;
            }
            bottom = top + side;
        }
        quilt
    }

    /// One of the patches that are closest to what is wanted.
    fn near(&self, wanted: &[f32], random: &mut ChaCha8Rng) -> &[f32] {
        let patches = self.patches.chunks_exact(wanted.len());
        let distance = |patch: &[f32]| wanted.iter().zip(patch).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
        let mut distances: Vec<(f32, usize)> = patches.enumerate().map(|(at, patch)| (distance(patch), at)).collect();
        let order = |a: &(f32, usize), b: &(f32, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
        let (closer, farthest, _) = distances.select_nth_unstable_by(self.neighbours - 1, order);
        closer.sort_unstable_by(order);
        let chosen = random.random_range(0..self.neighbours);
        let (_, at) = closer.get(chosen).unwrap_or(farthest);
        &self.patches[at * wanted.len()..][..wanted.len()]
    }
}

/// Which pixels of a place keep what is there already: those on the near sides of the cheapest cuts through the overlaps.
fn kept(patch: &[f32], quilt: &[f32], side: usize, over: [usize; 2], line: &impl Fn(usize) -> usize) -> Vec<bool> {
    let channels = patch.len() / (side * side);
    let error = |y: usize, x: usize| -> f32 {
        let difference = |plane| patch[(plane * side + y) * side + x] - quilt[line(plane * side + y) + x];
        (0..channels).map(|plane| difference(plane).powi(2)).sum()
    };
    let down = cut(side, over[0], &error);
    let across = cut(side, over[1], &|x, y| error(y, x));
    (0..side * side).map(|at| at % side < down[at / side] || at / side < across[at % side]).collect()
}

/// The cheapest connected cut through a strip `across` wide, for each place along it: how many pixels lie before it. Its cost is
/// the sum of the errors of the pixels on it, which are the first ones behind.
fn cut(along: usize, across: usize, error: &impl Fn(usize, usize) -> f32) -> Vec<usize> {
    if across == 0 {
        return vec![0; along];
    }
    // The costs of the best cuts from each pixel to the end.
    let mut costs = vec![vec![0.0; across]; along];
    let reach = |at: usize| at.saturating_sub(1)..(at + 2).min(across);
    for at in (0..along).rev() {
        for place in 0..across {
            let ahead = costs
                .get(at + 1)
                .map_or(0.0, |next: &Vec<f32>| next[reach(place)].iter().copied().fold(f32::INFINITY, f32::min));
            costs[at][place] = error(at, place) + ahead;
        }
    }
    let mut path = Vec::with_capacity(along);
    for costs in &costs {
        let places = path.last().map_or(0..across, |place| reach(*place));
        path.extend(places.min_by(|a, b| costs[*a].total_cmp(&costs[*b])));
    }
    path
}

impl Defense for Quilting {
    fn forward(&self, images: Tensor<4>, draws: &Draws) -> Result<Tensor<4>, Stop> {
        let [rows, channels, height, width] = images.dims();
        let device = images.device();
        let pixels = read(images)?;
        let images = pixels.chunks_exact(channels * height * width).enumerate();
        let quilts =
            images.flat_map(|(row, image)| self.quilt(image, [channels, height, width], &mut draws.stream(row)));
        Ok(Tensor::from_data(TensorData::new(quilts.collect(), [rows, channels, height, width]), &device))
    }

    fn backward(&self, images: Tensor<4>, _: Tensor<4>, _: &Draws) -> Result<Tensor<4>, Stop> {
        Ok(images.zeros_like())
    }
}

/// The shape of its images, or what does not fit.
fn output(values: &Values, shape: [usize; 3]) -> Result<[usize; 3], String> {
    let dataset = values.component("images");
    let patches = dataset.component.dataset().map_or(shape, |traits| (traits.shape)(&dataset.values));
    let side = values.count("patch") as usize;
    if values.count("overlap") >= values.count("patch") {
        return Err("`overlap` must be smaller than `patch`".to_owned());
    }
    if patches[0] != shape[0] {
        return Err(format!("the images of `{}` have {} channels", dataset.id, patches[0]));
    }
    let smallest = [shape[1], shape[2], patches[1], patches[2]].into_iter().min().unwrap_or(0);
    if side > smallest {
        return Err(format!("patches of {side} pixels do not fit into {smallest}"));
    }
    Ok(shape)
}

inventory::submit! {
    DefenseEntry {
        component: Component {
            id: "quilting",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("quilting.rs"),
            parameters: &[
                Parameter {
                    name: "images",
                    kind: ParameterKind::Dataset,
                    unit: "",
                    fallback: Fallback::Required,
                    documentation: "The dataset of clean images from which patches are cut.",
                },
                Parameter {
                    name: "patches",
                    kind: ParameterKind::Count { minimum: 1, maximum: 10_000_000 },
                    unit: "patches",
                    fallback: Fallback::Value("10000"),
                    documentation: "How many patches are cut.",
                },
                Parameter {
                    name: "patch",
                    kind: ParameterKind::Count { minimum: 1, maximum: 64 },
                    unit: "pixels",
                    fallback: Fallback::Value("5"),
                    documentation: "The side of a patch.",
                },
                Parameter {
                    name: "overlap",
                    kind: ParameterKind::Count { minimum: 0, maximum: 63 },
                    unit: "pixels",
                    fallback: Fallback::Value("2"),
                    documentation: "By how much neighbours overlap.",
                },
                Parameter {
                    name: "neighbours",
                    kind: ParameterKind::Count { minimum: 1, maximum: 10_000 },
                    unit: "patches",
                    fallback: Fallback::Value("10"),
                    documentation: "From how many of the closest patches one is drawn.",
                },
            ],
            example: "images = { use = \"digits\", split = \"train\" }\npatches = 500\npatch = 3\noverlap = 1",
            traits: Traits::Defense(DefenseTraits {
                gradients: &[GradientMode::Identity, GradientMode::Exact, GradientMode::Blocked],
                randomised: true,
                output,
                ..DefenseTraits::PLAIN
            }),
        },
        build: &|values, locations| Ok(Box::new(Quilting::new(values, locations)?)),
    }
}

#[cfg(test)]
mod tests {
    use realsafe_core::Draws;

    use super::*;
    use crate::shared::reference::{pattern, reference};

    /// Against a quilt whose cuts were found by trying all of them.
    #[test]
    fn patches_are_the_nearest_and_meet_where_they_differ_least() {
        // Wider than 32 bits, as the reference has it.
        let patches = (0_u64..40 * 2 * 4 * 4).map(|at| ((at * at * 7919 % 10_007) as f32) / 10_006.0).collect();
        let quilting = Quilting { patches, side: 4, overlap: 2, neighbours: 1 };
        let found = quilting.quilt(&pattern(2 * 9 * 11), [2, 9, 11], &mut Draws::none(1).stream(0));
        let expected = reference("quilting");
        assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?} {expected:?}");
    }

    #[test]
    fn among_neighbours_each_is_drawn() {
        let patches: Vec<f32> = vec![0.0, 0.1, 0.9, 0.2, 1.0];
        let quilting = Quilting { patches, side: 1, overlap: 0, neighbours: 3 };
        let mut random = Draws::none(1).stream(0);
        let mut drawn: Vec<f32> = (0..100).map(|_| quilting.near(&[0.0], &mut random)[0]).collect();
        drawn.sort_by(f32::total_cmp);
        drawn.dedup();
        assert_eq!(drawn, [0.0, 0.1, 0.2]);
    }
}
