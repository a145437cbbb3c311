//! RGF, P-RGF and bandits: every iterate against their definitions.

use std::cell::{Cell, RefCell};

use rand_chacha::ChaCha8Rng;
use realsafe_core::random::Purpose;
use realsafe_plan::{Goal, Norm, Success};

use crate::bench::Setting;
use crate::reference::{Image, Network, coarse, cross_entropy, dot, gaussian, greyish, plus, random, scaled, unit};
use crate::sample::Sample;

pub(crate) const EPS: f64 = 0.3;

/// Untargeted attacks look at a label, targeted ones at the class after it.
pub(crate) const GOALS: [Goal; 2] = [Goal::Untargeted, Goal::Targeted];

pub(crate) fn sample(shape: [usize; 3], goal: Goal) -> Sample {
    let pixels = shape.iter().product();
    Sample::new(Network::scattered([pixels, 5, 3], 25_000), shape, greyish(pixels, 0.45, 300), goal)
}

/// What is raised at an image.
pub(crate) fn rise(sample: &Sample, image: &[f64]) -> f64 {
    sample.rise(cross_entropy, image).0
}

/// RGF, or P-RGF with the prior of a surrogate, at some directions per iteration.
struct Guided<'a> {
    sample: &'a Sample,
    surrogate: Option<&'a Network>,
    estimator: &'a str,
    fixed: f64,
    directions: usize,
    /// The lines and columns of the coarse grid, where directions are drawn there.
    grid: Option<[usize; 2]>,
    /// The share of the prior at each iteration.
    lambdas: RefCell<Vec<f64>>,
}

impl Guided<'_> {
    const SIGMA: f64 = 0.05;

    fn pixels(&self) -> usize {
        self.sample.clean.len()
    }

    /// The dimension of the space of directions.
    fn dimensions(&self) -> f64 {
        self.grid.map_or(self.pixels(), |[lines, columns]| self.sample.shape[0] * lines * columns) as f64
    }

    fn direction(&self, random: &mut ChaCha8Rng) -> Image {
        let drawn = gaussian(random, self.dimensions() as usize);
        unit(&self.grid.map_or(drawn.clone(), |grid| coarse(self.sample.shape, grid, &drawn)))
    }

    /// The share of a unit vector's energy that directions can have.
    fn energy(&self, prior: &[f64]) -> f64 {
        let grid = self.grid.expect("directions are constant on cells");
        let cells = self.dimensions() as usize;
        let part = |cell: usize| {
            let only: Vec<f64> = (0..cells).map(|at| f64::from(u8::from(at == cell))).collect();
            dot(prior, &unit(&coarse(self.sample.shape, grid, &only))).powi(2)
        };
        (0..cells).map(part).sum()
    }

    fn lambda(&self, square: f64, prior: &[f64]) -> f64 {
        let (d, q) = (self.dimensions(), self.directions as f64);
        match (self.estimator, self.grid) {
            ("fixed-lambda", _) => self.fixed,
            ("averaging", None) => f64::from(square >= 2.0 * q / (d + q - 1.0)),
            ("averaging", Some(_)) => f64::from(square >= 2.0 * self.energy(prior) * q / (d + q - 1.0)),
            (_, None) => {
                let spread = d + 2.0 * q - 2.0;
                if square <= 1.0 / spread {
                    0.0
                } else if square >= (2.0 * q - 1.0) / spread {
                    1.0
                } else {
                    (1.0 - square) * (1.0 - square * spread)
                        / (square * square * d * spread - 2.0 * square * d * q + 1.0)
                }
            }
            (_, Some(_)) => {
                let (share, spread) = (self.energy(prior), d + 2.0 * q - 2.0);
                if square <= share / spread {
                    0.0
                } else if square >= share * (2.0 * q - 1.0) / d {
                    1.0
                } else {
                    share * (share - square * spread)
                        / (share * share + square * square * d * d - 2.0 * share * square * (q + d * q - 1.0))
                }
            }
        }
    }

    /// The iterates, and how many queries were made until each.
    fn iterates(&self, norm: Norm, steps: u64) -> Vec<(Image, u64)> {
        let pixels = self.pixels() as f64;
        let sigma = Self::SIGMA * pixels.sqrt();
        let queries = Cell::new(1);
        let mut image = self.sample.clean.clone();
        let mut length = 0.0;
        let mut iterates = Vec::new();
        for step in 0..steps {
            let mut random = random(Purpose::Step, step);
            let here = rise(self.sample, &image);
            let slope = |direction: &Image| {
                queries.set(queries.get() + 1);
                (rise(self.sample, &plus(&image, sigma, direction)) - here) / sigma
            };
            let measures = self.surrogate.is_some() && self.estimator != "fixed-lambda";
            if measures && (step == 3 || step % 10 == 0) {
                let anywhere = |_| slope(&unit(&gaussian(&mut random, self.pixels()))).powi(2);
                length = (pixels * (0..10).map(anywhere).sum::<f64>() / 10.0).sqrt();
            }
            let aim = self.sample.aim();
            let mut prior = self.surrogate.map(|surrogate| unit(&surrogate.rise(cross_entropy, aim, &image).1));
            let (mut along, mut lambda) = (0.0, 0.0);
            if let Some(prior) = &mut prior {
                if measures {
                    along = slope(prior);
                    *prior = scaled(prior, along.signum());
                    along = along.abs();
                }
                lambda = self.lambda((along / length).min(1.0).powi(2), prior);
                self.lambdas.borrow_mut().push(lambda);
            }
            let estimate = match &prior {
                Some(prior) if lambda == 1.0 && measures => prior.clone(),
                // All directions are the same.
                Some(prior) if lambda == 1.0 => scaled(prior, slope(prior)),
                prior => {
                    let draw = |_| {
                        let drawn = self.direction(&mut random);
                        let Some(prior) = prior.as_ref().filter(|_| lambda > 0.0) else { return drawn };
                        let across = unit(&plus(&drawn, -dot(&drawn, prior), prior));
                        plus(&scaled(&across, (1.0 - lambda).sqrt()), lambda.sqrt(), prior)
                    };
                    let drawn: Vec<Image> = (0..self.directions).map(draw).collect();
                    let sum = drawn.iter().fold(vec![0.0; self.pixels()], |sum, by| plus(&sum, slope(by), by));
                    match prior {
                        Some(prior) if self.estimator == "averaging" => {
                            let sum = unit(&sum);
                            plus(&scaled(&sum, slope(&sum).max(0.0)), along, prior)
                        }
                        _ => sum,
                    }
                }
            };
            image = self.sample.advanced(norm, &image, &estimate, 0.15 * EPS, EPS);
            queries.set(queries.get() + 1);
            iterates.push((image.clone(), queries.get()));
        }
        iterates
    }

    fn follows(&self, norm: Norm) {
        let surrogates: Vec<_> = self.surrogate.map(Network::model).into_iter().collect();
        let setting = Setting { surrogates, ..self.sample.setting(norm, EPS, Success::Last) };
        let id = if self.surrogate.is_some() { "p-rgf" } else { "rgf" };
        let estimator = match (self.surrogate, self.estimator) {
            (None, _) => String::new(),
            (_, estimator) => format!("estimator = \"{estimator}\"\nlambda = {}", self.fixed),
        };
        let parameters = format!(
            "directions = {}\nsigma = {}\nstep-size-share = 0.15\ndata-prior = {}\n{estimator}",
            self.directions,
            Self::SIGMA,
            self.grid.is_some()
        );
        self.sample.spends((id, &parameters), &setting, &self.iterates(norm, 8));
    }
}

/// Images, their coarse grid where directions are drawn there, and how many are drawn.
const SPACES: [([usize; 3], Option<[usize; 2]>, usize); 2] = [([2, 4, 6], None, 9), ([2, 9, 12], Some([2, 2]), 4)];

#[test]
fn rgf_follows_its_definition_step_by_step() {
    for (shape, grid, directions) in SPACES {
        for (norm, goal) in Norm::DENSE.into_iter().flat_map(|norm| GOALS.map(|goal| (norm, goal))) {
            let sample = sample(shape, goal);
            let lambdas = RefCell::default();
            Guided { sample: &sample, surrogate: None, estimator: "", fixed: 0.0, directions, grid, lambdas }
                .follows(norm);
        }
    }
}

/// A mean of the victim's own weights and others, whose prior is the worse the larger the share of the others.
fn surrogate(victim: &Network, others: f32) -> Network {
    let mut surrogate = victim.clone();
    let more = Network::scattered([victim.first[0].len(), 5, 3], 5000).first;
    for (row, more) in surrogate.first.iter_mut().zip(more) {
        row.iter_mut().zip(more).for_each(|(weight, more)| *weight = (*weight + others * more) / (1.0 + others));
    }
    surrogate
}

#[test]
fn p_rgf_follows_its_definition_step_by_step() {
    for (shape, grid, directions) in SPACES {
        let (mut optimal, mut averaged) = (Vec::new(), Vec::new());
        for (norm, goal) in Norm::DENSE.into_iter().flat_map(|norm| GOALS.map(|goal| (norm, goal))) {
            let sample = sample(shape, goal);
            let lambdas = |estimator, fixed: &[f64], others: &[f32]| {
                let of = |fixed: f64, others: f32| {
                    let surrogate = surrogate(&sample.network, others);
                    let surrogate = Some(&surrogate);
                    let lambdas = RefCell::default();
                    let guided = Guided { sample: &sample, surrogate, estimator, fixed, directions, grid, lambdas };
                    guided.follows(norm);
                    guided.lambdas.into_inner()
                };
                let each = fixed.iter().flat_map(|fixed| others.iter().map(|others| (*fixed, *others)));
                each.flat_map(|(fixed, others)| of(fixed, others)).collect::<Vec<f64>>()
            };
            lambdas("fixed-lambda", &[0.0, 0.3, 1.0], &[2.5]);
            optimal.extend(lambdas("optimal-lambda", &[0.5], &[0.0, 2.0, 30.0]));
            averaged.extend(lambdas("averaging", &[0.5], &[0.0, 2.0, 30.0]));
        }
        assert!(optimal.contains(&0.0) && optimal.contains(&1.0), "{shape:?}: {optimal:?}");
        assert!(optimal.iter().any(|lambda| *lambda > 0.0 && *lambda < 1.0), "{shape:?}: {optimal:?}");
        assert!(averaged.contains(&0.0) && averaged.contains(&1.0), "{shape:?}: {averaged:?}");
    }
}

/// The iterates of bandits, with guesses between -1 and 1 for linf, and the queries until each.
fn bandits(
    sample: &Sample,
    norm: Norm,
    grid: [usize; 2],
    [exploration, fd_eta, learning_rate]: [f64; 3],
) -> Vec<(Image, u64)> {
    let cells = sample.shape[0] * grid[0] * grid[1];
    let enlarged = |cells: &[f64]| coarse(sample.shape, grid, cells);
    let mut guess = vec![0.0; cells];
    let mut image = sample.clean.clone();
    let mut queries = 0;
    let mut iterates = Vec::new();
    for step in 0..10 {
        let noise = gaussian(&mut random(Purpose::Step, step), cells);
        let noise = scaled(&noise, exploration / (cells as f64).sqrt());
        let points = [1.0, -1.0].map(|sign| plus(&image, fd_eta, &unit(&enlarged(&plus(&guess, sign, &noise)))));
        let slope = (rise(sample, &points[0]) - rise(sample, &points[1])) / (fd_eta * exploration);
        for (guess, noise) in guess.iter_mut().zip(&noise) {
            let by = learning_rate * slope * noise;
            *guess = if norm == Norm::Linf {
                // The two sides of a coin, weighted by what each of them gains.
                let (heads, tails) = (0.5 * (1.0 + *guess) * by.exp(), 0.5 * (1.0 - *guess) * (-by).exp());
                2.0 * heads / (heads + tails) - 1.0
            } else {
                *guess + by
            };
        }
        image = sample.advanced(norm, &image, &enlarged(&guess), 0.15 * EPS, EPS);
        queries += if points.iter().any(|point| sample.reached(point)) { 3 } else { 2 };
        iterates.push((image.clone(), queries));
    }
    iterates
}

#[test]
fn bandits_follow_their_definition_step_by_step() {
    for (norm, numbers) in [(Norm::Linf, [1.0, 0.3, 0.5]), (Norm::L2, [0.2, 0.3, 0.1])] {
        for goal in GOALS {
            // Unset, small images have a cell per pixel.
            for (shape, grid, tiles) in
                [([2, 4, 6], [2, 3], "tile-size = 3"), ([2, 4, 6], [4, 6], "tile-size = 99"), ([2, 9, 12], [9, 12], "")]
            {
                let sample = sample(shape, goal);
                let [exploration, fd_eta, learning_rate] = numbers;
                let parameters = format!(
                    "exploration = {exploration}\nfd-eta = {fd_eta}\nprior-learning-rate = {learning_rate}\n\
                     step-size-share = 0.15\n{tiles}"
                );
                let setting = sample.setting(norm, EPS, Success::Last);
                sample.spends(("bandits", &parameters), &setting, &bandits(&sample, norm, grid, numbers));
            }
        }
    }
}
