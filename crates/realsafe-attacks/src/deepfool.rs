//! DeepFool (linf and l2): steps to the nearest boundary of the model made linear.
//!
//! ## What it does
//! Starts at the clean image and stops for good at the first image that is not predicted as the label. A step takes, for each
//! class among the most likely ones, the difference of its logit and the label's and the gradient of that difference, and goes
//! 1 + overshoot times the distance to the nearest of these linear boundaries: the difference over the l2 norm of the gradient
//! along its unit vector for l2, over the l1 norm along its sign for linf. Then it clips to the box.
//!
//! Differences to other implementations: RealSafe divides by the l2 norm for linf, too, which makes steps too long and chooses
//! other classes. Foolbox and the authors' program start from the predicted class instead of the label, and add overshoot
//! to the whole change instead of each step. AdvLib and the authors' program add 0.0001 to every distance, which is more than some
//! distances are; here a step is at least as long as it must be for single-precision pixels to change.
//!
//! ## Threat model
//! White-box gradients; linf and l2; untargeted. It minimises the distance: one run serves every eps.
//!
//! ## Cost
//! Per step, candidates − 1 forward and backward passes, at most one less than there are classes; one in the step that finds
//! the sample adversarial, none after it. The image after the last step is not looked at.
//!
//! ## References
//! Moosavi-Dezfooli, Fawzi, Frossard: DeepFool: A Simple and Accurate Method to Fool Deep Neural Networks, CVPR 2016
//! (arXiv:1511.04599).

use burn::tensor::Tensor;
use realsafe_core::projection::{per_row, steepest};
use realsafe_core::{
    Attack, AttackEntry, Batch, Gradients, Role, Rows, Select, Stop, inventory, state, strongest_rival,
};
use realsafe_plan::{
    Access, AttackTraits, Component, Cost, Fallback, Goal, Norm, Origin, Parameter, ParameterKind, Surrogates, Traits,
};

use crate::shared::ascent::steps;
use crate::shared::nearest::{adversarial, dual, rounding, sizes};

struct DeepFool {
    steps: u64,
    overshoot: f32,
    /// How many classes beside the label are looked at.
    rivals: usize,
}

state! {
    struct Path {
        images: Tensor<4>,
        /// Whether an adversarial has been reached.
        arrived: Vec<bool>,
    }
}

impl Attack for DeepFool {
    type Door = dyn Gradients;
    type State = Path;

    fn steps(&self) -> u32 {
        u32::try_from(self.steps).unwrap_or(u32::MAX)
    }

    fn step_cost(&self) -> Cost {
        Cost::gradient(self.rivals as u64)
    }

    fn start(&self, _: &mut Self::Door, batch: &Batch) -> Result<Path, Stop> {
        Ok(Path { images: batch.images.clone(), arrived: vec![false; batch.len()] })
    }

    fn step(&self, victim: &mut Self::Door, batch: &Batch, state: &mut Path) -> Result<(), Stop> {
        let device = batch.device();
        let asked: Vec<usize> = (0..batch.len()).filter(|&row| !state.arrived[row]).collect();
        if asked.is_empty() {
            return Ok(());
        }
        // The strongest rival alone tells who has arrived, so that the others are asked about only where they matter.
        let rows = Rows::new(asked.clone(), &device);
        let (part, images) = (batch.choose(&rows), state.images.choose(&rows));
        let mut derive = |row: usize, logits: &[f32], derivatives: &mut [f32]| {
            let label = part.labels[row] as usize;
            (derivatives[strongest_rival(logits, label)], derivatives[label]) = (1.0, -1.0);
        };
        let (logits, first) = victim.gradient_of_logits(&part, &images, &mut derive, Role::Iterate)?;
        for (&row, arrived) in asked.iter().zip(adversarial(&part, &logits)) {
            state.arrived[row] = arrived;
        }
        let going: Vec<usize> = (0..asked.len()).filter(|&row| !state.arrived[asked[row]]).collect();
        if going.is_empty() {
            return Ok(());
        }
        let logits: Vec<&[f32]> = logits.rows().collect();
        let rivals: Vec<Vec<usize>> =
            going.iter().map(|&row| self.rivals_of(logits[row], part.labels[row] as usize)).collect();
        // One row per sample and further rival.
        let further: Vec<(usize, usize)> = going
            .iter()
            .zip(&rivals)
            .flat_map(|(&row, rivals)| rivals[1..].iter().map(move |&rival| (row, rival)))
            .collect();
        let mut gradients = first;
        if !further.is_empty() {
            let rows = Rows::new(further.iter().map(|(row, _)| *row).collect(), &device);
            let (repeated, images) = (part.choose(&rows), images.choose(&rows));
            let mut derive = |at: usize, _: &[f32], derivatives: &mut [f32]| {
                (derivatives[further[at].1], derivatives[repeated.labels[at] as usize]) = (1.0, -1.0);
            };
            let (_, more) = victim.gradient_of_logits(&repeated, &images, &mut derive, Role::Iterate)?;
            gradients = Tensor::cat(vec![gradients, more], 0);
        }
        let slopes = sizes(dual(batch.norm), gradients.clone())?;
        let mut chosen = Vec::new();
        let mut lengths = Vec::new();
        for (at, (&row, rivals)) in going.iter().zip(&rivals).enumerate() {
            let place = |rank: usize| if rank == 0 { row } else { asked.len() + at * (rivals.len() - 1) + rank - 1 };
            let distance = |rank: usize| {
                let difference = logits[row][part.labels[row] as usize] - logits[row][rivals[rank]];
                difference.max(0.0) / slopes[place(rank)]
            };
            // A class whose boundary has no direction gives infinity or NaN, and is nobody's nearest.
            let finite =
                (0..rivals.len()).map(|rank| (distance(rank), rank)).filter(|(distance, _)| distance.is_finite());
            let nearest = finite.min_by(|a, b| a.0.total_cmp(&b.0));
            chosen.push(place(nearest.map_or(0, |(_, rank)| rank)));
            lengths.push(nearest.map_or(0.0, |(distance, _)| (distance * (1.0 + self.overshoot)).max(rounding(batch))));
        }
        let directions = steepest(batch.norm, gradients.choose(&Rows::new(chosen, &device)));
        let from = images.choose(&Rows::new(going.clone(), &device));
        let moved = (from + directions * per_row(&lengths, &batch.images)).clamp(0.0, 1.0);
        let mut places: Vec<usize> = (0..batch.len()).collect();
        for (at, row) in going.into_iter().enumerate() {
            places[asked[row]] = batch.len() + at;
        }
        state.images = Tensor::cat(vec![state.images.clone(), moved], 0).choose(&Rows::new(places, &device));
        Ok(())
    }

    fn iterates(&self, _: &Batch, state: &Path) -> Tensor<4> {
        state.images.clone()
    }
}

impl DeepFool {
    /// The most likely classes beside the label, first of all the likeliest.
    fn rivals_of(&self, logits: &[f32], label: usize) -> Vec<usize> {
        let mut rivals: Vec<usize> = (0..logits.len()).filter(|class| *class != label).collect();
        rivals.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
        rivals.truncate(self.rivals);
        rivals
    }
}

inventory::submit! {
    AttackEntry {
        component: Component {
            id: "deepfool",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("deepfool.rs"),
            parameters: &[
                Parameter { unit: "steps", documentation: "How many steps are made at most.", ..steps("50") },
                Parameter {
                    name: "overshoot",
                    kind: ParameterKind::Number { minimum: 0.0, maximum: 100.0 },
                    unit: "share of the step",
                    fallback: Fallback::Value("0.02"),
                    documentation: "How far beyond the boundary of the linear model a step goes.",
                },
                Parameter {
                    name: "candidates",
                    kind: ParameterKind::Count { minimum: 2, maximum: 100_000 },
                    unit: "classes",
                    fallback: Fallback::Value("10"),
                    documentation: "How many of the most likely classes are looked at, the label among them.",
                },
            ],
            example: "steps = 50\novershoot = 0.02",
            traits: Traits::Attack(AttackTraits {
                access: Access::Gradients,
                surrogates: Surrogates::Transfer,
                norms: &Norm::DENSE,
                goals: &[Goal::Untargeted],
                minimises_distance: true,
                cost: &|values| Ok(Cost::gradient(values.count("steps") * (values.count("candidates") - 1))),
            }),
        },
        build: &|values, context| Ok(Box::new(DeepFool {
            steps: values.count("steps"),
            overshoot: values.number("overshoot") as f32,
            rivals: (values.count("candidates") as usize).min(context.classes) - 1,
        })),
    }
}
