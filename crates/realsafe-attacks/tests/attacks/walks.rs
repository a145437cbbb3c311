//! Attacks on labels, query by query: the smallest distance after each is that of their definitions.

use rand::RngExt;
use rand::seq::index::sample_weighted;
use rand_chacha::ChaCha8Rng;
use realsafe_core::Samples;
use realsafe_core::random::{Purpose, StreamKey, stream};
use realsafe_plan::{Goal, Norm, Success};

use crate::bench::{Setting, matrix, run_on, samples, scatter};
use crate::reference::{
    Image, Network, SEED, clipped, dot, gaussian, greyish, plus, scaled, size, steepest, uniform, unit,
};
use crate::sample::Sample;

const SHAPE: [usize; 3] = [1, 3, 4];
const PIXELS: usize = 12;
const QUERIES: usize = 300;

/// All queries are spent.
struct Spent;

/// What a definition asks.
struct Walk<'a> {
    sample: Sample,
    norm: Norm,
    /// The index of the sample.
    index: u64,
    /// An image of each class.
    pool: &'a [Image],
    /// The smallest distance of an adversarial after each query.
    nearest: Vec<f64>,
    /// How often it did what takes several queries.
    milestones: usize,
}

impl Walk<'_> {
    /// The random numbers of the next query.
    fn random(&self) -> ChaCha8Rng {
        let step = self.nearest.len() as u64;
        stream(StreamKey { seed: SEED, purpose: Purpose::Step, sample: self.index, restart: 0, step })
    }

    fn distance(&self, image: &[f64]) -> f64 {
        size(self.norm, &self.sample.change(image))
    }

    fn is_adversarial(&mut self, image: &[f64]) -> Result<bool, Spent> {
        if self.nearest.len() == QUERIES {
            return Err(Spent);
        }
        let adversarial = self.sample.reached(image);
        let distance = if adversarial { self.distance(image) } else { f64::INFINITY };
        let before = self.nearest.last().copied().unwrap_or(f64::INFINITY);
        self.nearest.push(distance.min(before));
        Ok(adversarial)
    }

    /// An image of the target, or noise of another class than the label.
    fn start(&mut self) -> Result<Image, Spent> {
        if self.sample.goal == Goal::Targeted {
            let image = self.pool[self.sample.aim().target.unwrap()].clone();
            assert!(self.is_adversarial(&image)?, "the image is of the target");
            return Ok(image);
        }
        loop {
            let mut random = self.random();
            let image: Image = (0..PIXELS).map(|_| f64::from(random.random::<f32>())).collect();
            if self.is_adversarial(&image)? {
                return Ok(image);
            }
        }
    }

    /// The boundary between the clean image and an adversarial one.
    fn project(&mut self, far: &[f64], tolerance: f64) -> Result<Image, Spent> {
        let largest = self.distance(far);
        let (clean, norm) = (self.sample.clean.clone(), self.norm);
        let at = |share: f64| -> Image {
            let change = |(clean, far): (&f64, &f64)| match norm {
                Norm::Linf => clean + (far - clean).clamp(-share * largest, share * largest),
                _ => (1.0 - share) * clean + share * far,
            };
            clean.iter().zip(far).map(change).collect()
        };
        let (mut low, mut high) = (0.0, 1.0);
        while high - low > tolerance {
            let middle = (low + high) / 2.0;
            *(if self.is_adversarial(&at(middle))? { &mut high } else { &mut low }) = middle;
        }
        Ok(at(high))
    }
}

/// An image at a multiple of a direction, in the box.
fn moved(image: &[f64], direction: &[f64], by: f64) -> Image {
    clipped(&plus(image, by, direction))
}

fn share_of(answers: &[bool]) -> f64 {
    answers.iter().filter(|answer| **answer).count() as f64 / answers.len() as f64
}

fn hop_skip_jump(walk: &mut Walk<'_>) -> Result<(), Spent> {
    let pixels = PIXELS as f64;
    let theta = 1.0 / pixels.powf(1.5);
    let share = if walk.norm == Norm::Linf { pixels.powf(-0.5) } else { 1.0 / pixels };
    let start = walk.start()?;
    let mut at = walk.project(&start, theta)?;
    for round in 1.. {
        let distance = walk.distance(&at);
        let delta = if round == 1 { 0.1 } else { share * distance };
        let mut answers = Vec::new();
        for _ in 0..(30.0 * f64::from(round).sqrt()) as usize {
            let direction = match walk.norm {
                Norm::Linf => uniform(&mut walk.random(), PIXELS),
                _ => gaussian(&mut walk.random(), PIXELS),
            };
            let probe = moved(&at, &unit(&direction), delta);
            let sign = if walk.is_adversarial(&probe)? { 1.0 } else { -1.0 };
            answers.push((sign, plus(&probe, -1.0, &at)));
        }
        let mean = answers.iter().map(|(sign, _)| sign).sum::<f64>() / answers.len() as f64;
        let mean = if mean.abs() < 1.0 { mean } else { 0.0 };
        let add = |sum: Image, (sign, by): &(f64, Image)| plus(&sum, sign - mean, by);
        let update = steepest(walk.norm, &answers.iter().fold(vec![0.0; PIXELS], add));
        let mut length = distance / f64::from(round).sqrt();
        while !walk.is_adversarial(&moved(&at, &update, length))? {
            length /= 2.0;
        }
        at = walk.project(&moved(&at, &update, length), theta)?;
        walk.milestones += 1;
    }
    Ok(())
}

fn boundary(walk: &mut Walk<'_>) -> Result<(), Spent> {
    let adapt = |walk: &mut Walk<'_>, answers: &mut Vec<bool>, window: usize, least: f64, most: f64| {
        if answers.len() < window {
            return 1.0;
        }
        let rate = share_of(answers);
        answers.clear();
        let factor = if rate > most { 1.5 } else { 1.0 };
        let factor = if rate < least { 1.0 / 1.5 } else { factor };
        walk.milestones += usize::from(factor != 1.0);
        factor
    };
    let clean = walk.sample.clean.clone();
    let start = walk.start()?;
    let mut at = walk.project(&start, 1.0 / 1024.0)?;
    let (mut along, mut towards) = (0.1, 0.05);
    let (mut on_sphere, mut inside) = (Vec::new(), Vec::new());
    for direction in 1.. {
        let noise = gaussian(&mut walk.random(), PIXELS);
        let distance = walk.distance(&at);
        let inward = scaled(&plus(&clean, -1.0, &at), 1.0 / distance);
        let tangent = plus(&noise, -dot(&noise, &inward), &inward);
        let outside = plus(&at, along * distance, &unit(&tangent));
        let sphere = moved(&clean, &unit(&plus(&outside, -1.0, &clean)), distance);
        let reached = walk.distance(&sphere);
        let share = (1.0 - (1.0 - towards) * distance / reached).clamp(0.0, 1.0);
        let candidate = moved(&sphere, &plus(&clean, -1.0, &sphere), share);
        let checked = direction % 5 == 0;
        if checked {
            let adversarial = walk.is_adversarial(&sphere)?;
            on_sphere.push(adversarial);
            let factor = adapt(walk, &mut on_sphere, 10, 0.2, 0.5);
            (along, towards) = (along * factor, towards * factor);
            if !adversarial {
                continue;
            }
        }
        let adversarial = walk.is_adversarial(&candidate)?;
        if adversarial {
            at = candidate;
        }
        if !checked {
            inside.push(adversarial);
            towards *= adapt(walk, &mut inside, 20, 0.1, 0.25);
        }
    }
    Ok(())
}

/// What every pixel gets of a grid of so many lines and columns, bilinearly, with centres on centres.
fn enlarged(values: &[f64], side: usize) -> Image {
    let [_, height, width] = SHAPE;
    let place = |pixel: usize, pixels: usize| {
        let at = ((pixel as f64 + 0.5) * side as f64 / pixels as f64 - 0.5).clamp(0.0, side as f64 - 1.0);
        (at.floor() as usize, (at.floor() as usize + 1).min(side - 1), at.fract())
    };
    let pixel = |at: usize| {
        let ((top, bottom, down), (left, right, across)) = (place(at / width, height), place(at % width, width));
        let line = |line: usize| (1.0 - across) * values[line * side + left] + across * values[line * side + right];
        (1.0 - down) * line(top) + down * line(bottom)
    };
    (0..PIXELS).map(pixel).collect()
}

/// With noise on a grid of so many lines and columns, or per pixel.
fn evolution(walk: &mut Walk<'_>, side: Option<usize>) -> Result<(), Spent> {
    let coordinates = side.map_or(PIXELS, |side| side * side);
    let clean = walk.sample.clean.clone();
    let start = walk.start()?;
    let mut at = walk.project(&start, 1.0 / 1024.0)?;
    let (mut covariance, mut path, mut bias) = (vec![1.0_f64; coordinates], vec![0.0; coordinates], 0.01);
    let mut successes = Vec::new();
    loop {
        let mut random = walk.random();
        // A twentieth of the coordinates is one.
        let chosen = sample_weighted(&mut random, coordinates, |at| covariance[at], 1).unwrap().index(0);
        let mut mutation = vec![0.0; coordinates];
        mutation[chosen] = covariance[chosen].sqrt() * gaussian(&mut random, 1)[0];
        let noise = side.map_or_else(|| mutation.clone(), |side| enlarged(&mutation, side));
        let biased = plus(&at, bias, &plus(&clean, -1.0, &at));
        let candidate = plus(&biased, 0.03 * walk.distance(&at), &unit(&noise));
        let candidate = moved(&clean, &unit(&plus(&candidate, -1.0, &clean)), walk.distance(&biased));
        let success = walk.is_adversarial(&candidate)?;
        if success {
            at = candidate;
            path = plus(&scaled(&path, 0.99), (1.0 - 0.99 * 0.99_f64).sqrt(), &mutation);
            let replaced: Image = path.iter().map(|path| 0.2 * path * path).collect();
            covariance = plus(&replaced, 1.0 - 0.2, &covariance);
        }
        successes.push(success);
        if successes.len() == 30 {
            bias = (bias * (share_of(&successes) - 0.2).exp()).min(1.0);
            successes.clear();
            walk.milestones += 1;
        }
    }
}

fn evolutionary(walk: &mut Walk<'_>) -> Result<(), Spent> {
    evolution(walk, None)
}

fn evolutionary_on_a_grid(walk: &mut Walk<'_>) -> Result<(), Spent> {
    evolution(walk, Some(2))
}

fn rays(walk: &mut Walk<'_>) -> Result<(), Spent> {
    let clean = walk.sample.clean.clone();
    let tolerance = 1e-4;
    let shrink = |walk: &mut Walk<'_>, signs: &[f64], high: f64| {
        let (mut low, mut high) = (0.0, high);
        while high - low > tolerance {
            let middle = (low + high) / 2.0;
            *(if walk.is_adversarial(&moved(&clean, signs, middle))? { &mut high } else { &mut low }) = middle;
        }
        Ok(high)
    };
    let mut signs = vec![1.0; PIXELS];
    if !walk.is_adversarial(&[1.0; PIXELS])? {
        signs = vec![-1.0; PIXELS];
        assert!(walk.is_adversarial(&[0.0; PIXELS])?, "white or black is a start of these samples");
    }
    let mut radius = shrink(walk, &signs, 1.0)?;
    let mut vain = 0;
    for size in [12, 6, 3, 2].into_iter().chain(std::iter::repeat(1)) {
        for block in 0..PIXELS / size {
            let mut flipped = signs.clone();
            flipped[block * size..(block + 1) * size].iter_mut().for_each(|sign| *sign = -*sign);
            if walk.is_adversarial(&moved(&clean, &flipped, radius - tolerance))? {
                radius = shrink(walk, &flipped, radius - tolerance)?;
                signs = flipped;
                walk.milestones += 1;
                vain = 0;
            } else if size == 1 {
                vain += 1;
                if vain == PIXELS {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

fn network() -> Network {
    // Without a bias a black image would have no class.
    let bias = (0..3).map(|class| 0.1 * scatter(1800 + class)).collect();
    Network { first: matrix(7, PIXELS, 1.5, 1000), second: matrix(3, 7, 1.5, 1700), bias }
}

/// Compares the smallest distance after every query, for samples of several classes.
fn follows(attack: (&str, &str), norm: Norm, goal: Goal, define: fn(&mut Walk<'_>) -> Result<(), Spent>) {
    let (network, image) = (network(), |seed: usize| greyish(PIXELS, 0.4, 5000 + PIXELS * seed));
    let of_class = |class: usize| (50..).map(image).find(|image| network.predict(image) == class).unwrap();
    let pool: Vec<Image> = (0..3).map(of_class).collect();
    let rows: Vec<Sample> = (0..4).map(|row| Sample::new(network.clone(), SHAPE, image(row), goal)).collect();
    let together = |samples: Vec<Samples>| {
        let pixels: Vec<Vec<f32>> = samples.iter().map(|sample| sample.pixels.clone()).collect();
        let labels: Vec<u32> = samples.iter().flat_map(|sample| sample.labels.clone()).collect();
        Samples { shape: SHAPE, ..self::samples(&pixels, &labels) }
    };
    let setting = Setting {
        record: (1..).take(QUERIES).collect(),
        pool: Some(together(
            pool.iter().map(|image| Sample::new(network.clone(), SHAPE, image.clone(), goal).samples()).collect(),
        )),
        ..rows[0].setting(norm, None, Success::AnyIterate)
    };
    let (id, more) = attack;
    let parameters = format!("queries = {QUERIES}\n{more}");
    let samples = together(rows.iter().map(Sample::samples).collect());
    let recorded = run_on((id, &parameters), &network.model(), &samples, &[0, 1, 2, 3], &setting).unwrap().recorded;
    let (mut milestones, mut nearer) = (0, 0);
    let recorded = recorded.chunk_by(|a, b| a.slot == b.slot);
    for (index, (sample, recorded)) in (0..).zip(rows.into_iter().zip(recorded)) {
        let mut walk = Walk { sample, norm, index, pool: &pool, nearest: Vec::new(), milestones: 0 };
        let ended = define(&mut walk).is_ok();
        assert!(ended || walk.nearest.len() == QUERIES, "it goes on until its queries are spent");
        assert_eq!(recorded.len(), walk.nearest.len(), "{attack:?} {norm:?} {goal:?} row {index}");
        milestones += walk.milestones;
        for (point, expected) in recorded.iter().zip(&walk.nearest) {
            // Before the first adversarial the iterate is the clean image.
            let found = if point.broken { point.distance } else { f64::INFINITY };
            let same = found == *expected || (found - expected).abs() < 1e-5;
            let what = format!("{attack:?} {norm:?} {goal:?} row {index} query {}", point.step);
            assert!(same, "{what}: {found} instead of {expected}");
        }
        nearer += usize::from(walk.nearest[walk.nearest.len() - 1] < 0.9 * walk.nearest[30]);
    }
    assert!(nearer >= 3, "{attack:?} {norm:?} {goal:?}: only {nearer} rows get nearer");
    assert!(milestones >= 8, "{attack:?} {norm:?} {goal:?}: only {milestones} milestones");
}

#[test]
fn hop_skip_jump_follows_its_definition_query_by_query() {
    for (norm, goal) in Norm::DENSE.into_iter().flat_map(|norm| Goal::ALL.map(|goal| (norm, goal))) {
        follows(("hop-skip-jump", "initial-evaluations = 30"), norm, goal, hop_skip_jump);
    }
}

#[test]
fn boundary_follows_its_definition_query_by_query() {
    for goal in Goal::ALL {
        follows(("boundary", "spherical-step = 0.1\nsource-step = 0.05"), Norm::L2, goal, boundary);
    }
}

#[test]
fn evolutionary_follows_its_definition_query_by_query() {
    for goal in Goal::ALL {
        follows(("evolutionary", "covariance-rate = 0.2"), Norm::L2, goal, evolutionary);
        let on_a_grid = ("evolutionary", "covariance-rate = 0.2\ndimension-reduction = 2");
        follows(on_a_grid, Norm::L2, goal, evolutionary_on_a_grid);
    }
}

#[test]
fn rays_follows_its_definition_query_by_query() {
    follows(("rays", ""), Norm::Linf, Goal::Untargeted, rays);
}
