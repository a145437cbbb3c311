//! Defenses that stand in front of a model, image in, image out.

use std::sync::Arc;

use burn::tensor::Tensor;
use realsafe_plan::GradientMode;

use crate::{Draws, Model, Stop, Tape};

/// A step in front of a model: images `[n, channels, height, width]` in `[0, 1]` to what a model takes, of the shape that
/// [`DefenseTraits`](realsafe_plan::DefenseTraits) say.
///
/// Rows do not influence each other. Where a defense is random, a row's numbers come from its own stream of the draws, and
/// the same draws give the same images.
pub trait Defense: Send + Sync {
    /// What the model gets to see. Called on plain tensors only, unless [`Defense::backward`] is left as it is.
    ///
    /// # Errors
    /// What failed, where the defense is not part of the program.
    fn forward(&self, images: Tensor<4>, draws: &Draws) -> Result<Tensor<4>, Stop>;

    /// The vector-Jacobian product of [`Defense::forward`] at `images`, with the same draws: by default from its own autodiff.
    ///
    /// # Errors
    /// What failed, where the defense is not part of the program.
    fn backward(&self, images: Tensor<4>, cotangent: Tensor<4>, draws: &Draws) -> Result<Tensor<4>, Stop> {
        pull(images, cotangent, |images| self.forward(images, draws))
    }

    /// A function close to [`Defense::forward`] whose autodiff gives the gradient [`GradientMode::Smooth`]; only asked of
    /// defenses that offer it.
    ///
    /// # Errors
    /// What failed, where the defense is not part of the program.
    fn smooth(&self, images: Tensor<4>, draws: &Draws) -> Result<Tensor<4>, Stop> {
        self.forward(images, draws)
    }
}

/// The vector-Jacobian product of a function at `images`, from its autodiff.
fn pull(
    images: Tensor<4>,
    cotangent: Tensor<4>,
    function: impl FnOnce(Tensor<4>) -> Result<Tensor<4>, Stop>,
) -> Result<Tensor<4>, Stop> {
    let leaf = images.clone().autodiff().require_grad();
    let output = function(leaf.clone())?;
    if !output.is_tracked() {
        return Ok(images.zeros_like());
    }
    let mut gradients = (output * cotangent).sum().backward();
    Ok(leaf.grad_remove(&mut gradients).unwrap_or_else(|| images.zeros_like()))
}

/// A model behind a stack of defenses, outermost first, each with the gradient that the attacker is given.
#[derive(Clone)]
pub struct DefendedModel {
    model: Arc<dyn Model>,
    stack: Vec<(Arc<dyn Defense>, GradientMode)>,
}

impl DefendedModel {
    /// Puts a stack of defenses in front of a model.
    pub fn new(model: Arc<dyn Model>, stack: Vec<(Arc<dyn Defense>, GradientMode)>) -> Self {
        Self { model, stack }
    }

    /// How many passes through a network an answer is made of.
    pub(crate) fn passes(&self) -> u64 {
        self.model.passes()
    }

    /// The same model with [`Model::with_residual_decay`] behind the same defenses.
    pub fn with_residual_decay(&self, decay: f64) -> Option<Self> {
        Some(Self { model: self.model.with_residual_decay(decay)?, stack: self.stack.clone() })
    }

    /// The logits `[n, classes]` of images, without a tape.
    ///
    /// # Errors
    /// What failed, where model or defenses are not part of the program.
    pub fn logits(&self, images: Tensor<4>, draws: &Draws) -> Result<Tensor<2>, Stop> {
        let mut layers = self.stack.iter().enumerate();
        let seen =
            layers.try_fold(images, |images, (layer, (defense, _))| defense.forward(images, &draws.of_layer(layer)))?;
        self.model.logits(seen, &draws.of_layer(self.stack.len()))
    }

    /// The logits of images, with the way back through the model and the gradients that the defenses give.
    ///
    /// # Errors
    /// What failed, where model or defenses are not part of the program.
    pub fn forward(&self, images: Tensor<4>, draws: &Draws) -> Result<Tape, Stop> {
        let mut inputs = Vec::with_capacity(self.stack.len());
        let mut seen = images;
        for (layer, (defense, _)) in self.stack.iter().enumerate() {
            let draws = draws.of_layer(layer);
            inputs.push((seen.clone(), draws.clone()));
            seen = defense.forward(seen, &draws)?;
        }
        let tape = self.model.forward(seen, &draws.of_layer(self.stack.len()))?;
        if self.stack.is_empty() {
            return Ok(tape);
        }
        let layers: Vec<_> = self.stack.iter().cloned().zip(inputs).rev().collect();
        Ok(tape.then(move |gradient| {
            layers.into_iter().try_fold(gradient, |gradient, ((defense, mode), (input, draws))| match mode {
                GradientMode::Exact => defense.backward(input, gradient, &draws),
                GradientMode::Smooth => pull(input, gradient, |images| defense.smooth(images, &draws)),
                GradientMode::Identity => Ok(gradient),
                GradientMode::Blocked => Ok(input.zeros_like()),
            })
        }))
    }
}
