//! What a network of this crate is, and how one becomes a [`Model`].

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use realsafe_core::{Draws, Locations, Model, Stop, read};
use realsafe_plan::{Norm, Values};

use crate::bounds::{Layer, interval_margins};
use crate::head::Head;
use crate::inner::Randomness;
use crate::weights;

/// A network as a burn module whose parameters are named as in its checkpoints.
pub(crate) trait Network: Module + Send + Sync + 'static {
    /// Regular expressions and their replacements, applied in order, that turn the keys of known checkpoints into ours.
    const RENAMES: &'static [(&'static str, &'static str)] = &[];

    /// Beginnings of keys, after the replacements, that known checkpoints have and the network does not need.
    const UNUSED: &'static [&'static str] = &[];

    /// Whether it tells its features; see [`Network::features_and_logits`].
    const TELLS_FEATURES: bool = false;

    /// The network with untrained weights.
    fn new(values: &Values, device: &Device) -> Self;

    /// Logits `[n, classes]` of images `[n, channels, height, width]`; layers that are random draw from `randomness`.
    fn forward(&self, images: Tensor<4>, randomness: &mut Randomness<'_>) -> Tensor<2>;

    /// Whether it draws random numbers in training.
    fn is_random_in_training(&self) -> bool {
        false
    }

    /// The head behind the last linear layer.
    fn head(&self) -> &Head {
        &Head::Linear
    }

    /// The features `[n, features]` that the last linear layer is given, and the logits, of images; none where the network
    /// does not tell them.
    fn features_and_logits(&self, _images: Tensor<4>, _: &mut Randomness<'_>) -> Option<[Tensor<2>; 2]> {
        None
    }

    /// The layers in the order in which images go through them, up to the logits; none where the network is no such sequence.
    fn layers(&self) -> Option<Vec<Layer<'_>>> {
        None
    }

    /// See [`Model::with_residual_decay`].
    fn with_residual_decay(self, _decay: f64) -> Option<Self> {
        None
    }

    /// The same function in the form that is fastest in evaluation state.
    fn folded(self) -> Self {
        self
    }
}

/// A network in evaluation state.
#[derive(Debug)]
pub(crate) struct Evaluation<N>(N);

impl<N: Network> Evaluation<N> {
    /// Puts a network into evaluation state, off autodiff.
    ///
    /// It is `valid` that does it: a batch norm whose flag is in training state would take the statistics of the
    /// attacked batch, and overwrite its own, as soon as the images are on autodiff.
    pub(crate) fn new(network: &N) -> Self {
        Self(network.valid().folded())
    }
}

impl<N: Network> Model for Evaluation<N> {
    fn logits(&self, images: Tensor<4>, draws: &Draws) -> Result<Tensor<2>, Stop> {
        Ok(self.0.forward(images, &mut Randomness::rows(draws)))
    }

    fn certified(&self, images: Tensor<4>, labels: &[u32], norm: Norm, eps: f64) -> Option<Result<Vec<bool>, Stop>> {
        if norm != Norm::Linf {
            return None;
        }
        let margins = read(interval_margins(&self.0.layers()?, images, labels, eps)?);
        Some(margins.map(|margins| {
            let rows = margins.chunks_exact(margins.len() / labels.len().max(1)).zip(labels);
            rows.map(|(row, label)| {
                row.iter().enumerate().all(|(class, margin)| class == *label as usize || *margin > 0.0)
            })
            .collect()
        }))
    }

    fn with_residual_decay(&self, decay: f64) -> Option<Arc<dyn Model>> {
        Some(Arc::new(Self(self.0.clone().with_residual_decay(decay)?)))
    }
}

/// The body of every [`realsafe_core::ModelEntry`]: a network with the weights that its parameters name.
pub(crate) fn build<N: Network>(
    values: &Values,
    locations: &Locations,
    device: &Device,
) -> Result<Box<dyn Model>, String> {
    if !values.is_set("weights") {
        return Err("the network has no weights: name a file with `weights`, or train one first".to_owned());
    }
    let mut network = N::new(values, device);
    weights::load(&mut network, &weights::Source::find(values.text("weights"), locations)?)?;
    Ok(Box::new(Evaluation::new(&network)))
}
