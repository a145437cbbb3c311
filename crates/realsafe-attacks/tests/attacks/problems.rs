//! Linear models with samples that they classify as their labels say: how far those are from every boundary is known.

use std::sync::Arc;

use realsafe_core::{Judgement, Model, Samples, Verdict};
use realsafe_plan::{Norm, Success};

use crate::bench::{Linear, Setting, matrix, part, run, samples, scatter};
use crate::reference::{Image, Network, dot, largest, onto_hyperplane, plus, size};

pub(crate) struct Problem {
    weights: Vec<Image>,
    bias: Vec<f64>,
    pub(crate) model: Arc<dyn Model>,
    pub(crate) samples: Samples,
}

impl Problem {
    pub(crate) fn new(weights: &[Vec<f32>], bias: &[f32], shape: [usize; 3], images: &[Vec<f32>]) -> Self {
        let mut problem = Self {
            weights: weights.iter().map(|row| double(row)).collect(),
            bias: double(bias),
            model: Arc::new(Linear::new(weights, bias)),
            samples: Samples { shape, ..samples(images, &[]) },
        };
        let label = |image: &Vec<f32>| u32::try_from(largest(&problem.logits(&double(image)), |_| true)).unwrap();
        problem.samples.labels = images.iter().map(label).collect();
        problem
    }

    /// With its first rows only.
    pub(crate) fn first(mut self, rows: usize) -> Self {
        self.samples = part(&self.samples, &(0..rows).collect::<Vec<_>>());
        self
    }

    pub(crate) fn logits(&self, image: &[f64]) -> Vec<f64> {
        self.weights.iter().zip(&self.bias).map(|(weights, bias)| dot(weights, image) + bias).collect()
    }

    pub(crate) fn rows(&self) -> usize {
        self.samples.labels.len()
    }

    pub(crate) fn label(&self, row: usize) -> usize {
        self.samples.labels[row] as usize
    }

    pub(crate) fn image(&self, row: usize) -> Image {
        double(&part(&self.samples, &[row]).pixels)
    }

    /// The samples of a row alone.
    pub(crate) fn alone(&self, row: usize) -> Samples {
        part(&self.samples, &[row])
    }

    pub(crate) fn others(&self, row: usize) -> impl Iterator<Item = usize> {
        let label = self.label(row);
        (0..self.weights.len()).filter(move |class| *class != label)
    }

    /// The smallest change in the box of a row that makes one class as large as another.
    pub(crate) fn change(&self, row: usize, class: usize, other: usize, norm: Norm) -> Image {
        let (image, slopes) = (self.image(row), plus(&self.weights[class], -1.0, &self.weights[other]));
        let logits = self.logits(&image);
        onto_hyperplane(norm, &image, &slopes, logits[class] - logits[other])
    }

    /// The distance of a row to where another class is as large as the label.
    pub(crate) fn distance_to(&self, row: usize, class: usize, norm: Norm) -> f64 {
        if norm != Norm::L0 {
            return size(norm, &self.change(row, class, self.label(row), norm));
        }
        // Where the largest changes that the box allows add up to more than is missing.
        let (image, label) = (self.image(row), self.label(row));
        let logits = self.logits(&image);
        let slopes = plus(&self.weights[class], -1.0, &self.weights[label]);
        let rise = |(slope, pixel): (&f64, &f64)| slope.abs() * if *slope > 0.0 { 1.0 - pixel } else { *pixel };
        let mut rises: Vec<f64> = slopes.iter().zip(&image).map(rise).collect();
        rises.sort_by(|a, b| b.total_cmp(a));
        let enough = |count: &usize| rises[..*count].iter().sum::<f64>() > logits[label] - logits[class];
        (1..=rises.len()).find(enough).map_or(f64::INFINITY, |count| count as f64)
    }

    /// The distance of a row to the nearest boundary.
    pub(crate) fn distance(&self, row: usize, norm: Norm) -> f64 {
        self.others(row).map(|class| self.distance_to(row, class, norm)).fold(f64::INFINITY, f64::min)
    }

    pub(crate) fn run(&self, attack: (&str, &str), setting: &Setting) -> Vec<Judgement> {
        run(attack, &self.model, &self.samples, setting)
    }

    /// Asserts that an attack fails on every row just below its distance, and succeeds at some factor above it.
    pub(crate) fn breaks_exactly_above(&self, attack: (&str, &str), norm: Norm, success: Success, factor: f64) {
        for row in 0..self.rows() {
            let distance = self.distance(row, norm);
            for (factor, expected) in [(0.99, Verdict::Robust), (factor, Verdict::Broken)] {
                let setting = Setting::untargeted(norm, distance * factor, success);
                let judged = &run(attack, &self.model, &self.alone(row), &setting)[0];
                assert_eq!(judged.verdict, expected, "{attack:?} {norm:?} row {row} at {factor} of {distance}");
                assert!(judged.distances.in_norm(norm) <= norm.tolerance(distance * factor));
            }
        }
    }

    /// Asserts that an attack finds every row's distance, and at most so much more.
    pub(crate) fn finds_the_distance(&self, attack: (&str, &str), setting: &Setting, excess: f64) {
        for (row, judged) in self.run(attack, setting).iter().enumerate() {
            let distance = self.distance(row, setting.norm);
            let found = judged.distances.in_norm(setting.norm) / distance;
            let what = format!("{attack:?} {:?} {:?} row {row}", setting.norm, setting.goal);
            assert_eq!(judged.verdict, Verdict::Broken, "{what}");
            // Rounding to single precision may cross the boundary a little earlier.
            assert!((0.9999..1.0 + excess).contains(&found), "{what}: {found} times {distance}");
        }
    }
}

fn double(values: &[f32]) -> Image {
    values.iter().map(|value| f64::from(*value)).collect()
}

/// Images around grey.
fn images(rows: usize, pixels: usize, spread: f32, from: usize) -> Vec<Vec<f32>> {
    let row = |row: usize| (0..pixels).map(|at| 0.5 + spread * scatter(from + row * pixels + at)).collect();
    (0..rows).map(row).collect()
}

/// Weights that sum to zero, so that both signs occur around grey images.
fn balanced(pixels: usize) -> Vec<f32> {
    (0..pixels).map(|at| if at % 2 == 0 { scatter(at) } else { -scatter(at - 1) }).collect()
}

fn opposite(weights: &[f32]) -> Vec<f32> {
    weights.iter().map(|weight| -weight).collect()
}

/// Two classes on 4 × 4 pixels, whose logits are opposite.
pub(crate) fn binary() -> Problem {
    let weights = balanced(16);
    Problem::new(&[weights.clone(), opposite(&weights)], &[0.0; 2], [1, 4, 4], &images(9, 16, 0.05, 500))
}

/// Two classes that matter and a third that is far below, for losses that need three.
pub(crate) fn two_and_a_far_third() -> Problem {
    let weights = balanced(12);
    let bias = [0.0, 0.0, -10.0];
    Problem::new(&[weights.clone(), opposite(&weights), vec![0.0; 12]], &bias, [1, 1, 12], &images(5, 12, 0.05, 500))
}

/// Three classes over 12 pixels.
pub(crate) fn linear_problem() -> Problem {
    Problem::new(&matrix(3, 12, 1.0, 0), &[0.0; 3], [1, 1, 12], &images(20, 12, 0.2, 1000))
}

/// Classes over 12 pixels of which grey gives none an advantage, so that all boundaries are nearer than the box.
pub(crate) fn grey(classes: usize) -> Problem {
    around_grey(&matrix(classes, 12, 1.0, 7000), vec![0.0; classes])
}

/// Images of 3 × 4 around grey, at which every class has a logit of its advantage.
pub(crate) fn around_grey(weights: &[Vec<f32>], advantages: impl IntoIterator<Item = f32>) -> Problem {
    let bias = |(row, advantage): (&Vec<f32>, f32)| advantage - 0.5 * row.iter().sum::<f32>();
    let bias: Vec<f32> = weights.iter().zip(advantages).map(bias).collect();
    Problem::new(weights, &bias, [1, 3, 4], &images(12, 12, 0.1, 8000))
}

/// Two classes over images of 2 × 9 × 12, whose weights are constant on each quarter of each channel.
pub(crate) fn quarters(from: usize) -> Problem {
    let quarter = |at: usize| at / 108 * 4 + at % 108 / 12 * 2 / 9 * 2 + at % 12 / 6;
    let weights: Vec<f32> = (0..216).map(|at| scatter(from + quarter(at))).collect();
    let bias = -0.5 * weights.iter().sum::<f32>();
    let images = images(4, 216, 0.1, 600);
    Problem::new(&[weights.clone(), opposite(&weights)], &[bias, -bias], [2, 9, 12], &images)
}

/// One class has larger weights and is less likely, so that the likeliest other class need not have the nearest boundary.
pub(crate) fn uneven() -> Problem {
    let mut weights = matrix(4, 12, 1.0, 7000);
    weights[2].iter_mut().for_each(|weight| *weight *= 3.0);
    around_grey(&weights, [0.0, 0.0, -0.35, 0.0])
}

impl Problem {
    /// A model whose gradient is at right angles to that of a model of two classes.
    pub(crate) fn across(&self) -> Arc<dyn Model> {
        let weights = self.weights[0].chunks(2).flat_map(|pair| [pair[1] as f32, -pair[0] as f32]);
        let weights: Vec<f32> = weights.collect();
        Arc::new(Linear::new(&[weights.clone(), opposite(&weights)], &[0.0; 2]))
    }
}

/// A network of two layers whose samples lie near the corners of the box, some of them misclassified: images of several
/// channels that are not square.
pub(crate) fn crooked() -> (Arc<dyn Model>, Samples) {
    let shape = [2, 5, 7];
    let pixels: Vec<Vec<f32>> = (0..12)
        .map(|row| (0..70).map(|at| (0.5 + 0.7 * scatter(2000 + row * 70 + at)).clamp(0.0, 1.0)).collect())
        .collect();
    let labels: Vec<u32> = (0..12).map(|row| row % 4).collect();
    (Network::scattered([70, 7, 4], 0).model(), Samples { shape, ..samples(&pixels, &labels) })
}

/// Another network for the same images.
pub(crate) fn crooked_surrogate() -> Arc<dyn Model> {
    Network::scattered([70, 7, 4], 9000).model()
}
