//! Proofs that no image near one is misclassified.

use burn::tensor::{Device, Tensor, TensorData};
use realsafe_plan::Norm;

use crate::pieces::pieces;
use crate::{DefendedModel, Draws, Model, Samples, Stop};

/// A model that proves things about the images near one.
pub trait Certifier {
    /// Proves for each of the images `[n, channels, height, width]` that no image near it has another label than its own.
    /// Rows do not influence each other; random proofs draw from their own streams.
    ///
    /// # Errors
    /// The device's own message when reading from it fails, or what `options` says.
    fn certify(
        &self,
        images: Tensor<4>,
        labels: &[u32],
        options: &ProofOptions<'_>,
        draws: &Draws,
    ) -> Result<Certificates, Stop>;
}

/// What proofs may cost, and how certain those have to be that rest on random draws.
#[derive(Clone, Copy)]
pub struct ProofOptions<'a> {
    /// How many draws select the class that is to be proven.
    pub selection: u64,
    /// How many others are the evidence.
    pub samples: u64,
    /// The largest probability with which a proof may be wrong.
    pub alpha: f64,
    /// Whether bounds of networks are made tighter by duality, which takes far longer.
    pub duality: bool,
    /// Asked now and then whether to go on.
    pub go_on: &'a dyn Fn() -> Result<(), Stop>,
}

/// What was proven.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Certificates {
    /// For each image the radius within which every image has its label; zero where nothing is proven.
    pub radii: Vec<f64>,
    /// How many passes through a network each image took.
    pub passes: u64,
}

impl DefendedModel {
    /// Proofs about samples, in padded pieces; none where the model has none in the norm.
    ///
    /// # Errors
    /// See [`Certifier::certify`].
    pub fn certify(
        &self,
        samples: &Samples,
        norm: Norm,
        options: &ProofOptions<'_>,
        draws: &Draws,
        device: &Device,
    ) -> Option<Result<Certificates, Stop>> {
        let certifier = self.certifier(norm)?;
        let [channels, height, width] = samples.shape;
        let data = TensorData::new(samples.pixels.clone(), [samples.labels.len(), channels, height, width]);
        let images = Tensor::from_data(data, device);
        let mut all = Certificates::default();
        for piece in pieces(samples.labels.len(), device) {
            let labels = piece.padded(&samples.labels);
            match certifier.certify(piece.cut(&images), &labels, options, &piece.draws(draws)) {
                Ok(part) => {
                    all.radii.extend_from_slice(&part.radii[..piece.rows]);
                    all.passes = part.passes;
                }
                Err(stop) => return Some(Err(stop)),
            }
        }
        Some(Ok(all))
    }
}
