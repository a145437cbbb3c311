//! Score attacks that draw many points and then move: NES, SPSA, NATTACK and ZOO.

use rand::RngExt;
use rand::seq::index;
use realsafe_core::random::{Purpose, StreamKey, stream};
use realsafe_core::{Samples, Verdict};
use realsafe_plan::{Goal, Norm, Success};

use crate::bench::{Setting, linear_problem, run, samples};
use crate::prior_guided::{
    CLASSES, EPS, Image, LABEL, PIXELS, Reference, SAMPLE, SEED, SIDE, binary, check, clean, coarse, distance, dot,
    gaussian, moved, plus, random, within,
};

#[test]
fn a_linear_model_breaks_just_above_its_margin_and_not_below() {
    let (weights, model, samples) = binary();
    // Adam makes about the same step in every pixel, which is not the shortest way in l2.
    for (attack, norm, enough) in [
        (("nes", "queries = 8000\nsamples-per-draw = 100\nsigma = 0.01"), Norm::Linf, 1.05),
        (("nes", "queries = 8000\nsamples-per-draw = 100\nsigma = 0.01"), Norm::L2, 1.05),
        (("spsa", "queries = 4000\nsamples-per-draw = 20"), Norm::Linf, 1.05),
        (("spsa", "queries = 4000\nsamples-per-draw = 20"), Norm::L2, 1.3),
        (("nattack", "queries = 12000\nlearning-rate = 0.05"), Norm::Linf, 1.05),
        (("nattack", "queries = 12000\nlearning-rate = 0.05"), Norm::L2, 1.05),
    ] {
        for (row, image) in samples.pixels.chunks(16).enumerate() {
            let distance = distance(&weights, image, norm);
            for (factor, expected) in [(0.99, Verdict::Robust), (enough, Verdict::Broken)] {
                let setting = Setting::untargeted(norm, distance * factor, Success::AnyIterate);
                let judged = &run(attack, &model, &samples, &setting)[row];
                assert_eq!(judged.verdict, expected, "{attack:?} {norm:?} row {row} at {factor} of the distance");
            }
        }
    }
}

#[test]
fn zoo_finds_the_smallest_distance_of_a_linear_model() {
    let (weights, model, samples) = binary();
    // A step in all 16 coordinates is 2e-3 long in pixels, half of that with tanh: some of them are overshot.
    for space in ["tanh", "pixels"] {
        let parameters = format!(
            "queries = 40000\ncoordinates = 8\nlearning-rate = 5e-4\nfinite-difference = 0.001\nconstant = 0.05\nspace = \"{space}\""
        );
        let setting = Setting::untargeted(Norm::L2, None, Success::AnyIterate);
        let judged = run(("zoo", &parameters), &model, &samples, &setting);
        for (judged, image) in judged.iter().zip(samples.pixels.chunks(16)) {
            let (found, exact) = (judged.distances.in_norm(Norm::L2), distance(&weights, image, Norm::L2));
            assert!(judged.verdict == Verdict::Broken && found > 0.9999 * exact, "{space}: {found}, {exact}");
            assert!(found < exact + 4e-3, "{space}: {found}, {exact}");
        }
    }
}

#[test]
fn every_goal_is_reached() {
    let (_, model, samples) = linear_problem();
    for goal in Goal::ALL {
        for id in ["nes", "spsa", "nattack", "zoo"] {
            let (norm, eps) = if id == "zoo" { (Norm::L2, None) } else { (Norm::Linf, Some(0.5)) };
            let setting = Setting { goal, ..Setting::untargeted(norm, eps, Success::AnyIterate) };
            for judged in run((id, "queries = 4000"), &model, &samples, &setting) {
                assert_eq!(judged.verdict, Verdict::Broken, "{id} {goal:?}");
            }
        }
    }
}

#[test]
fn every_query_that_pays_for_a_pair_is_spent_and_none_beyond() {
    let (_, model, samples) = linear_problem();
    for queries in [3, 4, 22, 23, 24, 40, 113, 1000] {
        for (id, more) in [
            ("nes", "samples-per-draw = 20"),
            ("spsa", "samples-per-draw = 21"),
            ("nattack", "samples-per-draw = 20"),
            ("zoo", "coordinates = 10"),
        ] {
            let (norm, eps) = if id == "zoo" { (Norm::L2, None) } else { (Norm::Linf, Some(1e-6)) };
            let setting = Setting::untargeted(norm, eps, Success::AnyIterate);
            let rest = queries % 21;
            let expected = queries - if rest < 3 { rest } else { (rest - 1) % 2 };
            for judged in run((id, &format!("queries = {queries}\n{more}")), &model, &samples, &setting) {
                assert_eq!(judged.spent.queries, expected, "{id} {queries}");
            }
        }
    }
}

const PAIRS: usize = 5;

/// The gradient that pairs of points give, and the mean loss of the points.
fn estimate(victim: &Reference, image: &Image, sigma: f64, mut draw: impl FnMut() -> Image) -> (Image, f64) {
    let (mut gradient, mut mean) = ([0.0; PIXELS], 0.0);
    for _ in 0..PAIRS {
        let noise = draw();
        let losses = [sigma, -sigma].map(|sigma| victim.loss(&plus(image, sigma, &noise)));
        gradient = plus(&gradient, (losses[0] - losses[1]) / (2.0 * PAIRS as f64 * sigma), &noise);
        mean += (losses[0] + losses[1]) / (2.0 * PAIRS as f64);
    }
    (gradient, mean)
}

/// The queries until the end of a draw.
fn spent(step: u64) -> u64 {
    (step + 1) * (2 * PAIRS as u64 + 1)
}

fn noise(reduced: bool, random: &mut rand_chacha::ChaCha8Rng) -> Image {
    if reduced { coarse(&gaussian(random)) } else { gaussian(random) }
}

#[test]
fn nes_follows_its_definition_step_by_step() {
    let victim = Reference::new(0);
    for norm in Norm::DENSE {
        for reduced in [false, true] {
            let (mut image, mut rate, mut means) = (clean(), 0.4, Vec::new());
            let (mut kept, mut fallen) = ([0.0; PIXELS], 0);
            let iterate = |step: u64| {
                let mut random = random(step);
                let (gradient, mean) = estimate(&victim, &image, 0.1, || noise(reduced, &mut random));
                means.push(mean);
                if means.len() >= 3 && mean < means[means.len() - 3] {
                    rate = f64::max(rate / 2.0, 0.15);
                    fallen += 1;
                    means.clear();
                }
                kept = std::array::from_fn(|at| 0.7 * kept[at] + 0.3 * gradient[at]);
                image = moved(norm, &image, &kept, rate * EPS, EPS);
                (image, spent(step))
            };
            let expected: Vec<_> = (0..25).map(iterate).collect();
            assert!(fallen >= 2, "the learning rate falls to its minimum");
            let parameters = format!(
                "samples-per-draw = 10\nsigma = 0.1\nmomentum = 0.7\nlearning-rate-relative = 0.4\nplateau-length = 3\n\
                 minimum-learning-rate = 0.375\nloss = \"cross-entropy\"\n{}",
                if reduced { "dimension-reduction = 2" } else { "" }
            );
            check(("nes", &parameters), &victim, None, norm, &expected);
        }
    }
}

#[test]
fn spsa_follows_its_definition_step_by_step() {
    let victim = Reference::new(0);
    for norm in Norm::DENSE {
        let rate = if norm == Norm::L2 { 0.2 * EPS / (PIXELS as f64).sqrt() } else { 0.2 * EPS };
        let (mut image, mut first, mut second) = (clean(), [0.0; PIXELS], [0.0; PIXELS]);
        let iterate = |step: u64| {
            let mut random = random(step);
            let signs = || std::array::from_fn(|_| if random.random() { 1.0 } else { -1.0 });
            let (gradient, _) = estimate(&victim, &image, 0.1, signs);
            let share = |kept: f64| 1.0 - kept.powf(step as f64 + 1.0);
            for (at, gradient) in gradient.into_iter().enumerate() {
                first[at] += 0.1 * (gradient - first[at]);
                second[at] += 0.001 * (gradient * gradient - second[at]);
                image[at] += rate * first[at] / share(0.9) / ((second[at] / share(0.999)).sqrt() + 1e-8);
            }
            image = within(norm, &image, EPS);
            (image, spent(step))
        };
        let expected: Vec<_> = (0..15).map(iterate).collect();
        let parameters = "samples-per-draw = 10\nsigma = 0.1\nlearning-rate-relative = 0.2\nloss = \"cross-entropy\"";
        check(("spsa", parameters), &victim, None, norm, &expected);
    }
}

#[test]
fn nattack_follows_its_definition_step_by_step() {
    let victim = Reference::new(0);
    for norm in Norm::DENSE {
        let image = |change: &Image| {
            let place = |at: usize| ((2.0 * clean()[at] - 1.0) * (1.0 - 1e-6)).atanh() + change[at];
            within(norm, &std::array::from_fn(|at| (place(at).tanh() + 1.0) / 2.0), EPS)
        };
        let key = StreamKey { seed: SEED, purpose: Purpose::Start, sample: SAMPLE, restart: 0, step: 0 };
        let mut mean = coarse(&gaussian(&mut stream(key)).map(|value: f64| 0.2 * value));
        let iterate = |step: u64| {
            let mut random = random(step);
            let noise: [Image; 2 * PAIRS] = std::array::from_fn(|_| coarse(&gaussian(&mut random)));
            let losses = noise.map(|noise| victim.loss(&image(&plus(&mean, 0.3, &noise))));
            let count = losses.len() as f64;
            let expected = losses.iter().sum::<f64>() / count;
            let variance = losses.iter().map(|loss| loss * loss).sum::<f64>() / count - expected * expected;
            for (loss, noise) in losses.iter().zip(&noise) {
                let weight = (loss - expected) / (variance.sqrt() + 1e-7);
                mean = plus(&mean, 0.15 * weight / (count * 0.3), noise);
            }
            (image(&mean), spent(step))
        };
        let expected: Vec<_> = (0..12).map(iterate).collect();
        let parameters = "samples-per-draw = 10\nsigma = 0.3\nlearning-rate = 0.15\ninitial-distortion = 0.2\n\
                          dimension-reduction = 2\nloss = \"cross-entropy\"";
        check(("nattack", parameters), &victim, None, norm, &expected);
    }
}

/// The nearest adversarial after each step, or the clean image: five coordinates per step, cells of 2 × 2 pixels.
fn zoo(victim: &Reference, in_pixels: bool) -> Vec<Image> {
    let image = |places: &Image| if in_pixels { *places } else { places.map(|place| (place.tanh() + 1.0) / 2.0) };
    let margin = |image: &Image| {
        let logits = victim.logits(image);
        let rival = (0..CLASSES).filter(|class| *class != LABEL).map(|class| logits[class]).fold(f64::MIN, f64::max);
        logits[LABEL] - rival
    };
    let square = |image: &Image| {
        let change = plus(image, -1.0, &clean());
        dot(&change, &change)
    };
    let objective = |places: &Image| square(&image(places)) + 3.0 * (margin(&image(places)) + 0.1).max(0.0);
    let mut places = clean();
    if !in_pixels {
        places = places.map(|pixel| ((2.0 * pixel - 1.0) * (1.0 - 1e-6)).atanh());
    }
    let cell = |index: usize| {
        let mut cells = [0.0; PIXELS / 4];
        cells[index] = 1.0;
        coarse(&cells)
    };
    let (mut first, mut second, mut counts) = ([0.0; PIXELS / 4], [0.0; PIXELS / 4], [0; PIXELS / 4]);
    let (mut nearest, mut results) = (None::<Image>, Vec::new());
    for step in 0..30 {
        let chosen = index::sample(&mut random(step), PIXELS / 4, PAIRS);
        let slope = |index: usize| {
            let at = |by: f64| objective(&plus(&places, by, &cell(index)));
            (at(0.05) - at(-0.05)) / 0.1
        };
        let slopes: Vec<(usize, f64)> = chosen.into_iter().map(|index| (index, slope(index))).collect();
        for (index, slope) in slopes {
            counts[index] += 1;
            first[index] += 0.1 * (slope - first[index]);
            second[index] += 0.001 * (slope * slope - second[index]);
            let share = |kept: f64| 1.0 - kept.powi(counts[index]);
            let by = 0.1 * first[index] / share(0.9) / ((second[index] / share(0.999)).sqrt() + 1e-8);
            places = plus(&places, -by, &cell(index));
            if in_pixels {
                places = places.map(|place| place.clamp(0.0, 1.0));
            }
        }
        let found = image(&places);
        if margin(&found) < 0.0 && nearest.is_none_or(|nearest| square(&found) < square(&nearest)) {
            nearest = Some(found);
        }
        results.push(nearest.unwrap_or_else(clean));
    }
    results
}

#[test]
fn zoo_follows_its_definition_step_by_step() {
    // Weights with which the image is adversarial soon, and then nearer and nearer.
    let victim = Reference::new(36);
    #[expect(clippy::cast_possible_truncation, reason = "single precision is what is tested")]
    let pixels = clean().map(|pixel| pixel as f32).to_vec();
    let samples = Samples { shape: [2, SIDE, SIDE], ..samples(&[pixels], &[u32::try_from(LABEL).unwrap()]) };
    let setting = Setting { seed: SEED, ..Setting::untargeted(Norm::L2, None, Success::AnyIterate) };
    for space in ["tanh", "pixels"] {
        let expected = zoo(&victim, space == "pixels");
        let mut different = expected.clone();
        different.dedup();
        assert!(different.len() > 3, "some adversarials are nearer than others");
        for (step, expected) in (0..).zip(&expected) {
            let parameters = format!(
                "queries = {}\ncoordinates = 5\nfinite-difference = 0.05\nlearning-rate = 0.1\nconstant = 3\n\
                 confidence = 0.1\nspace = \"{space}\"\ndimension-reduction = 2",
                spent(step)
            );
            let judged = &run(("zoo", &parameters), &victim.model(), &samples, &setting)[0];
            for (found, expected) in judged.pixels.iter().zip(expected) {
                let difference = (f64::from(*found) - expected).abs();
                assert!(difference < 1e-5, "{space}, step {step}: {difference}");
            }
        }
    }
}
