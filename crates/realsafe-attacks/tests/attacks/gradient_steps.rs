//! FGSM, BIM, PGD and MIM: every image that they ask about, and the one that they return, against their definitions.

use rand::RngExt;
use realsafe_core::random::Purpose;
use realsafe_plan::{Goal, Norm, Success};

use crate::reference::{
    Image, Network, cross_entropy, gaussian, greyish, margin, plus, random, scaled, size, uniform, unit,
};
use crate::sample::{Sample, assert_same};

const EPS: f64 = 0.2;

/// A sample with pixels at the edge of the box.
fn sample(goal: Goal) -> Sample {
    let clean = greyish(12, 0.6, 300);
    assert!(clean.contains(&0.0) || clean.contains(&1.0), "the box is in the way");
    Sample::new(Network::scattered([12, 7, 4], 0), [2, 2, 3], clean, goal)
}

/// From a start, the iterates of steps along what a gradient makes of the momentum so far.
fn iterates(
    sample: &Sample,
    norm: Norm,
    start: Image,
    by: f64,
    steps: usize,
    mut direction: impl FnMut(Image) -> Image,
) -> Vec<Image> {
    let mut iterates = vec![start];
    for step in 0..steps {
        let gradient = sample.rise(cross_entropy, &iterates[step]).1;
        iterates.push(sample.advanced(norm, &iterates[step], &direction(gradient), by, EPS));
    }
    iterates
}

/// Compares all iterates: the last one is returned, the others are asked about.
fn follows(sample: &Sample, attack: (&str, &str), norm: Norm, expected: &[Image]) {
    let (last, asked) = expected.split_last().unwrap();
    let judged = sample.asks(attack, &sample.setting(norm, EPS, Success::Last), asked);
    assert_same(&judged.judgements[0].pixels, last, &format!("{attack:?} {norm:?}, result"));
}

#[test]
fn fgsm_bim_and_mim_follow_their_definitions_step_by_step() {
    for (goal, norm) in Goal::ALL.into_iter().flat_map(|goal| Norm::DENSE.map(|norm| (goal, norm))) {
        let sample = sample(goal);
        let clean = || sample.clean.clone();
        follows(&sample, ("fgsm", ""), norm, &iterates(&sample, norm, clean(), EPS, 1, |gradient| gradient));
        let expected = iterates(&sample, norm, clean(), 0.03, 12, |gradient| gradient);
        follows(&sample, ("bim", "steps = 12\nstep-size = 0.03"), norm, &expected);
        let mut momentum = vec![0.0; 12];
        let expected = iterates(&sample, norm, clean(), 0.03, 12, |gradient| {
            let sum = size(Norm::L1, &gradient);
            momentum = plus(&scaled(&momentum, 0.9), 1.0 / sum, &gradient);
            momentum.clone()
        });
        follows(&sample, ("mim", "steps = 12\nstep-size = 0.03\ndecay = 0.9"), norm, &expected);
    }
}

/// The point of the ball of a radius at which PGD starts.
fn start(norm: Norm, kind: &str, radius: f64) -> Image {
    let mut random = random(Purpose::Start, 0);
    let is_cube = (kind, norm) == ("ball", Norm::Linf);
    let share = if is_cube { 1.0 } else { f64::from(random.random::<f32>()) };
    let direction = match (kind, norm) {
        (_, Norm::Linf) => uniform(&mut random, 12),
        ("ball", _) => unit(&gaussian(&mut random, 12)),
        _ => unit(&uniform(&mut random, 12)),
    };
    scaled(&direction, radius * share)
}

#[test]
fn pgd_follows_its_definition_from_each_of_its_starts() {
    for (goal, norm) in Goal::ALL.into_iter().flat_map(|goal| Norm::DENSE.map(|norm| (goal, norm))) {
        for kind in ["ball", "scaled-cube"] {
            for share in [1.0, 0.5] {
                let sample = sample(goal);
                let from = plus(&sample.clean, 1.0, &start(norm, kind, share * EPS));
                let from = sample.within(norm, &from, EPS);
                let expected = iterates(&sample, norm, from, 0.05, 10, |gradient| gradient);
                let parameters = format!("steps = 10\nstep-size = 0.05\nstart = \"{kind}\"\nstart-radius = {share}");
                follows(&sample, ("pgd", &parameters), norm, &expected);
            }
        }
    }
}

#[test]
fn the_length_of_a_step_is_a_share_of_the_radius_unless_it_is_given() {
    let sample = sample(Goal::Untargeted);
    for norm in Norm::DENSE {
        for (attack, share) in [
            (("bim", "steps = 6"), 1.5),
            (("bim", "steps = 6\nstep-size-relative = 0.3"), 0.3),
            (("pgd", "steps = 6\nstart = \"none\""), 2.5),
        ] {
            let expected = iterates(&sample, norm, sample.clean.clone(), share * EPS / 6.0, 6, |gradient| gradient);
            follows(&sample, attack, norm, &expected);
        }
    }
}

#[test]
fn another_loss_is_climbed_where_it_is_named() {
    for goal in Goal::ALL {
        let sample = sample(goal);
        let mut expected = vec![sample.clean.clone()];
        for step in 0..8 {
            let gradient = sample.rise(margin, &expected[step]).1;
            expected.push(sample.advanced(Norm::L2, &expected[step], &gradient, 0.04, EPS));
        }
        follows(&sample, ("bim", "steps = 8\nstep-size = 0.04\nloss = \"margin\""), Norm::L2, &expected);
    }
}
