//! The mean of the probabilities that several logits stand for.

use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;

/// The logarithm `[n, classes]` of the mean of the softmax of several logits `[n, classes]`.
///
/// # Panics
/// Where there are none.
pub fn mixture(parts: &[Tensor<2>]) -> Tensor<2> {
    let logarithms: Vec<Tensor<2>> = parts.iter().map(|part| log_softmax(part.clone(), 1)).collect();
    // The largest is taken out, so that probabilities far below what single precision holds keep their logarithms.
    let largest = logarithms.iter().cloned().reduce(Tensor::max_pair).expect("a mixture has parts").detach();
    let scaled = logarithms.into_iter().map(|part| (part - largest.clone()).exp());
    let sum = scaled.reduce(|sum, part| sum + part).expect("a mixture has parts");
    (sum / parts.len() as f64).log() + largest
}

/// The cotangents of one of `count` parts, from those of the mixture.
pub(crate) fn pull_mixture(part: &Tensor<2>, mixture: &Tensor<2>, cotangents: &Tensor<2>, count: usize) -> Tensor<2> {
    let own = log_softmax(part.clone(), 1);
    let weighted = cotangents.clone() * (own.clone() - mixture.clone()).exp() / count as f64;
    weighted.clone() - own.exp() * weighted.sum_dim(1)
}
