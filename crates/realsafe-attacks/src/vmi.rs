//! Variance-tuned momentum method (VMI-FGSM): momentum steps along gradients corrected by those of neighbours.
//!
//! ## What it does
//! At each step it takes the gradient `g` at the iterate, and adds to it the variance `v` of the step before. The sum goes into
//! the momentum of `mim`: `m ← decay · m + (g + v) / ‖g + v‖₁`, with steps along the sign (linf) or the unit vector (l2) of `m`, from
//! the clean image. Then `v ←` the mean gradient of `neighbours` random points around the iterate, less `g`. These
//! are uniform in the cube (linf) or drawn as the starts of `pgd` in the ball (l2) of radius `neighbourhood · eps`, and not
//! clipped. `v` is zero at first, and after the last step, which nothing follows, it is not computed.
//!
//! ## Threat model
//! White-box gradients, or transfer from surrogates; linf and l2; untargeted, targeted and targeted-misclassify.
//!
//! ## Cost
//! `neighbours + 1` forward and backward passes per step and sample, but one at the last step.
//!
//! ## References
//! Wang, He: Enhancing the Transferability of Adversarial Attacks through Variance Tuning, CVPR 2021 (arXiv:2103.15571).

use burn::tensor::Tensor;
use realsafe_core::random::Purpose;
use realsafe_core::{Attack, AttackEntry, Batch, Gradients, Role, Stop, fill_ball, inventory, state};
use realsafe_plan::{Component, Cost, Fallback, Origin, Parameter, ParameterKind};

use crate::shared::ascent::{LOSS, STEP_SIZE, iterative, step_size_relative, steps};
use crate::shared::momentum::{DECAY, Momentum, Walk};

struct Vmi {
    momentum: Momentum,
    neighbours: u64,
    neighbourhood: f32,
}

state! {
    struct Tuned {
        walk: Walk,
        variance: Tensor<4>,
    }
}

impl Vmi {
    /// The sum of the gradients of the neighbours.
    fn around(&self, victim: &mut dyn Gradients, batch: &Batch, images: &Tensor<4>) -> Result<Tensor<4>, Stop> {
        let mut streams: Vec<_> = (0..batch.len()).map(|row| batch.stream(row, Purpose::Step)).collect();
        let size = batch.shape().iter().product();
        let mut noise = vec![0.0; batch.len() * size];
        let mut sum = batch.images.zeros_like();
        for _ in 0..self.neighbours {
            let rows = noise.chunks_exact_mut(size);
            for ((pixels, random), eps) in rows.zip(&mut streams).zip(&batch.eps) {
                fill_ball(batch.norm, self.neighbourhood * eps, random, pixels);
            }
            let neighbours = images.clone() + batch.upload(noise.clone());
            sum = sum + victim.gradient(batch, &neighbours, &*self.momentum.loss, Role::Probe)?.gradient;
        }
        Ok(sum)
    }
}

impl Attack for Vmi {
    type Door = dyn Gradients;
    type State = Tuned;

    fn steps(&self) -> u32 {
        self.momentum.steps()
    }

    fn step_cost(&self) -> Cost {
        Cost::gradient(1 + self.neighbours)
    }

    fn next_cost(&self, step: u32, _: &Tuned, _: usize) -> Cost {
        if step + 1 < self.momentum.steps() { self.step_cost() } else { Cost::gradient(1) }
    }

    fn start(&self, _: &mut Self::Door, batch: &Batch) -> Result<Tuned, Stop> {
        Ok(Tuned { walk: Walk::start(batch), variance: batch.images.zeros_like() })
    }

    fn step(&self, victim: &mut Self::Door, batch: &Batch, state: &mut Tuned) -> Result<(), Stop> {
        let images = state.walk.images().clone();
        let gradient = victim.gradient(batch, &images, &*self.momentum.loss, Role::Iterate)?.gradient;
        self.momentum.advance(batch, &mut state.walk, gradient.clone() + state.variance.clone())?;
        if batch.step + 1 < self.momentum.steps() {
            state.variance = self.around(victim, batch, &images)? / self.neighbours as f64 - gradient;
        }
        Ok(())
    }

    fn iterates(&self, _: &Batch, state: &Tuned) -> Tensor<4> {
        state.walk.images().clone()
    }
}

inventory::submit! {
    AttackEntry {
        component: Component {
            id: "vmi",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("vmi.rs"),
            parameters: &[
                steps("10"),
                STEP_SIZE,
                step_size_relative("1"),
                DECAY,
                Parameter {
                    name: "neighbours",
                    kind: ParameterKind::Count { minimum: 1, maximum: 10_000 },
                    unit: "gradients per step",
                    fallback: Fallback::Value("20"),
                    documentation: "How many points around the iterate give the variance.",
                },
                Parameter {
                    name: "neighbourhood",
                    kind: ParameterKind::Number { minimum: 0.0, maximum: 100.0 },
                    unit: "eps",
                    fallback: Fallback::Value("1.5"),
                    documentation: "How far around the iterate they lie: the paper's beta.",
                },
                LOSS,
            ],
            example: "steps = 5\nneighbours = 5\nneighbourhood = 1.5",
            traits: iterative(&|values| {
                let (steps, neighbours) = (values.count("steps"), values.count("neighbours"));
                Ok(Cost::gradient(steps + (steps - 1) * neighbours))
            }),
        },
        build: &|values, context| Ok(Box::new(Vmi {
            momentum: Momentum::from(values, context)?,
            neighbours: values.count("neighbours"),
            neighbourhood: values.number("neighbourhood") as f32,
        })),
    }
}
