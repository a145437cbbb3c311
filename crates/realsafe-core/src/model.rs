//! Networks as attacks and defenses see them.

use burn::tensor::Tensor;

/// A classifier over images `[n, channels, height, width]` with pixels in `[0, 1]`, giving logits `[n, classes]`.
///
/// Normalisation is the model's own business. A model is in evaluation state: it never changes, rows do not
/// influence each other, and the images may be on autodiff (then the logits are, too).
pub trait Model: Send + Sync {
    /// The logits `[n, classes]` of images `[n, channels, height, width]`.
    fn logits(&self, images: Tensor<4>) -> Tensor<2>;
}
