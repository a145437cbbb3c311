//! What components are tried on: small smooth networks and deterministic images.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;
use realsafe_core::random::{Purpose, StreamKey, stream};
use realsafe_core::{Draws, Model, Samples, Stop};

/// Channels, height and width of the images.
pub(super) const SHAPE: [usize; 3] = [1, 8, 8];
/// How many classes the networks know.
pub(super) const CLASSES: usize = 10;

/// Numbers in `[0, 1)`, always the same for a purpose.
pub(super) fn numbers(purpose: u64, count: usize) -> Vec<f32> {
    let key = StreamKey { seed: purpose, purpose: Purpose::Start, sample: 0, restart: 0, step: 0 };
    let mut random = stream(key);
    (0..count).map(|_| random.random()).collect()
}

/// A network of two layers with a smooth activation. Products are summed pixel by pixel, so that a row's bits do not
/// depend on its neighbours.
pub(super) struct Network {
    first: Tensor<3>,
    second: Tensor<3>,
    /// After how many calls the user stops the run.
    patience: Option<(AtomicUsize, Arc<AtomicBool>)>,
}

impl Network {
    pub(super) fn new(seed: u64, patience: Option<(usize, Arc<AtomicBool>)>) -> Self {
        let layer = |purpose: u64, rows: usize, columns: usize| {
            let values = numbers(purpose, rows * columns).into_iter().map(|value| 4.0 * (value - 0.5)).collect();
            Tensor::from_data(TensorData::new::<f32, _>(values, [1, rows, columns]), &Device::flex())
        };
        let pixels = SHAPE.iter().product();
        Self {
            first: layer(1000 + seed, pixels, 16),
            second: layer(2000 + seed, 16, CLASSES),
            patience: patience.map(|(calls, flag)| (AtomicUsize::new(calls), flag)),
        }
    }
}

impl Model for Network {
    fn logits(&self, images: Tensor<4>, _: &Draws) -> Result<Tensor<2>, Stop> {
        if let Some((calls, flag)) = &self.patience
            && calls.fetch_sub(1, Ordering::Relaxed) == 1
        {
            flag.store(true, Ordering::Relaxed);
        }
        let rows = images.dims()[0];
        let layer = |values: Tensor<2>, weights: &Tensor<3>| -> Tensor<2> {
            let [_, inputs, outputs] = weights.dims();
            (values.reshape([rows, inputs, 1]) * weights.clone()).sum_dim(1).reshape([rows, outputs])
        };
        let [_, channels, height, width] = images.dims();
        let hidden = layer(images.reshape([rows, channels * height * width]) - 0.5, &self.first).tanh();
        Ok(layer(hidden, &self.second))
    }
}

/// Images, with the labels that the network gives them.
pub(super) fn samples(network: &Network, count: usize) -> Result<Samples, Stop> {
    let pixels = numbers(3, count * SHAPE.iter().product::<usize>());
    let [channels, height, width] = SHAPE;
    let images = Tensor::from_data(TensorData::new(pixels.clone(), [count, channels, height, width]), &Device::flex());
    let predictions = realsafe_core::Logits::read(network.logits(images, &Draws::none(count))?)?.predictions();
    let labels = predictions.into_iter().map(Option::unwrap_or_default).collect();
    Ok(Samples { shape: SHAPE, pixels, labels, targets: None })
}
