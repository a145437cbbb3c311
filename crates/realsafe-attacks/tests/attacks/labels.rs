//! Attacks on labels: how near they come to the exact distance, and each query of theirs against their definitions written out in
//! double precision.

use std::sync::Arc;

use rand::RngExt;
use rand::seq::index::sample_weighted;
use rand_chacha::ChaCha8Rng;
use realsafe_core::random::{Purpose, StreamKey, stream};
use realsafe_core::{Model, Samples, Verdict, fill_gaussian, fill_uniform};
use realsafe_plan::{Goal, Norm, Success};

use crate::bench::{Linear, Setting, TwoLayers, linear_problem, run, run_on, samples, scatter};
use crate::closed_form::{binary, exact};

fn minimal(norm: Norm) -> Setting {
    Setting::untargeted(norm, None, Success::AnyIterate)
}

/// On a linear model the nearest point is known.
fn comes_near(attack: (&str, &str), norm: Norm, excess: f64) {
    let (weights, model, samples) = binary();
    for (judged, image) in run(attack, &model, &samples, &minimal(norm)).iter().zip(samples.pixels.chunks(16)) {
        assert_eq!(judged.verdict, Verdict::Broken, "{attack:?}");
        let found = judged.distances.in_norm(norm) / exact(&weights, image, norm);
        // Rounding to single precision may cross the boundary a little earlier.
        assert!(
            (0.999_999..1.0 + excess).contains(&found),
            "{attack:?} {norm:?}: found {found} times the exact distance"
        );
    }
}

#[test]
fn every_attack_on_labels_finds_the_nearest_point_of_a_linear_model() {
    comes_near(("hop-skip-jump", "queries = 6000\ngamma = 0.01"), Norm::L2, 0.01);
    comes_near(("hop-skip-jump", "queries = 6000\ngamma = 0.01"), Norm::Linf, 0.02);
    comes_near(("evolutionary", "queries = 6000"), Norm::L2, 0.02);
    comes_near(("rays", "queries = 1500\nsearch-tolerance = 1e-6"), Norm::Linf, 0.001);
}

#[test]
fn targets_are_reached_from_images_of_their_class() {
    let (_, model, samples) = linear_problem();
    for (attack, norm) in [
        ("boundary", Norm::L2),
        ("evolutionary", Norm::L2),
        ("hop-skip-jump", Norm::L2),
        ("hop-skip-jump", Norm::Linf),
        ("rays", Norm::Linf),
    ] {
        let setting = Setting { goal: Goal::Targeted, ..minimal(norm) };
        for (judged, label) in run((attack, "queries = 400"), &model, &samples, &setting).iter().zip(&samples.labels) {
            assert_eq!(judged.verdict, Verdict::Broken, "{attack}");
            // Labels are what the model predicts, so the first image of the class will do; RayS looks in its direction only.
            if samples.labels.contains(&((label + 1) % 3)) && attack != "rays" {
                assert_eq!(judged.first_success, Some(1), "{attack}");
            }
        }
    }
}

#[test]
#[should_panic(expected = "dimension-reduction = 2 is more than the images have, 1 x 12 pixels")]
fn a_grid_that_is_finer_than_the_images_is_refused() {
    let (_, model, samples) = linear_problem();
    run(("evolutionary", "dimension-reduction = 2"), &model, &samples, &minimal(Norm::L2));
}

const PIXELS: usize = 12;
const HIDDEN: usize = 7;
const CLASSES: usize = 3;

fn first(row: usize, column: usize) -> f32 {
    1.5 * scatter(row * PIXELS + column)
}

fn second(row: usize, column: usize) -> f32 {
    1.5 * scatter(700 + row * HIDDEN + column)
}

/// Without it a black image would have no class.
fn bias(class: usize) -> f32 {
    0.1 * scatter(800 + class)
}

fn predict(image: &[f64]) -> usize {
    let hidden: Vec<f64> = (0..HIDDEN)
        .map(|row| (0..PIXELS).map(|column| f64::from(first(row, column)) * image[column]).sum::<f64>().tanh())
        .collect();
    let weighted = |class: usize| (0..HIDDEN).map(move |column| f64::from(second(class, column)));
    let logit = |class: usize| {
        f64::from(bias(class)) + weighted(class).zip(&hidden).map(|(weight, hidden)| weight * hidden).sum::<f64>()
    };
    (0..CLASSES).max_by(|a, b| logit(*a).total_cmp(&logit(*b))).unwrap()
}

fn network() -> Arc<dyn Model> {
    let layer = |rows: usize, columns: usize, weight: fn(usize, usize) -> f32| -> Vec<Vec<f32>> {
        (0..rows).map(|row| (0..columns).map(|column| weight(row, column)).collect()).collect()
    };
    Arc::new(TwoLayers {
        first: Linear::new(&layer(HIDDEN, PIXELS, first), &[0.0; HIDDEN]),
        second: Linear::new(&layer(CLASSES, HIDDEN, second), &[0, 1, 2].map(bias)),
    })
}

/// All queries are spent.
struct Spent;

/// What a definition asks, in double precision.
struct Victim {
    clean: Vec<f64>,
    label: usize,
    norm: Norm,
    sample: u64,
    /// The smallest distance of an adversarial after each query.
    nearest: Vec<f64>,
    queries: usize,
}

impl Victim {
    /// The random numbers of the next query.
    fn random(&self) -> ChaCha8Rng {
        let step = self.nearest.len() as u64;
        stream(StreamKey { seed: 0, purpose: Purpose::Step, sample: self.sample, restart: 0, step })
    }

    fn distance(&self, image: &[f64]) -> f64 {
        let changes = self.clean.iter().zip(image).map(|(clean, pixel)| (pixel - clean).abs());
        match self.norm {
            Norm::Linf => changes.fold(0.0, f64::max),
            _ => changes.map(|change| change * change).sum::<f64>().sqrt(),
        }
    }

    fn is_adversarial(&mut self, image: &[f64]) -> Result<bool, Spent> {
        if self.nearest.len() == self.queries {
            return Err(Spent);
        }
        let adversarial = predict(image) != self.label;
        let distance = if adversarial { self.distance(image) } else { f64::INFINITY };
        let before = self.nearest.last().copied().unwrap_or(f64::INFINITY);
        self.nearest.push(distance.min(before));
        Ok(adversarial)
    }

    fn noise_start(&mut self) -> Result<Vec<f64>, Spent> {
        loop {
            let mut random = self.random();
            let image: Vec<f64> = (0..PIXELS).map(|_| f64::from(random.random::<f32>())).collect();
            if self.is_adversarial(&image)? {
                return Ok(image);
            }
        }
    }

    /// The boundary between the clean image and an adversarial one.
    fn project(&mut self, far: &[f64], tolerance: f64) -> Result<Vec<f64>, Spent> {
        let largest = self.distance(far);
        let (clean, norm) = (self.clean.clone(), self.norm);
        let at = |share: f64| -> Vec<f64> {
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

fn norm_of(vector: &[f64]) -> f64 {
    vector.iter().map(|value| value * value).sum::<f64>().sqrt()
}

/// An image at a multiple of a direction, in the box.
fn moved(image: &[f64], direction: &[f64], size: f64) -> Vec<f64> {
    image.iter().zip(direction).map(|(pixel, by)| (pixel + size * by).clamp(0.0, 1.0)).collect()
}

fn hop_skip_jump(victim: &mut Victim) -> Result<(), Spent> {
    let pixels = PIXELS as f64;
    let theta = 1.0 / pixels.powf(1.5);
    let share = if victim.norm == Norm::Linf { pixels.powf(-0.5) } else { 1.0 / pixels };
    let start = victim.noise_start()?;
    let mut at = victim.project(&start, theta)?;
    for round in 1.. {
        let distance = victim.distance(&at);
        let delta = if round == 1 { 0.1 } else { share * distance };
        let mut answers = Vec::new();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of probes")]
        for _ in 0..(30.0 * f64::from(round).sqrt()) as usize {
            let mut direction = [0.0_f32; PIXELS];
            match victim.norm {
                Norm::Linf => fill_uniform(&mut victim.random(), &mut direction),
                _ => fill_gaussian(&mut victim.random(), &mut direction),
            }
            let direction: Vec<f64> = direction.into_iter().map(f64::from).collect();
            let probe = moved(&at, &direction, delta / norm_of(&direction));
            let sign = if victim.is_adversarial(&probe)? { 1.0 } else { -1.0 };
            answers.push((sign, probe.iter().zip(&at).map(|(probe, at)| probe - at).collect::<Vec<f64>>()));
        }
        let mean = answers.iter().map(|(sign, _)| sign).sum::<f64>() / answers.len() as f64;
        let mean = if mean.abs() < 1.0 { mean } else { 0.0 };
        let gradient: Vec<f64> =
            (0..PIXELS).map(|pixel| answers.iter().map(|(sign, by)| (sign - mean) * by[pixel]).sum()).collect();
        let length = norm_of(&gradient);
        let update: Vec<f64> = gradient
            .iter()
            .map(|value| if victim.norm == Norm::Linf { value.signum() } else { value / length })
            .collect();
        let mut size = distance / f64::from(round).sqrt();
        while !victim.is_adversarial(&moved(&at, &update, size))? {
            size /= 2.0;
        }
        at = victim.project(&moved(&at, &update, size), theta)?;
    }
    Ok(())
}

fn boundary(victim: &mut Victim) -> Result<(), Spent> {
    let between = |from: &[f64], to: &[f64], share: f64| -> Vec<f64> {
        from.iter().zip(to).map(|(from, to)| (from + share * (to - from)).clamp(0.0, 1.0)).collect()
    };
    let change = |rate: f64, least: f64, most: f64| match rate {
        rate if rate > most => 1.5,
        rate if rate < least => 1.0 / 1.5,
        _ => 1.0,
    };
    let mean = |answers: &[bool]| answers.iter().filter(|answer| **answer).count() as f64 / answers.len() as f64;
    let clean = victim.clean.clone();
    let start = victim.noise_start()?;
    let mut at = victim.project(&start, 1.0 / 1024.0)?;
    let (mut along, mut towards) = (0.1, 0.05);
    let (mut on_sphere, mut inside) = (Vec::new(), Vec::new());
    for direction in 1.. {
        let mut noise = [0.0_f32; PIXELS];
        fill_gaussian(&mut victim.random(), &mut noise);
        let distance = victim.distance(&at);
        let inward: Vec<f64> = clean.iter().zip(&at).map(|(clean, at)| (clean - at) / distance).collect();
        let part: f64 = noise.iter().zip(&inward).map(|(noise, inward)| f64::from(*noise) * inward).sum();
        let tangent: Vec<f64> =
            noise.iter().zip(&inward).map(|(noise, inward)| f64::from(*noise) - part * inward).collect();
        let scale = along * distance / norm_of(&tangent);
        let outside: Vec<f64> = at.iter().zip(&tangent).map(|(at, tangent)| at + scale * tangent).collect();
        let sphere = between(&clean, &outside, distance / victim.distance(&outside));
        let reached = victim.distance(&sphere);
        let candidate = between(&sphere, &clean, (1.0 - (1.0 - towards) * distance / reached).clamp(0.0, 1.0));
        let checked = direction % 5 == 0;
        if checked {
            let adversarial = victim.is_adversarial(&sphere)?;
            on_sphere.push(adversarial);
            if on_sphere.len() == 10 {
                let factor = change(mean(&on_sphere), 0.2, 0.5);
                (along, towards) = (along * factor, towards * factor);
                on_sphere.clear();
            }
            if !adversarial {
                continue;
            }
        }
        let adversarial = victim.is_adversarial(&candidate)?;
        if adversarial {
            at = candidate;
        }
        if !checked {
            inside.push(adversarial);
            if inside.len() == 20 {
                towards *= change(mean(&inside), 0.1, 0.25);
                inside.clear();
            }
        }
    }
    Ok(())
}

fn evolutionary(victim: &mut Victim) -> Result<(), Spent> {
    let start = victim.noise_start()?;
    let mut at = victim.project(&start, 1.0 / 1024.0)?;
    let (mut covariance, mut path, mut bias) = (vec![1.0_f64; PIXELS], vec![0.0; PIXELS], 0.01);
    let mut successes = Vec::new();
    loop {
        let mut random = victim.random();
        // A twentieth of twelve coordinates is one.
        let chosen = sample_weighted(&mut random, PIXELS, |at| covariance[at], 1).unwrap().index(0);
        let mut value = [0.0_f32];
        fill_gaussian(&mut random, &mut value);
        let mut mutation = vec![0.0; PIXELS];
        mutation[chosen] = covariance[chosen].sqrt() * f64::from(value[0]);
        let distance = victim.distance(&at);
        let biased: Vec<f64> = at.iter().zip(&victim.clean).map(|(at, clean)| at + bias * (clean - at)).collect();
        let scale = 0.03 * distance / norm_of(&mutation);
        let candidate: Vec<f64> = biased.iter().zip(&mutation).map(|(at, by)| at + scale * by).collect();
        let shrink = victim.distance(&biased) / victim.distance(&candidate);
        let change: Vec<f64> = candidate.iter().zip(&victim.clean).map(|(to, clean)| to - clean).collect();
        let candidate = moved(&victim.clean, &change, shrink);
        let success = victim.is_adversarial(&candidate)?;
        if success {
            at = candidate;
            for place in 0..PIXELS {
                path[place] = 0.99 * path[place] + (1.0 - 0.99 * 0.99_f64).sqrt() * mutation[place];
                covariance[place] = (1.0 - 0.2) * covariance[place] + 0.2 * path[place] * path[place];
            }
        }
        successes.push(f64::from(u8::from(success)));
        if successes.len() == 30 {
            bias *= (successes.iter().sum::<f64>() / 30.0 - 0.2).exp();
            successes.clear();
        }
    }
}

fn rays(victim: &mut Victim) -> Result<(), Spent> {
    let clean = victim.clean.clone();
    let tolerance = 1e-4;
    let shrink = |victim: &mut Victim, signs: &[f64], high: f64| {
        let (mut low, mut high) = (0.0, high);
        while high - low > tolerance {
            let middle = (low + high) / 2.0;
            *(if victim.is_adversarial(&moved(&clean, signs, middle))? { &mut high } else { &mut low }) = middle;
        }
        Ok(high)
    };
    let mut signs = vec![1.0; PIXELS];
    if !victim.is_adversarial(&[1.0; PIXELS])? {
        signs = vec![-1.0; PIXELS];
        assert!(victim.is_adversarial(&[0.0; PIXELS])?, "white or black is a start of these samples");
    }
    let mut radius = shrink(victim, &signs, 1.0)?;
    let mut vain = 0;
    for size in [12, 6, 3, 2].into_iter().chain(std::iter::repeat(1)) {
        for block in 0..PIXELS / size {
            let mut flipped = signs.clone();
            flipped[block * size..(block + 1) * size].iter_mut().for_each(|sign| *sign = -*sign);
            if victim.is_adversarial(&moved(&clean, &flipped, radius - tolerance))? {
                radius = shrink(victim, &flipped, radius - tolerance)?;
                signs = flipped;
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

/// Compares the smallest distance after every query.
fn follows(attack: (&str, &str), norm: Norm, define: fn(&mut Victim) -> Result<(), Spent>) {
    const QUERIES: usize = 300;
    const COUNT: usize = 4;
    let clean =
        |row: usize| -> Vec<f32> { (0..PIXELS).map(|at| 0.5 + 0.4 * scatter(5000 + row * PIXELS + at)).collect() };
    let pixels: Vec<Vec<f32>> = (0..COUNT).map(clean).collect();
    let exact: Vec<Vec<f64>> =
        pixels.iter().map(|image| image.iter().map(|pixel| f64::from(*pixel)).collect()).collect();
    let labels: Vec<u32> = exact.iter().map(|image| u32::try_from(predict(image)).unwrap()).collect();
    let samples: Samples = samples(&pixels, &labels);
    let setting = Setting { record: (1..=300).collect(), ..minimal(norm) };
    let recorded = run_on(attack, &network(), &samples, &[0, 1, 2, 3], &setting).unwrap().1;
    for (row, recorded) in recorded.chunk_by(|a, b| a.slot == b.slot).enumerate() {
        let (clean, label) = (exact[row].clone(), labels[row] as usize);
        let mut victim = Victim { clean, label, norm, sample: row as u64, nearest: Vec::new(), queries: QUERIES };
        let ended = define(&mut victim).is_ok();
        assert!(ended || victim.nearest.len() == QUERIES, "it goes on until its queries are spent");
        assert_eq!(recorded.len(), victim.nearest.len(), "{attack:?} row {row}");
        for (point, expected) in recorded.iter().zip(&victim.nearest) {
            // Before the first adversarial the iterate is the clean image.
            let found = if point.broken { point.distance } else { f64::INFINITY };
            let same = found == *expected || (found - expected).abs() < 1e-5;
            assert!(same, "{attack:?} {norm:?} row {row} query {}: {found} instead of {expected}", point.step);
        }
        let last = victim.nearest.last().expect("there are queries");
        assert!(*last < 0.9 * victim.nearest[30], "{attack:?} {norm:?} row {row} gets nearer");
    }
}

#[test]
fn hop_skip_jump_follows_its_definition_query_by_query() {
    let attack = ("hop-skip-jump", "queries = 300\ninitial-evaluations = 30");
    follows(attack, Norm::L2, hop_skip_jump);
    follows(attack, Norm::Linf, hop_skip_jump);
}

#[test]
fn boundary_follows_its_definition_query_by_query() {
    follows(("boundary", "queries = 300\nspherical-step = 0.1\nsource-step = 0.05"), Norm::L2, boundary);
}

#[test]
fn evolutionary_follows_its_definition_query_by_query() {
    follows(("evolutionary", "queries = 300\ncovariance-rate = 0.2"), Norm::L2, evolutionary);
}

#[test]
fn rays_follows_its_definition_query_by_query() {
    follows(("rays", "queries = 300"), Norm::Linf, rays);
}
