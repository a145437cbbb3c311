//! Networks that are trained behind defenses: the recipe sees one network, and the weights are those of the inner one.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::{Gradients, Tensor};
use realsafe_core::{
    DefendedModel, Defense, DefenseEntry, Draws, Locations, Model, Stop, Tape, Trainable, TrainingState, inventory,
};
use realsafe_plan::{GradientMode, StackLayer};

use crate::trainer::{TrainingError, not_linked};

/// A network and what is in front of it.
struct Preprocessed {
    stack: Vec<(Arc<dyn Defense>, GradientMode)>,
    network: Box<dyn Trainable>,
}

/// Puts defenses in front of a network, if there are any.
pub(crate) fn preprocessed(
    network: Box<dyn Trainable>,
    layers: &[StackLayer],
    locations: &Locations,
) -> Result<Box<dyn Trainable>, TrainingError> {
    if layers.is_empty() {
        return Ok(network);
    }
    let layer = |StackLayer { defense, gradient }: &StackLayer| {
        let entry = inventory::iter::<DefenseEntry>().find(|entry| entry.component.id == defense.component.id);
        let entry = entry.ok_or_else(|| not_linked(defense))?;
        let built = (entry.build)(&defense.values, locations).map_err(TrainingError::Invalid)?;
        Ok((Arc::from(built), *gradient))
    };
    Ok(Box::new(Preprocessed { stack: layers.iter().map(layer).collect::<Result<_, TrainingError>>()?, network }))
}

impl Preprocessed {
    /// What the network gets to see of images on autodiff.
    fn seen(&self, images: Tensor<4>) -> Tensor<4> {
        self.stack.iter().fold(images, |images, (defense, mode)| see(&**defense, *mode, images))
    }
}

impl Trainable for Preprocessed {
    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.network.forward(self.seen(images))
    }

    fn tells_features(&self) -> bool {
        self.network.tells_features()
    }

    fn features_and_logits(&self, images: Tensor<4>) -> Option<[Tensor<2>; 2]> {
        self.network.features_and_logits(self.seen(images))
    }

    fn has_centres(&self) -> bool {
        self.network.has_centres()
    }

    fn update(&mut self, rate: f64, gradients: Gradients) {
        self.network.update(rate, gradients);
    }

    fn snapshot(&self) -> Arc<dyn Model> {
        Arc::new(Snapshot(DefendedModel::new(self.network.snapshot(), self.stack.clone())))
    }

    fn average(&mut self, decay: f64) {
        self.network.average(decay);
    }

    fn outcome(&self) -> Arc<dyn Model> {
        Arc::new(Snapshot(DefendedModel::new(self.network.outcome(), self.stack.clone())))
    }

    fn save(&self, file: &Path) -> Result<(), String> {
        self.network.save(file)
    }

    fn load(&mut self, file: &Path) -> Result<(), String> {
        self.network.load(file)
    }

    fn state(&self) -> Result<TrainingState, String> {
        self.network.state()
    }

    fn restore(&mut self, state: TrainingState) -> Result<(), String> {
        self.network.restore(state)
    }
}

/// A network in evaluation state behind defenses that draw nothing, as one model.
struct Snapshot(DefendedModel);

impl Model for Snapshot {
    fn logits(&self, images: Tensor<4>, draws: &Draws) -> Result<Tensor<2>, Stop> {
        self.0.logits(images, draws)
    }

    fn forward(&self, images: Tensor<4>, draws: &Draws) -> Result<Tape, Stop> {
        self.0.forward(images, draws)
    }
}

/// What the network gets to see of images on autodiff, with the gradient of the mode where they are tracked.
fn see(defense: &dyn Defense, mode: GradientMode, images: Tensor<4>) -> Tensor<4> {
    let none = Draws::none(images.dims()[0]);
    let sound = "defenses that are part of the program do not fail";
    let seen = defense.forward(images.clone().inner(), &none).expect(sound).autodiff();
    if !images.is_tracked() {
        return seen;
    }
    let stand_in = match mode {
        GradientMode::Exact => defense.forward(images, &none).expect(sound),
        GradientMode::Smooth => defense.smooth(images, &none).expect(sound),
        GradientMode::Identity => images,
        GradientMode::Blocked => return seen,
    };
    seen + (stand_in.clone() - stand_in.detach())
}
