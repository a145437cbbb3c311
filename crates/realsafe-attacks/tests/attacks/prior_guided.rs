//! Attacks that estimate gradients from scores: RGF, P-RGF and bandits.

use std::cell::Cell;
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use realsafe_core::random::{Purpose, StreamKey, stream};
use realsafe_core::{Judgement, Model, Samples, Verdict, fill_gaussian};
use realsafe_plan::{Budget, Goal, Norm, Success};

use crate::bench::{Linear, Setting, TwoLayers, linear_problem, logit, run, samples, scatter};

/// Two classes on 4 × 4 pixels, whose logits are opposite.
pub(crate) fn binary() -> (Vec<f32>, Arc<dyn Model>, Samples) {
    let weights: Vec<f32> = (0..16).map(|at| if at % 2 == 0 { scatter(at) } else { -scatter(at - 1) }).collect();
    let opposite: Vec<f32> = weights.iter().map(|weight| -weight).collect();
    let pixels: Vec<Vec<f32>> =
        (0..6).map(|row| (0..16).map(|at| 0.5 + 0.05 * scatter(500 + row * 16 + at)).collect()).collect();
    let labels: Vec<u32> = pixels.iter().map(|image| u32::from(logit(&weights, image) < 0.0)).collect();
    let samples = Samples { shape: [1, 4, 4], ..samples(&pixels, &labels) };
    (weights.clone(), Arc::new(Linear::new(&[weights, opposite], &[0.0; 2])), samples)
}

pub(crate) fn distance(weights: &[f32], image: &[f32], norm: Norm) -> f64 {
    let dual = match norm {
        Norm::Linf => weights.iter().map(|weight| f64::from(weight.abs())).sum(),
        _ => weights.iter().map(|weight| f64::from(*weight).powi(2)).sum::<f64>().sqrt(),
    };
    logit(weights, image).abs() / dual
}

#[test]
fn a_linear_model_breaks_just_above_its_margin_and_not_below() {
    let (weights, model, samples) = binary();
    for (attack, norms) in [
        (("rgf", "queries = 3000\nsigma = 0.01"), &Norm::DENSE[..]),
        (("p-rgf", "queries = 1000\nsigma = 0.01"), &Norm::DENSE),
        (("p-rgf", "queries = 1000\nsigma = 0.01\nestimator = \"fixed-lambda\""), &Norm::DENSE),
        (("p-rgf", "queries = 1000\nsigma = 0.01\nestimator = \"fixed-lambda\"\nlambda = 1"), &Norm::DENSE),
        (("p-rgf", "queries = 1000\nsigma = 0.01\nestimator = \"averaging\""), &Norm::DENSE),
        (("bandits", "queries = 4000\ntile-size = 4\nprior-learning-rate = 5"), &[Norm::Linf]),
        (("bandits", "queries = 4000\ntile-size = 4"), &[Norm::L2]),
    ] {
        for &norm in norms {
            for (image, label) in samples.pixels.chunks(16).zip(&samples.labels) {
                let distance = distance(&weights, image, norm);
                let alone = Samples { pixels: image.to_vec(), labels: vec![*label], ..samples.clone() };
                for (factor, expected) in [(0.99, Verdict::Robust), (1.05, Verdict::Broken)] {
                    let setting = Setting::untargeted(norm, distance * factor, Success::AnyIterate);
                    let judged = &run(attack, &model, &alone, &setting)[0];
                    assert_eq!(judged.verdict, expected, "{attack:?} {norm:?} at {factor} of {distance}");
                }
            }
        }
    }
}

#[test]
fn targets_are_reached() {
    let (_, model, samples) = linear_problem();
    for (id, more) in [("rgf", ""), ("p-rgf", ""), ("bandits", "tile-size = 12")] {
        let setting = Setting { goal: Goal::Targeted, ..Setting::untargeted(Norm::Linf, 0.5, Success::AnyIterate) };
        for judged in run((id, &format!("queries = 3000\nloss = \"margin\"\n{more}")), &model, &samples, &setting) {
            assert_eq!(judged.verdict, Verdict::Broken, "{id}");
        }
    }
}

fn spent(judged: &[Judgement]) -> Vec<u64> {
    judged.iter().map(|judged| judged.spent.queries).collect()
}

#[test]
fn every_query_is_spent_and_none_beyond() {
    let (_, model, samples) = linear_problem();
    let setting = Setting::untargeted(Norm::Linf, 1e-6, Success::AnyIterate);
    for queries in [1, 2, 3, 60, 113, 200] {
        for id in ["rgf", "p-rgf"] {
            let judged = run((id, &format!("queries = {queries}\nsigma = 0.1")), &model, &samples, &setting);
            // One query alone cannot pay for a measurement and for where it leads.
            assert!(spent(&judged).iter().all(|spent| (queries - 1..=queries).contains(spent)), "{id} {queries}");
        }
        // The iterates of bandits are not looked at where nothing near them is adversarial.
        let judged = run(("bandits", &format!("queries = {queries}")), &model, &samples, &setting);
        assert!(spent(&judged).iter().all(|spent| *spent == queries / 2 * 2), "bandits {queries}");
    }
}

#[test]
fn a_good_prior_costs_two_queries_per_step_and_a_useless_one_is_not_followed() {
    let (weights, model, samples) = binary();
    let setting = Setting::untargeted(Norm::L2, 1e-6, Success::Last);
    // The surrogate is the victim: α is 1, so nothing is drawn but for the length of the gradient.
    let record = |surrogate: &Arc<dyn Model>| {
        let budget = Budget { queries: Some(400), ..Budget::default() };
        let setting = Setting { surrogates: vec![Arc::clone(surrogate)], budget, ..setting.clone() };
        let judged = run(("p-rgf", "queries = 100\nsigma = 0.1\ndirections = 5"), &model, &samples, &setting);
        judged.into_iter().map(|judged| judged.surrogates.backwards).collect::<Vec<_>>()
    };
    // 1 + 10 + 2, then 2 each, and 10 more at iterations 3, 10, 20 and 30: 100 queries last for 29 iterations.
    let good = record(&model);
    assert!(good.iter().all(|iterations| (27..=32).contains(iterations)), "{good:?}");
    let across: Vec<f32> = weights.chunks(2).flat_map(|pair| [pair[1], -pair[0]]).collect();
    let opposite: Vec<f32> = across.iter().map(|weight| -weight).collect();
    let useless = record(&(Arc::new(Linear::new(&[across, opposite], &[0.0; 2])) as Arc<dyn Model>));
    assert!(useless.iter().all(|iterations| *iterations <= 12), "{useless:?}");
}

#[test]
fn a_surrogate_without_gradient_leaves_plain_rgf() {
    let (_, model, samples) = linear_problem();
    let flat: Arc<dyn Model> = Arc::new(Linear::new(&vec![vec![0.0; 12]; 3], &[0.0; 3]));
    let setting = Setting::untargeted(Norm::L2, 0.05, Success::Last);
    let guided = Setting { surrogates: vec![flat], ..setting.clone() };
    let parameters = "queries = 120\nsigma = 0.1\ndirections = 7";
    let pixels = |judged: Vec<Judgement>| judged.into_iter().map(|judged| judged.pixels).collect::<Vec<_>>();
    let guided_parameters = format!("{parameters}\nestimator = \"fixed-lambda\"");
    assert_eq!(
        pixels(run(("p-rgf", &guided_parameters), &model, &samples, &guided)),
        pixels(run(("rgf", parameters), &model, &samples, &setting))
    );
}

#[test]
fn where_differences_vanish_sigma_doubles_until_they_do_not() {
    // At a distance of 1e-9 single precision shows no difference, at some thousand times that it does.
    let (_, model, samples) = linear_problem();
    let setting = Setting::untargeted(Norm::Linf, 0.5, Success::AnyIterate);
    let judged = run(("rgf", "queries = 4000\nsigma = 1e-9\ndirections = 20"), &model, &samples, &setting);
    assert!(judged.iter().all(|judged| judged.verdict == Verdict::Broken));
}

pub(crate) const SIDE: usize = 4;
pub(crate) const PIXELS: usize = 2 * SIDE * SIDE;
const HIDDEN: usize = 5;
pub(crate) const CLASSES: usize = 3;
pub(crate) const LABEL: usize = 1;
pub(crate) const SEED: u64 = 11;
pub(crate) const SAMPLE: u64 = 0;
pub(crate) const EPS: f64 = 0.3;

pub(crate) type Image = [f64; PIXELS];

/// A network of two layers in double precision.
#[derive(Clone)]
pub(crate) struct Reference {
    first: Vec<Vec<f32>>,
    second: Vec<Vec<f32>>,
}

impl Reference {
    pub(crate) fn new(from: usize) -> Self {
        let layer = |rows: usize, columns: usize, scale: f32, from: usize| -> Vec<Vec<f32>> {
            (0..rows)
                .map(|row| (0..columns).map(|column| scale * scatter(from + row * columns + column)).collect())
                .collect()
        };
        Self { first: layer(HIDDEN, PIXELS, 0.7, from), second: layer(CLASSES, HIDDEN, 1.5, from + 1000) }
    }

    pub(crate) fn model(&self) -> Arc<dyn Model> {
        Arc::new(TwoLayers {
            first: Linear::new(&self.first, &[0.0; HIDDEN]),
            second: Linear::new(&self.second, &[0.0; CLASSES]),
        })
    }

    fn hidden(&self, image: &Image) -> Vec<f64> {
        let sum = |row: &Vec<f32>| row.iter().zip(image).map(|(weight, pixel)| f64::from(*weight) * pixel).sum::<f64>();
        self.first.iter().map(|row| sum(row).tanh()).collect()
    }

    pub(crate) fn logits(&self, image: &Image) -> Vec<f64> {
        let hidden = self.hidden(image);
        self.second
            .iter()
            .map(|row| row.iter().zip(&hidden).map(|(weight, at)| f64::from(*weight) * at).sum())
            .collect()
    }

    /// The cross-entropy of the label.
    pub(crate) fn loss(&self, image: &Image) -> f64 {
        let logits = self.logits(image);
        logits.iter().map(|logit| logit.exp()).sum::<f64>().ln() - logits[LABEL]
    }

    fn gradient(&self, image: &Image) -> Image {
        let (hidden, logits) = (self.hidden(image), self.logits(image));
        let total: f64 = logits.iter().map(|logit| logit.exp()).sum();
        let mut gradient = [0.0; PIXELS];
        for (at, hidden) in hidden.iter().enumerate() {
            let back: f64 = (0..CLASSES)
                .map(|class| {
                    f64::from(self.second[class][at])
                        * (logits[class].exp() / total - f64::from(u8::from(class == LABEL)))
                })
                .sum();
            for (pixel, gradient) in gradient.iter_mut().enumerate() {
                *gradient += f64::from(self.first[at][pixel]) * back * (1.0 - hidden * hidden);
            }
        }
        gradient
    }
}

pub(crate) fn dot(a: &Image, b: &Image) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn unit(vector: Image) -> Image {
    let length = dot(&vector, &vector).sqrt();
    vector.map(|value| value / length)
}

pub(crate) fn plus(a: &Image, factor: f64, b: &Image) -> Image {
    std::array::from_fn(|at| a[at] + factor * b[at])
}

pub(crate) fn clean() -> Image {
    std::array::from_fn(|at| f64::from(0.5 + 0.45 * scatter(300 + at)))
}

pub(crate) fn moved(norm: Norm, image: &Image, direction: &Image, by: f64, eps: f64) -> Image {
    let steepest = if norm == Norm::Linf { direction.map(f64::signum) } else { unit(*direction) };
    within(norm, &plus(image, by, &steepest), eps)
}

/// The image, brought back into the ball and the box.
pub(crate) fn within(norm: Norm, image: &Image, eps: f64) -> Image {
    let clean = clean();
    let change = plus(image, -1.0, &clean);
    let change = if norm == Norm::Linf {
        change.map(|change| change.clamp(-eps, eps))
    } else {
        let length = dot(&change, &change).sqrt();
        change.map(|value| value * (eps / length).min(1.0))
    };
    plus(&clean, 1.0, &change).map(|pixel| pixel.clamp(0.0, 1.0))
}

pub(crate) fn random(step: u64) -> ChaCha8Rng {
    stream(StreamKey { seed: SEED, purpose: Purpose::Step, sample: SAMPLE, restart: 0, step })
}

pub(crate) fn gaussian<const N: usize>(random: &mut ChaCha8Rng) -> [f64; N] {
    let mut values = [0.0; N];
    fill_gaussian(random, &mut values);
    values.map(f64::from)
}

/// A value per 2 × 2 pixels of each channel; all that a grid of half the side can hold.
pub(crate) fn coarse(cells: &[f64; PIXELS / 4]) -> Image {
    std::array::from_fn(|at| {
        let (channel, line, column) = (at / (SIDE * SIDE), at / SIDE % SIDE, at % SIDE);
        cells[channel * SIDE * SIDE / 4 + line / 2 * (SIDE / 2) + column / 2]
    })
}

/// The prior of a surrogate that is no copy of the victim, at q directions per iteration.
struct Guided<'a> {
    victim: &'a Reference,
    surrogate: Option<&'a Reference>,
    estimator: &'a str,
    directions: usize,
    sigma: f64,
}

impl Guided<'_> {
    /// The iterates, and how many queries were made until each.
    fn iterates(&self, norm: Norm, eps: f64, by: f64, steps: u64) -> Vec<(Image, u64)> {
        let q = self.directions as f64;
        let queries = Cell::new(1);
        let dimensions = PIXELS as f64;
        let sigma = self.sigma * dimensions.sqrt();
        let mut image = clean();
        let mut length = 0.0;
        let mut iterates = Vec::new();
        for step in 0..steps {
            let mut random = random(step);
            let loss = self.victim.loss(&image);
            let slope = |direction: &Image| {
                queries.set(queries.get() + 1);
                (self.victim.loss(&plus(&image, sigma, direction)) - loss) / sigma
            };
            if self.surrogate.is_some() && self.estimator != "fixed-lambda" && (step == 3 || step % 10 == 0) {
                let squares = (0..10).map(|_| slope(&unit(gaussian(&mut random))).powi(2)).sum::<f64>();
                length = (dimensions * squares / 10.0).sqrt();
            }
            let mut prior = self.surrogate.map(|surrogate| unit(surrogate.gradient(&image)));
            let mut rise = 0.0;
            let mut lambda = 0.0;
            if let Some(prior) = &mut prior {
                if self.estimator == "fixed-lambda" {
                    lambda = 0.3;
                } else {
                    rise = slope(prior);
                    if rise < 0.0 {
                        *prior = prior.map(|value| -value);
                    }
                    rise = rise.abs();
                    let square = (rise / length).min(1.0).powi(2);
                    let spread = dimensions + 2.0 * q - 2.0;
                    lambda = if self.estimator == "averaging" {
                        f64::from(square >= 2.0 * q / (dimensions + q - 1.0))
                    } else if square <= 1.0 / spread {
                        0.0
                    } else if square >= (2.0 * q - 1.0) / spread {
                        1.0
                    } else {
                        (1.0 - square) * (1.0 - square * spread)
                            / (square * square * dimensions * spread - 2.0 * square * dimensions * q + 1.0)
                    };
                }
            }
            let estimate = if lambda < 1.0 {
                let mut sum = [0.0; PIXELS];
                for _ in 0..self.directions {
                    let mut direction = unit(gaussian(&mut random));
                    if let Some(prior) = prior.as_ref().filter(|_| lambda > 0.0) {
                        let across = unit(plus(&direction, -dot(&direction, prior), prior));
                        direction = plus(&across.map(|value| value * (1.0 - lambda).sqrt()), lambda.sqrt(), prior);
                    }
                    sum = plus(&sum, slope(&direction), &direction);
                }
                match &prior {
                    Some(prior) if self.estimator == "averaging" => {
                        let sum = unit(sum);
                        let weight = slope(&sum).max(0.0);
                        plus(&sum.map(|value| value * weight), rise, prior)
                    }
                    _ => sum,
                }
            } else {
                prior.expect("λ of a prior")
            };
            image = moved(norm, &image, &estimate, by * eps, eps);
            queries.set(queries.get() + 1);
            iterates.push((image, queries.get()));
        }
        iterates
    }
}

/// Compares the image that an attack returns when its queries are used up with every iterate in turn.
pub(crate) fn check(
    (attack, parameters): (&str, &str),
    victim: &Reference,
    surrogate: Option<&Reference>,
    norm: Norm,
    expected: &[(Image, u64)],
) {
    #[expect(clippy::cast_possible_truncation, reason = "single precision is what is tested")]
    let pixels = clean().map(|pixel| pixel as f32).to_vec();
    let samples = Samples { shape: [2, SIDE, SIDE], ..samples(&[pixels], &[u32::try_from(LABEL).unwrap()]) };
    let surrogates: Vec<_> = surrogate.map(Reference::model).into_iter().collect();
    let setting = Setting { seed: SEED, surrogates, ..Setting::untargeted(norm, EPS, Success::Last) };
    for (step, (expected, queries)) in expected.iter().enumerate() {
        let parameters = format!("queries = {queries}\n{parameters}");
        let judged = &run((attack, &parameters), &victim.model(), &samples, &setting)[0];
        assert_eq!(judged.spent.queries, *queries);
        for (found, expected) in judged.pixels.iter().zip(expected) {
            let difference = (f64::from(*found) - expected).abs();
            assert!(difference < 1e-5, "{attack} {norm:?} {parameters}, step {step}: {difference}");
        }
    }
}

#[test]
fn rgf_and_p_rgf_follow_their_definitions_step_by_step() {
    let victim = Reference::new(0);
    // The victim's own weights and others: the prior is neither perfect nor useless.
    let mut surrogate = victim.clone();
    for (row, others) in surrogate.first.iter_mut().zip(&Reference::new(5000).first) {
        row.iter_mut().zip(others).for_each(|(weight, other)| *weight += 2.5 * other);
    }
    let (directions, sigma) = (9, 0.05);
    let parameters = "directions = 9\nsigma = 0.05\nstep-size-share = 0.15";
    for norm in Norm::DENSE {
        let reference = Guided { victim: &victim, surrogate: None, estimator: "", directions, sigma };
        check(("rgf", parameters), &victim, None, norm, &reference.iterates(norm, EPS, 0.15, 12));
        for estimator in ["fixed-lambda", "optimal-lambda", "averaging"] {
            let parameters = format!("{parameters}\nestimator = \"{estimator}\"\nlambda = 0.3");
            let reference = Guided { victim: &victim, surrogate: Some(&surrogate), estimator, directions, sigma };
            let expected = reference.iterates(norm, EPS, 0.15, 12);
            check(("p-rgf", &parameters), &victim, Some(&surrogate), norm, &expected);
        }
    }
}

/// The iterates of bandits on a grid of half the side, with guesses between -1 and 1 for linf, and the queries until each.
fn bandits(victim: &Reference, norm: Norm, [exploration, fd_eta, learning_rate]: [f64; 3]) -> Vec<(Image, u64)> {
    let mut guess = [0.0_f64; PIXELS / 4];
    let mut image = clean();
    let mut queries = 0;
    let mut iterates = Vec::new();
    for step in 0..12 {
        let noise = gaussian::<{ PIXELS / 4 }>(&mut random(step));
        let noise = noise.map(|noise| exploration * noise / ((PIXELS / 4) as f64).sqrt());
        let point = |sign: f64| {
            let cells = std::array::from_fn(|cell| guess[cell] + sign * noise[cell]);
            plus(&image, fd_eta, &unit(coarse(&cells)))
        };
        let points = [point(1.0), point(-1.0)];
        let slope = (victim.loss(&points[0]) - victim.loss(&points[1])) / (fd_eta * exploration);
        guess = std::array::from_fn(|cell| {
            let by = learning_rate * slope * noise[cell];
            if norm == Norm::Linf {
                // The two sides of a coin, weighted by what each of them gains.
                let (heads, tails) = (0.5 * (1.0 + guess[cell]) * by.exp(), 0.5 * (1.0 - guess[cell]) * (-by).exp());
                2.0 * heads / (heads + tails) - 1.0
            } else {
                guess[cell] + by
            }
        });
        image = moved(norm, &image, &coarse(&guess), 0.15 * EPS, EPS);
        let wrong = |image: &Image| (0..CLASSES).any(|class| victim.logits(image)[class] > victim.logits(image)[LABEL]);
        queries += if points.iter().any(wrong) { 3 } else { 2 };
        iterates.push((image, queries));
    }
    iterates
}

#[test]
fn bandits_follow_their_definition_step_by_step() {
    let victim = Reference::new(0);
    for (norm, [exploration, fd_eta, learning_rate]) in [(Norm::Linf, [1.0, 0.3, 0.5]), (Norm::L2, [0.2, 0.3, 0.1])] {
        let parameters = format!(
            "tile-size = 2\nexploration = {exploration}\nfd-eta = {fd_eta}\nprior-learning-rate = {learning_rate}\n\
             step-size-share = 0.15"
        );
        check(
            ("bandits", &parameters),
            &victim,
            None,
            norm,
            &bandits(&victim, norm, [exploration, fd_eta, learning_rate]),
        );
    }
}
