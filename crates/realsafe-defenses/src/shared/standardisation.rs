//! What standardisations of images have in common.

use burn::tensor::Tensor;
use realsafe_plan::{Fallback, Parameter, ParameterKind};

/// The scale of pixels.
pub(crate) const WHITE: Parameter = Parameter {
    name: "white",
    kind: ParameterKind::Number { minimum: 1e-3, maximum: 1e6 },
    unit: "",
    fallback: Fallback::Value("1"),
    documentation: "What the pixel value 1 counts as: 1, or 255 for networks of such pixels.",
};

/// Rows `[n, pixels]` of images without their means.
pub(crate) fn centred(images: Tensor<4>) -> Tensor<2> {
    let rows: Tensor<2> = images.flatten(1, 3);
    let mean = rows.clone().mean_dim(1);
    rows - mean
}

/// Rows `[n, pixels]` as the images that they are.
pub(crate) fn images(rows: Tensor<2>, dims: [usize; 4]) -> Tensor<4> {
    rows.reshape(dims)
}
