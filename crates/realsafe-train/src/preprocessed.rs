//! Networks that are trained behind defenses: the recipe sees one network, and the weights are those of the inner one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{Device, Gradients, Tensor};
use realsafe_core::{
    DefendedModel, Defense, DefenseEntry, Draws, Locations, Model, Trainable, TrainingState, inventory,
};
use realsafe_plan::{GradientMode, StackLayer, TrainingSpec};

use crate::error::TrainingError;

/// A network and what is in front of it.
struct Preprocessed {
    stack: Vec<(Arc<dyn Defense>, GradientMode)>,
    network: Box<dyn Trainable>,
}

/// Puts the defenses of a spec in front of its network, if there are any; tries them on one image first.
pub(crate) fn preprocessed(
    network: Box<dyn Trainable>,
    spec: &TrainingSpec,
    locations: &Locations,
    device: &Device,
) -> Result<Box<dyn Trainable>, TrainingError> {
    let layers = &spec.defenses;
    if layers.is_empty() {
        return Ok(network);
    }
    let layer = |StackLayer { defense, gradient }: &StackLayer| {
        let entry = inventory::iter::<DefenseEntry>().find(|entry| entry.component.id == defense.component.id);
        let entry = entry.ok_or_else(|| TrainingError::not_linked(defense))?;
        let built = (entry.build)(&defense.values, locations).map_err(TrainingError::Invalid)?;
        Ok((Arc::<dyn Defense>::from(built), *gradient))
    };
    let stack = layers.iter().map(layer).collect::<Result<Vec<_>, TrainingError>>()?;
    let [channels, height, width] = spec.shape;
    let image = Tensor::zeros([1, channels, height, width], device);
    let tried = stack.iter().zip(layers).try_fold(image, |image, ((defense, _), layer)| {
        let seen = defense.forward(image, &Draws::none(1));
        seen.map_err(|error| TrainingError::Invalid(format!("the defense `{}`: {error}", layer.defense.id)))
    });
    tried?;
    Ok(Box::new(Preprocessed { stack, network }))
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

    fn is_random(&self) -> bool {
        self.network.is_random()
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

    fn has_members(&self) -> bool {
        self.network.has_members()
    }

    fn member_logits(&self, images: Tensor<4>) -> Option<Vec<Tensor<2>>> {
        self.network.member_logits(self.seen(images))
    }

    fn update(&mut self, rate: f64, gradients: &mut Gradients) {
        self.network.update(rate, gradients);
    }

    fn snapshot(&self) -> Arc<dyn Model> {
        Arc::new(DefendedModel::new(self.network.snapshot(), self.stack.clone()))
    }

    fn average(&mut self, decay: f64) {
        self.network.average(decay);
    }

    fn outcome(&self) -> Arc<dyn Model> {
        Arc::new(DefendedModel::new(self.network.outcome(), self.stack.clone()))
    }

    fn save(&self, file: &Path) -> Result<Vec<PathBuf>, String> {
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

/// What the network gets to see of images on autodiff, with the gradient of the mode where they are tracked.
fn see(defense: &dyn Defense, mode: GradientMode, images: Tensor<4>) -> Tensor<4> {
    let none = Draws::none(images.dims()[0]);
    let sound = "it was tried before";
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

#[cfg(test)]
mod tests {
    use realsafe_core::Stop;

    use super::*;

    /// Halves in steps of one, or gradually.
    struct Halves;

    impl Defense for Halves {
        fn forward(&self, images: Tensor<4>, _: &Draws) -> Result<Tensor<4>, Stop> {
            Ok((images * 0.5).floor())
        }

        fn smooth(&self, images: Tensor<4>, _: &Draws) -> Result<Tensor<4>, Stop> {
            Ok(images * 0.5)
        }
    }

    #[test]
    fn what_is_seen_is_the_defense_and_the_gradient_is_that_of_the_mode() {
        let seen_and_gradient = |mode| {
            let images = Tensor::<1>::from_floats([1.0, 2.0, 5.0], &Device::flex()).reshape([1, 1, 1, 3]);
            let leaf = images.autodiff().require_grad();
            let seen = see(&Halves, mode, leaf.clone());
            let values: Vec<f32> = seen.clone().inner().into_data().try_into_vec().unwrap();
            assert_eq!(values, [0.0, 1.0, 2.0], "{mode:?}");
            let mut gradients = (seen * 3.0 + leaf.clone() * 0.0).sum().backward();
            leaf.grad_remove(&mut gradients).unwrap().into_data().try_into_vec::<f32>().unwrap()
        };
        assert_eq!(seen_and_gradient(GradientMode::Exact), [0.0; 3]);
        assert_eq!(seen_and_gradient(GradientMode::Smooth), [1.5; 3]);
        assert_eq!(seen_and_gradient(GradientMode::Identity), [3.0; 3]);
        assert_eq!(seen_and_gradient(GradientMode::Blocked), [0.0; 3]);
    }
}
