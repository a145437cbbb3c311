//! What a network of this crate is, and what it is in evaluation state.

use std::sync::Arc;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor};
use realsafe_core::{Certificates, Certifier, Draws, Model, ProofOptions, Stop, device};
use realsafe_plan::{Norm, Values};

use crate::bounds::{HALVINGS, Layer, enlarge, is_bounded, margins_between};
use crate::dual::{DUAL_HALVINGS, dual_margins_between, functions};
use crate::head::Head;
use crate::inner::Randomness;

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
        Self(network.valid().folded().map(&mut Layout))
    }
}

/// Lays out the weights of convolutions as the device likes them.
struct Layout;

impl ModuleMapper for Layout {
    fn map_float<const D: usize>(&mut self, weights: Param<Tensor<D>>) -> Param<Tensor<D>> {
        weights.map(device::convolution_weights)
    }
}

impl<N: Network> Model for Evaluation<N> {
    fn logits(&self, images: Tensor<4>, draws: &Draws) -> Result<Tensor<2>, Stop> {
        Ok(self.0.forward(images, &mut Randomness::rows(draws)))
    }

    fn certifier(&self, norm: Norm) -> Option<&dyn Certifier> {
        (norm == Norm::Linf && is_bounded(self.0.layers().as_deref())).then_some(self)
    }

    fn with_residual_decay(&self, decay: f64) -> Option<Arc<dyn Model>> {
        Some(Arc::new(Self(self.0.clone().with_residual_decay(decay)?)))
    }
}

/// Proofs by intervals and duality, in single precision, and up to its rounding. They take no draws.
impl<N: Network> Certifier for Evaluation<N> {
    fn certify(
        &self,
        images: Tensor<4>,
        labels: &[u32],
        options: &ProofOptions<'_>,
        _: &Draws,
    ) -> Result<Certificates, Stop> {
        let layers = self.0.layers().unwrap_or_default();
        let mut radii = vec![0.0; labels.len()];
        enlarge(&mut radii, HALVINGS, &images, labels, options.go_on, |ends, labels| {
            margins_between(&layers, ends, labels)
        })?;
        // Both ends of the intervals go through the network.
        let mut passes = 2 * (1 + HALVINGS);
        if options.duality {
            // One image at a time: there is a function of it for each number of a layer.
            for (row, label) in labels.iter().enumerate() {
                let image = images.clone().narrow(0, row, 1);
                enlarge(&mut radii[row..=row], DUAL_HALVINGS, &image, &[*label], options.go_on, |ends, labels| {
                    dual_margins_between(&layers, ends, labels)
                })?;
            }
            passes += functions(&layers, images.narrow(0, 0, 1)) * (1 + DUAL_HALVINGS);
        }
        Ok(Certificates { radii, passes })
    }
}
