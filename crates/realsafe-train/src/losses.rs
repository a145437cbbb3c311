//! What recipes lower: differentiable functions of logits, on autodiff.

use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::activation::{log_softmax, softmax};
use burn::tensor::{Device, Int, Tensor, TensorData};

/// Labels `[n]` on a device.
pub(crate) fn on_device(labels: &[u32], device: &Device) -> Tensor<1, Int> {
    let labels: Vec<i64> = labels.iter().map(|&label| label.into()).collect();
    Tensor::from_data(TensorData::from(labels.as_slice()), device)
}

/// The mean softmax cross-entropy of logits `[n, classes]`; `smoothing` is the share of the label's probability that is
/// spread evenly over all classes.
#[expect(clippy::cast_possible_truncation, reason = "probabilities are single precision on every device")]
pub(crate) fn cross_entropy(logits: Tensor<2>, labels: &[u32], smoothing: f64) -> Tensor<1> {
    let device = logits.device();
    let smoothing = (smoothing > 0.0).then_some(smoothing as f32);
    let loss = CrossEntropyLossConfig::new().with_smoothing(smoothing).init(&device);
    loss.forward(logits, on_device(labels, &device))
}

/// The Kullback-Leibler divergence of each row's softmax of `logits` from that of `reference`, `[n]`, in nats:
/// `Σ p log (p / q)` with `p` of the reference. Gradients flow into both.
pub(crate) fn divergence(reference: Tensor<2>, logits: Tensor<2>) -> Tensor<1> {
    let logs = log_softmax(reference.clone(), 1) - log_softmax(logits, 1);
    (softmax(reference, 1) * logs).sum_dim(1).squeeze_dim(1)
}
