//! A sample on a network of two layers, whose images in double precision can be compared with those of an attack.

use realsafe_core::{Judged, Samples};
use realsafe_plan::{Goal, Norm, Success};

use crate::bench::{Setting, Spy, run_on};
use crate::reference::{Aim, Image, Loss, Network, SEED, plus, steepest, within};

/// A sample that is attacked.
#[derive(Clone)]
pub(crate) struct Sample {
    pub(crate) network: Network,
    pub(crate) shape: [usize; 3],
    pub(crate) clean: Image,
    pub(crate) label: usize,
    pub(crate) goal: Goal,
}

impl Sample {
    /// Of a label that is the network's prediction.
    pub(crate) fn new(network: Network, shape: [usize; 3], clean: Image, goal: Goal) -> Self {
        Self { label: network.predict(&clean), network, shape, clean, goal }
    }

    pub(crate) fn aim(&self) -> Aim {
        let target = (self.label + 1) % self.network.classes();
        Aim { label: self.label, target: self.goal.has_target().then_some(target) }
    }

    pub(crate) fn rise(&self, loss: Loss, image: &[f64]) -> (f64, Image) {
        self.network.rise(loss, self.aim(), image)
    }

    pub(crate) fn reached(&self, image: &[f64]) -> bool {
        let class = |class: usize| u32::try_from(class).unwrap();
        let aim = self.aim();
        self.goal.reached(class(self.network.predict(image)), class(aim.label), aim.target.map(class))
    }

    pub(crate) fn change(&self, image: &[f64]) -> Image {
        plus(image, -1.0, &self.clean)
    }

    pub(crate) fn within(&self, norm: Norm, image: &[f64], eps: f64) -> Image {
        within(norm, image, &self.clean, eps)
    }

    /// A step of a length along the steepest direction, back into ball and box.
    pub(crate) fn advanced(&self, norm: Norm, image: &[f64], gradient: &[f64], by: f64, eps: f64) -> Image {
        self.within(norm, &plus(image, by, &steepest(norm, gradient)), eps)
    }

    #[expect(clippy::cast_possible_truncation, reason = "single precision is what is tested")]
    pub(crate) fn samples(&self) -> Samples {
        let pixels = self.clean.iter().map(|pixel| *pixel as f32).collect();
        Samples { shape: self.shape, pixels, labels: vec![u32::try_from(self.label).unwrap()], targets: None }
    }

    pub(crate) fn setting(&self, norm: Norm, eps: impl Into<Option<f64>>, success: Success) -> Setting {
        Setting { goal: self.goal, seed: SEED, ..Setting::untargeted(norm, eps, success) }
    }

    pub(crate) fn run(&self, attack: (&str, &str), setting: &Setting) -> Judged {
        run_on(attack, &self.network.model(), &self.samples(), &[0], setting).unwrap()
    }

    /// Compares the image that an attack returns when its queries are used up with every iterate in turn; each comes with
    /// the queries until then.
    pub(crate) fn spends(&self, (id, parameters): (&str, &str), setting: &Setting, expected: &[(Image, u64)]) {
        for (step, (expected, queries)) in expected.iter().enumerate() {
            let parameters = format!("queries = {queries}\n{parameters}");
            let judged = &self.run((id, &parameters), setting).judgements[0];
            let what = format!("{id} {:?} {:?} {parameters}, step {step}", setting.norm, self.goal);
            assert_eq!(judged.spent.queries, *queries, "{what}");
            assert_same(&judged.pixels, expected, &what);
        }
    }

    /// Runs an attack and compares the first image of every question that it asks.
    pub(crate) fn asks(&self, attack: (&str, &str), setting: &Setting, expected: &[Image]) -> Judged {
        let (model, seen) = Spy::around(self.network.model());
        let judged = run_on(attack, &model, &self.samples(), &[0], setting).unwrap();
        let seen = seen.lock().unwrap();
        // The first two questions are about the clean image, the last one judges.
        let asked = &seen[2..seen.len() - 1];
        assert_eq!(asked.len(), expected.len(), "{attack:?} {:?} {:?}", setting.norm, self.goal);
        for (at, (asked, expected)) in asked.iter().zip(expected).enumerate() {
            assert_same(asked, expected, &format!("{attack:?} {:?} {:?}, question {at}", setting.norm, self.goal));
        }
        judged
    }
}

/// Asserts that images are the same but for rounding.
pub(crate) fn assert_same(found: &[f32], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let difference = (f64::from(*found) - expected).abs();
        assert!(difference < 1e-5, "{what}, value {at}: {found} instead of {expected}");
    }
}
