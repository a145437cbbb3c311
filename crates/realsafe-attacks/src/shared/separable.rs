//! Linear maps of images that treat rows and columns apart, and their transposes.

use burn::tensor::{Device, Tensor, TensorData};
use realsafe_core::product;

/// `image ↦ left · image · rightᵀ` for every channel, with matrices `[n or 1, 1, side, side]`.
pub(crate) struct Separable {
    left: Tensor<4>,
    right: Tensor<4>,
}

impl Separable {
    /// From the matrices of all rows of a batch, or of one that is meant for all.
    pub(crate) fn new(left: Vec<f32>, right: Vec<f32>, [height, width]: [usize; 2], device: &Device) -> Self {
        let upload = |matrices: Vec<f32>, side: usize| {
            let count = matrices.len() / (side * side);
            Tensor::from_data(TensorData::new(matrices, [count, 1, side, side]), device)
        };
        Self { left: upload(left, height), right: upload(right, width) }
    }

    /// The convolution with a Gaussian kernel of `size` by `size` pixels whose sum is one, with zeros around the image.
    pub(crate) fn gaussian(size: usize, sigma: f64, [height, width]: [usize; 2], device: &Device) -> Self {
        let radius = size / 2;
        let weight = |distance: usize| (-0.5 * (distance as f64 / sigma).powi(2)).exp();
        let total: f64 = (0..size).map(|at| weight(at.abs_diff(radius))).sum();
        let entry = |distance: usize| if distance > radius { 0.0 } else { (weight(distance) / total) as f32 };
        let matrix =
            |side: usize| (0..side).flat_map(|row| (0..side).map(move |column| entry(row.abs_diff(column)))).collect();
        Self::new(matrix(height), matrix(width), [height, width], device)
    }

    /// The mapped images.
    pub(crate) fn apply(&self, images: Tensor<4>) -> Tensor<4> {
        product(product(self.left.clone(), images), self.right.clone().transpose())
    }

    /// The transposed map, which carries gradients back.
    pub(crate) fn transposed(&self, gradient: Tensor<4>) -> Tensor<4> {
        product(product(self.left.clone().transpose(), gradient), self.right.clone())
    }
}
