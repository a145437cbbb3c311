//! Every point that APGD and APGD-T visit, and the one that they return, against their definitions.
//!
//! Images are those at which no decision of the schedule hangs on the last bit of a loss: single precision would decide some of
//! those differently, where the search has come to rest.

use realsafe_core::random::Purpose;
use realsafe_plan::{Goal, Norm, Success};

use crate::bench::matrix;
use crate::reference::{
    Aim, Image, Loss, NORMS, Network, cross_entropy, dlr, dlr_targeted, gaussian, greyish, plus, random, size,
    steepest, uniform,
};
use crate::sample::{Sample, assert_same};

const PIXELS: usize = 10;

fn sample(seed: usize, goal: Goal) -> Sample {
    let network = Network::new(matrix(8, PIXELS, 2.5, 7000), matrix(5, 8, 2.0, 8000));
    let clean = greyish(PIXELS, 0.45, 9000 + 100 * seed);
    Sample { label: 1, network, shape: [1, 2, 5], clean, goal }
}

const fn eps(norm: Norm) -> f64 {
    if matches!(norm, Norm::Linf) { 0.1 } else { 0.4 }
}

/// What is raised by one run.
struct Climb<'a> {
    sample: &'a Sample,
    norm: Norm,
    loss: Loss,
    aim: Aim,
    /// Every point that was visited.
    points: Vec<Image>,
    /// How often it went back to its best point.
    returns: usize,
}

impl<'a> Climb<'a> {
    fn new(sample: &'a Sample, norm: Norm, loss: Loss) -> Self {
        Self { sample, norm, loss, aim: sample.aim(), points: Vec::new(), returns: 0 }
    }

    fn visit(&mut self, image: &Image) -> (f64, Image) {
        self.points.push(image.clone());
        self.sample.network.rise(self.loss, self.aim, image)
    }

    /// How many pixels of an image differ from the clean one.
    fn changed(&self, image: &[f64]) -> f64 {
        // What single precision rounds away.
        size(Norm::L0, &self.sample.change(image).into_iter().map(|by| (by * 1e7).round()).collect::<Vec<_>>())
    }

    /// The best point of so many steps in a ball, and its loss.
    fn phase(&mut self, start: Image, eps: f64, steps: usize, telling: bool) -> (Image, f64) {
        if self.norm == Norm::L1 { self.sparse(start, eps, steps, telling) } else { self.dense(start, eps, steps) }
    }

    fn dense(&mut self, start: Image, eps: f64, steps: usize) -> (Image, f64) {
        let (sample, norm) = (self.sample, self.norm);
        let (mut image, mut before) = (start.clone(), start);
        let (mut value, mut gradient) = self.visit(&image);
        let (mut best, mut best_value, mut best_gradient) = (image.clone(), value, gradient.clone());
        let (mut step_size, mut rises) = (2.0 * eps, 0);
        let (mut halved, mut checked) = (true, value);
        let share = |percent: usize| (steps * percent / 100).max(1);
        let (mut window, mut checkpoint) = (share(22), share(22));
        for step in 1..=steps {
            let ahead = sample.advanced(norm, &image, &gradient, step_size, eps);
            let share_ahead = if step == 1 { 1.0 } else { 0.75 };
            let mixed = plus(&image, share_ahead, &plus(&ahead, -1.0, &image));
            let mixed = plus(&mixed, 1.0 - share_ahead, &plus(&image, -1.0, &before));
            (before, image) = (image, sample.within(norm, &mixed, eps));
            let last = value;
            (value, gradient) = self.visit(&image);
            rises += usize::from(value > last);
            if value > best_value {
                (best, best_value, best_gradient) = (image.clone(), value, gradient.clone());
            }
            if step == checkpoint {
                halved = rises as f64 <= 0.75 * window as f64 || (!halved && best_value <= checked);
                if halved {
                    step_size /= 2.0;
                    (image, gradient) = (best.clone(), best_gradient.clone());
                    self.returns += 1;
                }
                (checked, rises) = (best_value, 0);
                window = window.saturating_sub(share(3)).max(share(6));
                checkpoint += window;
            }
        }
        (best, best_value)
    }

    fn sparse(&mut self, start: Image, eps: f64, steps: usize, telling: bool) -> (Image, f64) {
        let mut image = start;
        let mut support = if telling { self.changed(&image) } else { PIXELS as f64 };
        let mut density = if telling { support / PIXELS as f64 / 1.5 } else { 0.2 };
        let (mut best_value, mut gradient) = self.visit(&image);
        let (mut best, mut best_gradient, mut step_size) = (image.clone(), gradient.clone(), eps);
        for step in 1..=steps {
            let mut sizes: Vec<f64> = gradient.iter().map(|slope| slope.abs()).collect();
            sizes.sort_by(f64::total_cmp);
            let least = sizes[PIXELS - ((density * PIXELS as f64 + 1e-3) as usize).max(1)];
            let steep: Image = gradient.iter().map(|slope| if slope.abs() >= least { *slope } else { 0.0 }).collect();
            let signs = steepest(Norm::Linf, &steep);
            let moved = plus(&image, step_size / size(Norm::L0, &signs), &signs);
            image = self.sample.within(Norm::L1, &moved, eps);
            let value;
            (value, gradient) = self.visit(&image);
            if value > best_value {
                (best, best_value, best_gradient) = (image.clone(), value, gradient.clone());
            }
            if step % (steps * 4 / 100).max(1) == 0 {
                let now = self.changed(&best);
                let sparser = now < 0.95 * support;
                density = now / PIXELS as f64 / 1.5;
                step_size = if sparser { eps } else { (step_size / 1.5).max(eps / 10.0) };
                support = now;
                if sparser {
                    (image, gradient) = (best.clone(), best_gradient.clone());
                    self.returns += 1;
                }
            }
        }
        (best, best_value)
    }

    /// A point of the surface of the ball, with the random numbers of a step.
    fn surface(&self, eps: f64, step: usize) -> Image {
        let mut random = random(Purpose::Start, step as u64);
        let noise = match self.norm {
            Norm::Linf => uniform(&mut random, PIXELS),
            _ => gaussian(&mut random, PIXELS),
        };
        let scale = if self.norm == Norm::L1 { 1.0 } else { eps / size(self.norm, &noise) };
        self.sample.within(self.norm, &plus(&self.sample.clean, scale, &noise), eps)
    }

    /// The best point of a run that begins at a step, and its loss.
    fn run(&mut self, steps: usize, from_surface: bool, large_radii: bool, first_step: usize) -> (Image, f64) {
        let eps = eps(self.norm);
        let phases = match large_radii {
            true => vec![(3.0 * eps, (3 * steps).div_ceil(10)), (2.0 * eps, (3 * steps).div_ceil(10)), (eps, 0)],
            false => vec![(eps, steps)],
        };
        let mut left = steps;
        let mut best: Option<(Image, f64)> = None;
        for (radius, steps) in phases {
            let steps = if steps == 0 { left } else { steps };
            left -= steps;
            let telling = best.is_some() || (large_radii && from_surface);
            let start = match &best {
                Some((image, _)) => self.sample.within(self.norm, image, radius),
                None if from_surface => self.surface(radius, first_step),
                None => self.sample.clean.clone(),
            };
            best = Some(self.phase(start, radius, steps, telling));
        }
        best.unwrap()
    }
}

fn follows(sample: &Sample, attack: (&str, &str), norm: Norm, points: &[Image], best: &Image) {
    let judged = sample.asks(attack, &sample.setting(norm, eps(norm), Success::Last), points);
    assert_same(&judged.judgements[0].pixels, best, &format!("{attack:?} {norm:?}, result"));
}

#[test]
fn every_point_of_a_hundred_steps_is_that_of_the_definition() {
    let cases: [(&str, Loss, Goal, [[usize; 3]; 3]); 3] = [
        ("cross-entropy", cross_entropy, Goal::Untargeted, [[1, 4, 6], [0, 4, 7], [1, 2, 3]]),
        ("dlr", dlr, Goal::Untargeted, [[0, 1, 2]; 3]),
        ("dlr-targeted", dlr_targeted, Goal::Targeted, [[0, 1, 2]; 3]),
    ];
    for (name, loss, goal, seeds) in cases {
        for (norm, seeds) in NORMS.into_iter().zip(seeds) {
            let mut returns = 0;
            for seed in seeds {
                let sample = sample(seed, goal);
                let mut climb = Climb::new(&sample, norm, loss);
                let (best, _) = climb.run(100, false, false, 0);
                returns += climb.returns;
                let parameters = format!("start = \"none\"\nloss = \"{name}\"");
                follows(&sample, ("apgd", &parameters), norm, &climb.points, &best);
            }
            assert!(returns >= seeds.len(), "{norm:?} {name}: the schedule was not at work");
        }
    }
}

#[test]
fn a_start_on_the_surface_and_large_radii_follow_the_definition() {
    for (norm, seeds) in NORMS.into_iter().zip([[1, 6], [4, 19], [0, 1]]) {
        for (seed, (large_radii, from_surface)) in
            seeds.into_iter().flat_map(|seed| [(seed, (false, true)), (seed, (true, false)), (seed, (true, true))])
        {
            let sample = sample(seed, Goal::Untargeted);
            let mut climb = Climb::new(&sample, norm, cross_entropy);
            let (best, _) = climb.run(50, from_surface, large_radii, 0);
            let start = if from_surface { "surface" } else { "none" };
            let parameters = format!("steps = 50\nlarge-radii = {large_radii}\nstart = \"{start}\"");
            follows(&sample, ("apgd", &parameters), norm, &climb.points, &best);
        }
    }
}

#[test]
fn apgd_t_raises_one_likely_class_after_the_other() {
    for (norm, seeds) in NORMS.into_iter().zip([[0, 1], [0, 1], [0, 2]]) {
        for (seed, large_radii) in seeds.into_iter().flat_map(|seed| [(seed, false), (seed, true)]) {
            let sample = sample(seed, Goal::Untargeted);
            let logits = sample.network.logits(&sample.clean);
            let mut classes: Vec<usize> = (0..5).filter(|class| *class != sample.label).collect();
            classes.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
            let mut climb = Climb::new(&sample, norm, dlr_targeted);
            climb.points.push(sample.clean.clone());
            let mut best = (sample.clean.clone(), f64::NEG_INFINITY);
            for &class in &classes[..3] {
                climb.aim.target = Some(class);
                let found = climb.run(30, true, large_radii, climb.points.len() - 1);
                if found.1 > best.1 {
                    best = found;
                }
            }
            let parameters = format!("steps = 30\ntargets = 3\nlarge-radii = {large_radii}");
            follows(&sample, ("apgd-t", &parameters), norm, &climb.points, &best.0);
        }
    }
}
