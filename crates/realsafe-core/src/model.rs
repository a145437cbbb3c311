//! Networks as attacks and defenses see them.

use std::sync::Arc;

use burn::tensor::Tensor;
use realsafe_plan::Norm;

use crate::mixture::{mixture, pull_mixture};
use crate::{Certifier, Draws, Stop};

/// A classifier over images `[n, channels, height, width]` with pixels in `[0, 1]`, giving logits `[n, classes]`.
///
/// Normalisation is the model's own business. A model is in evaluation state: it never changes, and rows do not
/// influence each other. Where a model is random, a row's numbers come from its own stream of the draws, and the same draws
/// give the same logits.
pub trait Model: Send + Sync {
    /// The logits `[n, classes]` of images `[n, channels, height, width]`.
    ///
    /// # Errors
    /// What failed, where the model is not part of the program.
    fn logits(&self, images: Tensor<4>, draws: &Draws) -> Result<Tensor<2>, Stop>;

    /// The logits of images, with what is needed to go back. By default [`Model::logits`] is called with images on
    /// autodiff, and gives logits that are, too.
    ///
    /// # Errors
    /// What failed, where the model is not part of the program.
    fn forward(&self, images: Tensor<4>, draws: &Draws) -> Result<Tape, Stop> {
        let leaf = images.autodiff().require_grad();
        let logits = self.logits(leaf.clone(), draws)?;
        let values = logits.clone().inner();
        Ok(Tape::new(values, move |cotangents| {
            let mut gradients = (logits * cotangents).sum().backward();
            Ok(leaf.grad_remove(&mut gradients).unwrap_or_else(|| leaf.inner().zeros_like()))
        }))
    }

    /// How many passes through a network an answer is made of.
    fn passes(&self) -> u64 {
        1
    }

    /// Whether it may reject images: then there is one more logit, the last one, which exceeds all others for images that are
    /// rejected. Nothing but the driver and the oracle deals with that.
    fn rejects(&self) -> bool {
        false
    }

    /// What proves that no image near one is misclassified, by distance in the norm; none where the model has no proofs in it.
    fn certifier(&self, _norm: Norm) -> Option<&dyn Certifier> {
        None
    }

    /// The same network, whose backward pass multiplies the gradient through each residual branch by `decay`; none where it
    /// has no residual branches.
    fn with_residual_decay(&self, _decay: f64) -> Option<Arc<dyn Model>> {
        None
    }
}

/// A forward pass that can be gone back once.
pub struct Tape {
    /// The logits `[n, classes]`, off autodiff.
    pub logits: Tensor<2>,
    pull: Pull,
}

type Pull = Box<dyn FnOnce(Tensor<2>) -> Result<Tensor<4>, Stop> + Send>;

impl Tape {
    /// A tape of logits and the way back: from cotangents `[n, classes]` to the gradient of their product with the
    /// logits with respect to the images.
    pub fn new(logits: Tensor<2>, pull: impl FnOnce(Tensor<2>) -> Result<Tensor<4>, Stop> + Send + 'static) -> Self {
        Self { logits, pull: Box::new(pull) }
    }

    /// Several tapes of one batch of images as that of the logarithm of the mean of their softmax outputs.
    ///
    /// # Panics
    /// Where there is no tape.
    pub fn mixture(tapes: Vec<Self>) -> Self {
        let logits: Vec<Tensor<2>> = tapes.iter().map(|tape| tape.logits.clone()).collect();
        let together = mixture(&logits);
        Self::new(together.clone(), move |cotangents| {
            let count = tapes.len();
            let pull = |tape: Self| {
                let own = pull_mixture(&tape.logits, &together, &cotangents, count);
                tape.pull(own)
            };
            let pulled = tapes.into_iter().map(pull).reduce(|sum, part| Ok(sum? + part?));
            pulled.expect("a mixture has parts")
        })
    }

    /// The gradient `[n, channels, height, width]` of the product of logits and cotangents `[n, classes]`.
    ///
    /// # Errors
    /// What failed, where model or defenses are not part of the program.
    pub fn pull(self, cotangents: Tensor<2>) -> Result<Tensor<4>, Stop> {
        (self.pull)(cotangents)
    }

    /// A tape that goes on before this one, at images that were changed into this one's.
    pub(crate) fn then(self, back: impl FnOnce(Tensor<4>) -> Result<Tensor<4>, Stop> + Send + 'static) -> Self {
        let Self { logits, pull } = self;
        Self::new(logits, move |cotangents| back(pull(cotangents)?))
    }
}
