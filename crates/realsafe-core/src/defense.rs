//! Defenses that stand in front of a model, image in, image out.

use std::sync::Arc;

use burn::tensor::Tensor;
use realsafe_plan::GradientMode;

use crate::Model;

/// A step in front of a model: images `[n, channels, height, width]` in `[0, 1]` to images.
///
/// Rows do not influence each other.
pub trait Defense: Send + Sync {
    /// What the model gets to see. Called on plain tensors only, unless [`Defense::backward`] is left as it is.
    fn forward(&self, images: Tensor<4>) -> Tensor<4>;

    /// The vector-Jacobian product of [`Defense::forward`] at `images`: by default from its own autodiff.
    fn backward(&self, images: Tensor<4>, cotangent: Tensor<4>) -> Tensor<4> {
        let leaf = images.autodiff().require_grad();
        let output = self.forward(leaf.clone());
        if !output.is_tracked() {
            return cotangent.zeros_like();
        }
        let mut gradients = (output * cotangent.clone()).sum().backward();
        leaf.grad_remove(&mut gradients).unwrap_or_else(|| cotangent.zeros_like())
    }
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

    /// The logits `[n, classes]` of images, without a tape.
    pub fn logits(&self, images: Tensor<4>) -> Tensor<2> {
        self.model.logits(self.stack.iter().fold(images, |images, (defense, _)| defense.forward(images)))
    }

    /// The logits of images, and the gradient with respect to the images of their product with a cotangent
    /// `[n, classes]`, which is computed from the logits while the tape is open.
    ///
    /// # Errors
    /// Whatever `cotangent` reports.
    pub fn gradient<E>(
        &self,
        images: Tensor<4>,
        cotangent: impl FnOnce(Tensor<2>) -> Result<Tensor<2>, E>,
    ) -> Result<Tensor<4>, E> {
        let mut inputs = Vec::with_capacity(self.stack.len());
        let mut seen = images;
        for (defense, _) in &self.stack {
            inputs.push(seen.clone());
            seen = defense.forward(seen);
        }
        let leaf = seen.autodiff().require_grad();
        let logits = self.model.logits(leaf.clone());
        let cotangent = cotangent(logits.clone().inner())?;
        let mut gradients = (logits * cotangent).sum().backward();
        let gradient = leaf.grad_remove(&mut gradients).unwrap_or_else(|| leaf.inner().zeros_like());
        Ok(self.stack.iter().zip(inputs).rev().fold(gradient, |gradient, ((defense, mode), input)| match mode {
            GradientMode::Exact => defense.backward(input, gradient),
            GradientMode::Identity => gradient,
            GradientMode::Blocked => gradient.zeros_like(),
        }))
    }
}
