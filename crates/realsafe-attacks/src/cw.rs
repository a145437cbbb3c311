//! Carlini and Wagner (C&W, l2): Adam on distance plus constant times margin, with a search for the constant.
//!
//! ## What it does
//! Writes the image as (tanh(w) + 1) / 2, which keeps it in the box, and minimises ‖change‖₂² + c · max(0, margin +
//! confidence) over w with Adam (0.9, 0.999, 1e-8), margin being the logit of the label minus the largest other one, or the
//! largest other one minus that of the target. There are search-steps rounds of `steps` gradients. After a round, c is
//! multiplied by 10 while no round has found an adversarial; then it is the middle between the largest constant that did not
//! find one and the smallest that did. Each round starts at the clean image with a new Adam; with warm-start, only Adam is
//! new, as in RealSafe.
//!
//! With `variables = "codes"` it is the reparameterised attack of Athalye, Carlini and Wagner on a defense that projects
//! (`defense-gan`): the image is what the defense's generator makes of a code, w is the code, and each round starts at the code
//! of the clean image. What the generator makes, the projection leaves as it is, so the gradient of the defense must be `identity`.
//!
//! The nearest adversarial of all iterates is the result, also where its margin is below the confidence: a confidence
//! pushes iterates further and decides which constants count as large enough. Transferred from surrogates, where nothing is
//! known of the victim, the nearest iterate with the confidence is the result.
//!
//! There is no early abort, which in other implementations looks at the loss of a whole batch, and no last round with the
//! best constant.
//!
//! ## Threat model
//! White-box gradients; l2; untargeted, targeted and targeted-misclassify. It minimises the distance: one run serves every
//! eps.
//!
//! ## Cost
//! One forward and one backward pass per step, search step and sample.
//!
//! ## References
//! Carlini, Wagner: Towards Evaluating the Robustness of Neural Networks, IEEE S&P 2017 (arXiv:1608.04644).
//! Athalye, Carlini, Wagner: Obfuscated Gradients Give a False Sense of Security, ICML 2018 (arXiv:1802.00420), section 4.3.

use burn::tensor::Tensor;
use realsafe_core::{
    Attack, AttackEntry, Batch, Gradients, Logits, Role, Stop, inventory, margin, state, strongest_rival,
};
use realsafe_plan::{
    Access, AttackTraits, Component, Cost, Fallback, Goal, Norm, Origin, Parameter, ParameterKind, Surrogates, Traits,
    VARIABLES,
};

use crate::shared::adam::Adam;
use crate::shared::ascent::steps;
use crate::shared::nearest::{Nearest, adversarial, sizes};

/// No constant grows beyond this.
const LARGEST_CONSTANT: f32 = 1e10;

struct CarliniWagner {
    search_steps: u64,
    steps: u64,
    learning_rate: f64,
    initial_constant: f32,
    confidence: f32,
    warm_start: bool,
    varies_codes: bool,
}

state! {
    struct Search {
        /// Where the clean image is among what is varied: the inverse hyperbolic tangents of pixels, or codes.
        start: Tensor<4>,
        position: Tensor<4>,
        adam: Adam,
        constants: Vec<Constant>,
        nearest: Nearest,
    }
}

/// The search for the constant of a row.
#[derive(Clone, Copy)]
struct Constant {
    value: f32,
    too_small: f32,
    large_enough: f32,
    /// Whether this round has found an adversarial.
    found: bool,
}

impl Constant {
    /// The constant of the next round.
    fn next(self) -> Self {
        let (too_small, large_enough) = if self.found {
            (self.too_small, self.large_enough.min(self.value))
        } else {
            (self.too_small.max(self.value), self.large_enough)
        };
        let value = if large_enough.is_finite() {
            too_small + (large_enough - too_small) / 2.0
        } else {
            (self.value * 10.0).min(LARGEST_CONSTANT)
        };
        Self { value, too_small, large_enough, found: false }
    }
}

impl Attack for CarliniWagner {
    type Door = dyn Gradients;
    type State = Search;

    fn steps(&self) -> u32 {
        u32::try_from(self.search_steps * self.steps).unwrap_or(u32::MAX)
    }

    fn step_cost(&self) -> Cost {
        Cost::gradient(1)
    }

    fn start(&self, victim: &mut Self::Door, batch: &Batch) -> Result<Search, Stop> {
        let constant =
            Constant { value: self.initial_constant, too_small: 0.0, large_enough: f32::INFINITY, found: false };
        let start = if self.varies_codes {
            victim.parametrisation()?.codes(batch.images.clone())?
        } else {
            // A little less than the box, so that black and white are at finite places.
            ((batch.images.clone() * 2.0 - 1.0) * (1.0 - 1e-6)).atanh()
        };
        Ok(Search {
            position: start.clone(),
            adam: Adam::new(&start),
            start,
            constants: vec![constant; batch.len()],
            nearest: Nearest::new(batch),
        })
    }

    fn step(&self, victim: &mut Self::Door, batch: &Batch, state: &mut Search) -> Result<(), Stop> {
        let round_step = u64::from(batch.step) % self.steps;
        if round_step == 0 && batch.step > 0 {
            state.constants.iter_mut().for_each(|constant| *constant = constant.next());
            state.adam = Adam::new(&state.start);
            if !self.warm_start {
                state.position = state.start.clone();
            }
        }
        let images = if self.varies_codes {
            victim.parametrisation()?.images(state.position.clone())?
        } else {
            (state.position.clone().tanh() + 1.0) / 2.0
        };
        let mut derive = |row: usize, logits: &[f32], derivatives: &mut [f32]| {
            let (class, sign) = batch.aim(row);
            if sign * margin(logits, class) + self.confidence > 0.0 {
                let slope = sign * state.constants[row].value;
                derivatives[class as usize] = slope;
                derivatives[strongest_rival(logits, class as usize)] = -slope;
            }
        };
        let (logits, gradient) = victim.gradient_of_logits(batch, &images, &mut derive, Role::Iterate)?;
        let change = images.clone() - batch.images.clone();
        let found = self.found(batch, &logits);
        state.nearest.offer(&images, &sizes(Norm::L2, change.clone())?, &found);
        for (constant, found) in state.constants.iter_mut().zip(found) {
            constant.found |= found;
        }
        let gradient = change * 2.0 + gradient;
        let gradient = if self.varies_codes {
            victim.parametrisation()?.pull(state.position.clone(), gradient)?
        } else {
            gradient * (images.clone() * (images.neg() + 1.0) * 2.0)
        };
        let step = state.adam.step(gradient, round_step);
        state.position = state.position.clone() - step * self.learning_rate;
        Ok(())
    }

    fn iterates(&self, _: &Batch, state: &Search) -> Tensor<4> {
        state.nearest.images()
    }
}

impl CarliniWagner {
    /// Which rows fulfil the goal with the confidence.
    fn found(&self, batch: &Batch, logits: &Logits) -> Vec<bool> {
        let confident = |(row, logits): (usize, &[f32])| match batch.goal {
            Goal::Targeted => margin(logits, batch.aim(row).0) >= self.confidence,
            Goal::Untargeted | Goal::TargetedMisclassify => -margin(logits, batch.labels[row]) >= self.confidence,
        };
        let confident = logits.rows().enumerate().map(confident);
        adversarial(batch, logits).into_iter().zip(confident).map(|(reached, confident)| reached && confident).collect()
    }
}

inventory::submit! {
    AttackEntry {
        component: Component {
            id: "cw",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("cw.rs"),
            parameters: &[
                Parameter {
                    name: "search-steps",
                    kind: ParameterKind::Count { minimum: 1, maximum: 1000 },
                    unit: "constants",
                    fallback: Fallback::Value("9"),
                    documentation: "How many constants are tried.",
                },
                Parameter {
                    documentation: "How many gradient steps are made with each constant.",
                    ..steps("1000")
                },
                Parameter {
                    name: "learning-rate",
                    kind: ParameterKind::Number { minimum: 0.0, maximum: 1e3 },
                    unit: "inverse hyperbolic tangents, or codes",
                    fallback: Fallback::Value("0.01"),
                    documentation: "The step size of Adam.",
                },
                Parameter {
                    name: "initial-constant",
                    kind: ParameterKind::Number { minimum: 1e-10, maximum: 1e10 },
                    unit: "squared distance per logit",
                    fallback: Fallback::Value("0.001"),
                    documentation: "The first weight of the margin against the squared distance.",
                },
                Parameter {
                    name: "confidence",
                    kind: ParameterKind::Number { minimum: 0.0, maximum: 1e6 },
                    unit: "logits",
                    fallback: Fallback::Value("0"),
                    documentation: "By how much the margin is pushed past the boundary.",
                },
                Parameter {
                    name: "warm-start",
                    kind: ParameterKind::Flag,
                    unit: "",
                    fallback: Fallback::Value("false"),
                    documentation: "Whether a round starts where the one before ended, instead of at the clean image.",
                },
                VARIABLES,
            ],
            example: "search-steps = 2\nsteps = 20\ninitial-constant = 1.0",
            traits: Traits::Attack(AttackTraits {
                access: Access::Gradients,
                surrogates: Surrogates::Transfer,
                norms: &[Norm::L2],
                goals: &Goal::ALL,
                minimises_distance: true,
                cost: &|values| Ok(Cost::gradient(values.count("search-steps") * values.count("steps"))),
            }),
        },
        #[expect(clippy::cast_possible_truncation, reason = "constants are single precision on every device")]
        build: &|values, _| Ok(Box::new(CarliniWagner {
            search_steps: values.count("search-steps"),
            steps: values.count("steps"),
            learning_rate: values.number("learning-rate"),
            initial_constant: values.number("initial-constant") as f32,
            confidence: values.number("confidence") as f32,
            warm_start: values.flag("warm-start"),
            varies_codes: values.text(VARIABLES.name) == "codes",
        })),
    }
}
