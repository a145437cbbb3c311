//! PGD adversarial training (PGD-AT): the network only ever sees images that PGD has perturbed against it.
//!
//! ## What it does
//! For each batch, `steps` steps `x ← project(x + step-size · direction)` raise the cross-entropy of the label, where
//! the direction is the sign of the gradient (linf) or the unit vector along it (l2), and the projection is onto the
//! ball of radius `eps` around the clean image and onto the box `[0, 1]`. The update then lowers the mean cross-entropy
//! of the results. With `random-start` the first point is uniform in the cube (linf), or a Gaussian direction times a
//! uniform radius (l2), drawn anew in every epoch. Clean images are not shown. The training accuracy is that on the
//! adversarial images, each batch before its update.
//!
//! Adversarial images are made against the network in evaluation state: batch norm uses its running statistics and
//! does not change them, dropout is off. The update is in training state, as usual.
//!
//! ## Cost
//! `steps` + 1 times that of standard training.
//!
//! ## Reference
//! Madry, Makelov, Schmidt, Tsipras, Vladu: Towards Deep Learning Models Resistant to Adversarial Attacks, ICLR 2018
//! (arXiv:1706.06083).

use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};
use realsafe_core::projection::{per_row, project, steepest};
use realsafe_core::{
    CrossEntropy, DefendedModel, Draws, Logits, Loss, Model, Objective, Recipe, RecipeEntry, Stop, Trainable,
    TrainingBatch, fill_ball, inventory,
};
use realsafe_plan::{Component, Fallback, Norm, Origin, Parameter, ParameterKind, Traits, Values};

use super::standard::cross_entropy;
use crate::parameters::{
    BATCH_SIZE, DECAY, EPOCHS, LEARNING_RATE, MILESTONES, MOMENTUM, OPTIMIZER, SCHEDULE, WEIGHT_DECAY,
};

/// The recipe with its parameters.
pub(crate) struct PgdTraining {
    pub(crate) norm: Norm,
    pub(crate) eps: f32,
    pub(crate) steps: u64,
    pub(crate) step_size: f32,
    pub(crate) random_start: bool,
}

impl PgdTraining {
    #[expect(clippy::cast_possible_truncation, reason = "radii and step sizes are single precision on every device")]
    fn from(values: &Values) -> Self {
        Self {
            norm: if values.text("norm") == Norm::L2.name() { Norm::L2 } else { Norm::Linf },
            eps: values.number("eps") as f32,
            steps: values.count("steps"),
            step_size: values.number("step-size") as f32,
            random_start: values.flag("random-start"),
        }
    }

    /// Adversarial images for a batch, against a model that does not change meanwhile.
    pub(crate) fn adversarials(&self, model: Arc<dyn Model>, batch: &TrainingBatch) -> Result<Tensor<4>, Stop> {
        let victim = DefendedModel::new(model, Vec::new());
        let eps = per_row(&vec![self.eps; batch.labels.len()], &batch.images);
        let mut images = batch.images.clone();
        if self.random_start {
            images = project(self.norm, images + self.noise(batch), &batch.images, &eps)?;
        }
        for _ in 0..self.steps {
            let gradient = gradient(&victim, images.clone(), &batch.labels)?;
            let moved = images + steepest(self.norm, gradient) * self.step_size;
            images = project(self.norm, moved, &batch.images, &eps)?;
        }
        Ok(images)
    }

    /// A point of the ball for every row, from the row's own stream.
    fn noise(&self, batch: &TrainingBatch) -> Tensor<4> {
        let dims = batch.images.dims();
        let mut values = vec![0.0; dims.iter().product()];
        for (row, pixels) in values.chunks_exact_mut(dims[1..].iter().product()).enumerate() {
            let mut random = batch.stream(row);
            fill_ball(self.norm, self.eps, &mut random, pixels);
        }
        Tensor::from_data(TensorData::new(values, dims), &batch.images.device())
    }
}

/// The gradient of each row's cross-entropy with respect to its image.
fn gradient(victim: &DefendedModel, images: Tensor<4>, labels: &[u32]) -> Result<Tensor<4>, Stop> {
    let none = Draws::none(images.dims()[0]);
    let tape = victim.forward(images, &none)?;
    let (dims, device) = (tape.logits.dims(), tape.logits.device());
    let mut derivatives = vec![0.0; dims[0] * dims[1]];
    let logits = Logits::read(tape.logits.clone())?;
    CrossEntropy.evaluate(&logits, labels, &vec![None; labels.len()], &mut derivatives)?;
    tape.pull(Tensor::from_data(TensorData::new(derivatives, dims), &device))
}

impl Recipe for PgdTraining {
    fn objective(&self, network: &dyn Trainable, batch: &TrainingBatch) -> Result<Objective, Stop> {
        Ok(cross_entropy(network, self.adversarials(network.snapshot(), batch)?, batch))
    }
}

inventory::submit! {
    RecipeEntry {
        component: Component {
            id: "pgd-at",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("pgd_at.rs"),
            parameters: &[
                Parameter {
                    name: "norm",
                    kind: ParameterKind::Choice(&[Norm::Linf.name(), Norm::L2.name()]),
                    unit: "",
                    fallback: Fallback::Value("linf"),
                    documentation: "The norm of the ball and of the steps.",
                },
                Parameter {
                    name: "eps",
                    kind: ParameterKind::Number { minimum: 0.0, maximum: 1e6 },
                    unit: "pixel range 0 to 1, in the norm",
                    fallback: Fallback::Required,
                    documentation: "The radius of the ball.",
                },
                Parameter {
                    name: "steps",
                    kind: ParameterKind::Count { minimum: 1, maximum: 100_000 },
                    unit: "gradients",
                    fallback: Fallback::Value("7"),
                    documentation: "How many gradient steps are made on each image.",
                },
                Parameter {
                    name: "step-size",
                    kind: ParameterKind::Number { minimum: 0.0, maximum: 1e6 },
                    unit: "pixel range 0 to 1, in the norm",
                    fallback: Fallback::Required,
                    documentation: "The length of a step.",
                },
                Parameter {
                    name: "random-start",
                    kind: ParameterKind::Flag,
                    unit: "",
                    fallback: Fallback::Value("true"),
                    documentation: "Whether the first point is drawn from the ball, not the clean image.",
                },
                EPOCHS,
                BATCH_SIZE,
                OPTIMIZER,
                LEARNING_RATE,
                MOMENTUM,
                WEIGHT_DECAY,
                SCHEDULE,
                MILESTONES,
                DECAY,
            ],
            example: "eps = \"8/255\"\nsteps = 7\nstep-size = \"2/255\"\nepochs = 10",
            traits: Traits::Recipe,
        },
        build: |values| Box::new(PgdTraining::from(values)),
    }
}
