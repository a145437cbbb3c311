//! Gaussian smoothing: the answer is the vote of many noisy copies of the image, which can be certified (randomized smoothing).
//!
//! ## What it does
//! Each of `samples` copies of an image gets Gaussian noise of deviation `sigma` of its own in every pixel and goes through all
//! that is behind: the network, and defenses that follow in the stack. With `votes = "labels"`, as the authors have it, each copy
//! votes for its most likely class, and the logits are the logarithms of the shares of votes, where a class without any has half
//! a vote. With `votes = "probabilities"` each copy gives its softmax, and the logits are the logarithms of the means. Noisy pixels
//! are not cut off at 0 and 1.
//!
//! What is certified is the limit of infinitely many copies; an answer of few copies differs from it by chance, which is why
//! verdicts are shares over many draws. Networks have to be trained with such noise to answer well under it, by `gaussian-noise` of
//! the training recipes.
//!
//! Certificates, in l2, come from the attack `certificate`, and need nothing in front of this defense, though what is
//! behind it is part of what is certified. With `votes = "probabilities"` a copy's vote is then drawn by its softmax, so that
//! votes are binomial and the certificate is that of the mean probability. A radius of zero means that nothing is proven of the label:
//! most votes are for another class, or they are too even to tell, where the authors' procedure abstains.
//!
//! An answer costs as many passes as there are copies.
//!
//! ## What an attacker sees
//! `smooth`: gradients through the logarithm of the mean softmax of the copies, with the noise of the answer, as in the attack
//! of Salman et al.; the attacker is given these logits with them, and scores are those of the votes. With
//! `votes = "probabilities"` both are the same and the gradient is exact.
//!
//! ## References
//! Cohen, Rosenfeld, Kolter: Certified Adversarial Robustness via Randomized Smoothing, ICML 2019 (arXiv:1902.02918).
//! Salman, Yang, Li, Zhang, Zhang, Razenshteyn, Bubeck: Provably Robust Deep Learning via Adversarially Trained Smoothed
//! Classifiers, NeurIPS 2019 (arXiv:1906.04584), also for the certificate of mean probabilities.

use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};
use rand::RngExt;
use realsafe_core::{
    Certificates, Certifier, Defense, DefenseEntry, Draws, Logits, Model, ProofOptions, Stop, Tape, fill_gaussian,
    inventory, mixture,
};
use realsafe_plan::{
    Component, DefenseTraits, Fallback, GradientMode, Norm, Origin, Parameter, ParameterKind, Traits, Values,
};
use statrs::distribution::{ContinuousCDF, Normal};
use statrs::function::beta::inv_beta_reg;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Votes {
    Labels,
    Probabilities,
}

#[derive(Clone, Copy)]
struct GaussianSmoothing {
    sigma: f64,
    samples: u64,
    votes: Votes,
}

impl GaussianSmoothing {
    fn from(values: &Values) -> Self {
        let votes = if values.text("votes") == "labels" { Votes::Labels } else { Votes::Probabilities };
        Self { sigma: values.number("sigma"), samples: values.count("samples"), votes }
    }

    /// A copy of images with the noise that each row draws.
    fn noisy(&self, images: &Tensor<4>, draws: &Draws) -> Tensor<4> {
        let dims = images.dims();
        let mut noise = vec![0.0; dims.iter().product()];
        for (row, values) in noise.chunks_exact_mut(dims[1..].iter().product()).enumerate() {
            fill_gaussian(&mut draws.stream(row), values);
        }
        let noise = Tensor::from_data(TensorData::new(noise, dims), &images.device());
        images.clone() + noise * self.sigma
    }
}

impl Defense for GaussianSmoothing {
    /// A single noisy copy.
    fn forward(&self, images: Tensor<4>, draws: &Draws) -> Result<Tensor<4>, Stop> {
        Ok(self.noisy(&images, draws))
    }

    fn around(&self, behind: &Arc<dyn Model>, _: GradientMode) -> Option<Arc<dyn Model>> {
        Some(Arc::new(Smoothed { smoothing: *self, behind: Arc::clone(behind) }))
    }
}

/// A model that answers by the votes of noisy copies.
struct Smoothed {
    smoothing: GaussianSmoothing,
    behind: Arc<dyn Model>,
}

impl Smoothed {
    /// The copy of a number, and what the model behind draws for it.
    fn copy(&self, images: &Tensor<4>, draws: &Draws, number: u64) -> (Tensor<4>, Draws) {
        let draws = draws.of_part(number);
        (self.smoothing.noisy(images, &draws.of_part(0)), draws.of_part(1))
    }

    /// The logits `[n, classes]` of a copy.
    fn ask(&self, images: &Tensor<4>, draws: &Draws, number: u64) -> Result<Tensor<2>, Stop> {
        let (copy, draws) = self.copy(images, draws, number);
        self.behind.logits(copy, &draws)
    }

    /// What each row's copy votes for; none where it gives NaN.
    fn votes(&self, images: &Tensor<4>, draws: &Draws, number: u64) -> Result<Vec<Option<u32>>, Stop> {
        let logits = Logits::read(self.ask(images, draws, number)?)?;
        let predictions = logits.predictions();
        if self.smoothing.votes == Votes::Labels {
            return Ok(predictions);
        }
        let ballots = draws.of_part(number).of_part(2);
        let draw = |(row, (logits, prediction)): (usize, (&[f32], Option<u32>))| {
            prediction.map(|likeliest| drawn(logits, likeliest, ballots.stream(row).random()))
        };
        Ok(logits.rows().zip(predictions).enumerate().map(draw).collect())
    }
}

/// The class in whose part of the unit interval a number falls, when each has its softmax.
fn drawn(logits: &[f32], likeliest: u32, number: f64) -> u32 {
    let largest = f64::from(logits[likeliest as usize]);
    let weights = || logits.iter().map(|logit| (f64::from(*logit) - largest).exp());
    let mut left = number * weights().sum::<f64>();
    for (class, weight) in (0..).zip(weights()) {
        left -= weight;
        if left < 0.0 {
            return class;
        }
    }
    likeliest
}

impl Model for Smoothed {
    fn passes(&self) -> u64 {
        self.smoothing.samples * self.behind.passes()
    }

    fn logits(&self, images: Tensor<4>, draws: &Draws) -> Result<Tensor<2>, Stop> {
        let copies = 0..self.smoothing.samples;
        let answers: Vec<Tensor<2>> =
            copies.map(|number| self.ask(&images, draws, number)).collect::<Result<_, _>>()?;
        if self.smoothing.votes == Votes::Probabilities {
            return Ok(mixture(&answers));
        }
        let [rows, classes] = answers[0].dims();
        let mut shares = vec![0.0_f64; rows * classes];
        for answer in answers {
            for (row, vote) in Logits::read(answer)?.predictions().into_iter().enumerate() {
                match vote {
                    Some(class) => shares[row * classes + class as usize] += 1.0 / self.smoothing.samples as f64,
                    None => shares[row * classes] = f64::NAN,
                }
            }
        }
        let least = 0.5 / self.smoothing.samples as f64;
        let logarithm = |share: f64| if share < least { least.ln() as f32 } else { share.ln() as f32 };
        let logits: Vec<f32> = shares.into_iter().map(logarithm).collect();
        Ok(Tensor::from_data(TensorData::new(logits, [rows, classes]), &images.device()))
    }

    fn forward(&self, images: Tensor<4>, draws: &Draws) -> Result<Tape, Stop> {
        let ask = |number| {
            let (copy, draws) = self.copy(&images, draws, number);
            self.behind.forward(copy, &draws)
        };
        Ok(Tape::mixture((0..self.smoothing.samples).map(ask).collect::<Result<_, _>>()?))
    }

    fn certifier(&self, norm: Norm) -> Option<&dyn Certifier> {
        (norm == Norm::L2).then_some(self)
    }

    fn with_residual_decay(&self, decay: f64) -> Option<Arc<dyn Model>> {
        let behind = self.behind.with_residual_decay(decay)?;
        Some(Arc::new(Self { smoothing: self.smoothing, behind }))
    }
}

impl Certifier for Smoothed {
    fn certify(
        &self,
        images: Tensor<4>,
        labels: &[u32],
        options: &ProofOptions<'_>,
        draws: &Draws,
    ) -> Result<Certificates, Stop> {
        let ProofOptions { selection, samples, alpha, go_on, .. } = *options;
        // Per row, the votes of the copies of these numbers by class.
        let count = |numbers: std::ops::Range<u64>| -> Result<Vec<Vec<u64>>, Stop> {
            let mut counts = vec![Vec::new(); labels.len()];
            for number in numbers {
                go_on()?;
                for (counts, vote) in counts.iter_mut().zip(self.votes(&images, draws, number)?) {
                    let Some(class) = vote.map(|class| class as usize) else { continue };
                    counts.resize(counts.len().max(class + 1), 0);
                    counts[class] += 1;
                }
            }
            Ok(counts)
        };
        let (selected, evidence) = (count(0..selection)?, count(selection..selection + samples)?);
        let radius = |((selected, evidence), label): ((&Vec<u64>, &Vec<u64>), &u32)| {
            let most = selected.iter().copied().max().unwrap_or(0);
            let class = selected.iter().position(|votes| *votes == most);
            let votes = class.filter(|class| *class == *label as usize).and_then(|class| evidence.get(class));
            votes.map_or(0.0, |votes| self.smoothing.sigma * quantile(lower_bound(*votes, samples, alpha)).max(0.0))
        };
        let radii = selected.iter().zip(&evidence).zip(labels).map(radius).collect();
        Ok(Certificates { radii, passes: (selection + samples) * self.behind.passes() })
    }
}

/// The lower end of the one-sided interval of Clopper and Pearson for a probability of which `votes` of `samples` draws are
/// seen: it is below with a probability of at least `1 - alpha`.
fn lower_bound(votes: u64, samples: u64, alpha: f64) -> f64 {
    if votes == 0 { 0.0 } else { inv_beta_reg(votes as f64, (samples - votes + 1) as f64, alpha) }
}

/// The quantile of the standard normal distribution.
fn quantile(probability: f64) -> f64 {
    Normal::standard().inverse_cdf(probability)
}

inventory::submit! {
    DefenseEntry {
        component: Component {
            id: "gaussian-smoothing",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("gaussian_smoothing.rs"),
            parameters: &[
                Parameter {
                    name: "sigma",
                    kind: ParameterKind::Number { minimum: 1e-6, maximum: 10.0 },
                    unit: "pixel range 0 to 1",
                    fallback: Fallback::Value("0.25"),
                    documentation: "The deviation of the noise; more certifies larger radii of worse answers.",
                },
                Parameter {
                    name: "samples",
                    kind: ParameterKind::Count { minimum: 1, maximum: 100_000 },
                    unit: "noisy copies",
                    fallback: Fallback::Value("16"),
                    documentation: "How many copies vote in an answer; the certificate has a number of its own.",
                },
                Parameter {
                    name: "votes",
                    kind: ParameterKind::Choice(&["labels", "probabilities"]),
                    unit: "",
                    fallback: Fallback::Value("labels"),
                    documentation: "What copies vote with: their most likely class, or the softmax of their logits.",
                },
            ],
            example: "sigma = 0.5\nsamples = 4",
            traits: Traits::Defense(DefenseTraits {
                gradients: &[GradientMode::Smooth, GradientMode::Blocked],
                randomised: true,
                ..DefenseTraits::PLAIN
            }),
        },
        build: &|values, _| Ok(Box::new(GaussianSmoothing::from(values))),
    }
}

#[cfg(test)]
mod tests;
