//! Defenses, losses and models that misbehave.

use realsafe_plugin::{About, Defense, Error, Gradient, Loss, Model, Shape, Values};

const fn about(id: &'static str, documentation: &'static str) -> About {
    About { id, revision: 1, documentation, example: "", parameters: &[] }
}

/// That of the dataset `digits`.
const SHAPE: Shape = Shape { channels: 1, height: 8, width: 8, classes: 10 };

pub(crate) struct DefenseCrashes;

impl Defense for DefenseCrashes {
    const ABOUT: About = about("defense-crashes", "Aborts.");
    const GRADIENT: Gradient = Gradient::Identity;
    const DIFFERENTIABLE: bool = false;

    fn create(_: &Values<'_>) -> Result<Self, Error> {
        Ok(Self)
    }

    fn forward(&self, _: &Shape, _: &[f32], _: &mut [f32]) -> Result<(), Error> {
        std::process::abort()
    }
}

pub(crate) struct LossPanics;

impl Loss for LossPanics {
    const ABOUT: About = about("loss-panics", "Panics.");

    fn create(_: &Values<'_>) -> Result<Self, Error> {
        Ok(Self)
    }

    fn evaluate(&self, _: &[f32], label: u32, _: Option<u32>, _: &mut [f32]) -> Result<f32, Error> {
        panic!("a panic about class {label}")
    }
}

pub(crate) struct ModelCrashes;

impl Model for ModelCrashes {
    const ABOUT: About = about("model-crashes", "Aborts.");
    const DIFFERENTIABLE: bool = false;

    fn shape(_: &Values<'_>) -> Result<Shape, Error> {
        Ok(SHAPE)
    }

    fn create(_: &Values<'_>) -> Result<Self, Error> {
        Ok(Self)
    }

    fn logits(&self, _: &[f32], _: &mut [f32]) -> Result<(), Error> {
        std::process::abort()
    }
}

pub(crate) struct ModelNan;

impl Model for ModelNan {
    const ABOUT: About = about("model-nan", "Gives NaN.");
    const DIFFERENTIABLE: bool = true;

    fn shape(_: &Values<'_>) -> Result<Shape, Error> {
        Ok(SHAPE)
    }

    fn create(_: &Values<'_>) -> Result<Self, Error> {
        Ok(Self)
    }

    fn logits(&self, _: &[f32], logits: &mut [f32]) -> Result<(), Error> {
        logits.fill(f32::NAN);
        Ok(())
    }

    fn pull(&self, _: &[f32], _: &[f32], gradients: &mut [f32]) -> Result<(), Error> {
        gradients.fill(f32::NAN);
        Ok(())
    }
}
