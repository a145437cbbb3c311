//! Networks as trainers see them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::optim::ModuleOptimizer;
use burn::tensor::{Device, Gradients, Tensor};
use realsafe_plan::{Chosen, Values};

use crate::Model;

/// A network in training state, together with the optimizer that updates it.
pub trait Trainable: Send {
    /// The logits `[n, classes]` of images `[n, channels, height, width]`, on autodiff.
    ///
    /// Batch norm takes the statistics of these images and updates its running ones, dropout drops.
    fn forward(&self, images: Tensor<4>) -> Tensor<2>;

    /// Whether [`Trainable::forward`] draws random numbers, for dropout or noise, so that the same images give other logits each time.
    fn is_random(&self) -> bool {
        false
    }

    /// Whether the network tells its features, so that it has [`Trainable::features_and_logits`].
    fn tells_features(&self) -> bool {
        false
    }

    /// The features `[n, features]` that the last linear layer is given, and the logits `[n, classes]`, as
    /// [`Trainable::forward`] gives them; none where the network does not tell its features.
    fn features_and_logits(&self, _images: Tensor<4>) -> Option<[Tensor<2>; 2]> {
        None
    }

    /// Whether it is made of members that answer together, so that it has [`Trainable::member_logits`].
    fn has_members(&self) -> bool {
        false
    }

    /// The logits `[n, classes]` of each member, on autodiff; none where there are no members.
    fn member_logits(&self, _images: Tensor<4>) -> Option<Vec<Tensor<2>>> {
        None
    }

    /// Whether intervals go through the network, so that it has [`Trainable::interval_margins`] and
    /// [`Trainable::dual_margins`].
    fn has_intervals(&self) -> bool {
        false
    }

    /// Lower bounds `[n, classes]`, on autodiff, of the differences between the logit of each row's label and every logit, over
    /// all images of the box `[0, 1]` that differ from the row's by at most `eps` in every pixel, without dropout; none where
    /// intervals do not go through the network.
    fn interval_margins(&self, _images: Tensor<4>, _labels: &[u32], _eps: f64) -> Option<Tensor<2>> {
        None
    }

    /// Like [`Trainable::interval_margins`], by linear functions of the image instead of intervals: tighter, and slower.
    fn dual_margins(&self, _images: Tensor<4>, _labels: &[u32], _eps: f64) -> Option<Tensor<2>> {
        None
    }

    /// Whether logits are minus the squared distances of features to fixed centres, one per class.
    fn has_centres(&self) -> bool {
        false
    }

    /// Makes one step of the optimizer with this learning rate.
    ///
    /// `gradients` are those of a loss over logits that [`Trainable::forward`] gave; it takes its own out of them.
    fn update(&mut self, rate: f64, gradients: &mut Gradients);

    /// The network as it is now, in evaluation state; later updates do not change it.
    fn snapshot(&self) -> Arc<dyn Model>;

    /// Moves the average of the weights and running statistics towards what they are now: to `decay` times what it was plus
    /// `1 - decay` times what they are. The first call starts the average with what they are.
    fn average(&mut self, decay: f64);

    /// What training is for, in evaluation state: the average where there is one, the network as it is now elsewhere.
    fn outcome(&self) -> Arc<dyn Model>;

    /// Writes the weights of [`Trainable::outcome`] to a safetensors file that the model's parameter `weights` can name, replacing it
    /// if it exists; those of members to files beside it, with `-0`, `-1` and so on after the name. Tells what it wrote.
    ///
    /// # Errors
    /// A message that names the file.
    fn save(&self, file: &Path) -> Result<Vec<PathBuf>, String>;

    /// Takes the weights of a file, of any kind that the model's parameter `weights` can name.
    ///
    /// # Errors
    /// A message that names the file and what is wrong with it.
    fn load(&mut self, file: &Path) -> Result<(), String>;

    /// Everything that later updates depend on.
    ///
    /// # Errors
    /// What could not be read from the device.
    fn state(&self) -> Result<TrainingState, String>;

    /// Takes up a state of a network of the same model with the same optimizer; what follows is as if it had never been
    /// left.
    ///
    /// # Errors
    /// What is damaged or does not fit.
    fn restore(&mut self, state: TrainingState) -> Result<(), String>;
}

/// A network in the middle of training, in formats that only [`Trainable::restore`] reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrainingState {
    /// Weights and running statistics.
    pub network: Vec<u8>,
    /// What the optimizer keeps per weight.
    pub optimizer: Vec<u8>,
    /// The average of weights and running statistics, where one is kept.
    pub average: Option<Vec<u8>>,
}

/// Builds a network with initial weights drawn from a seed, or says why it cannot be trained.
pub(crate) type BuildTrainable = fn(&Values, ModuleOptimizer, u64, &Device) -> Result<Box<dyn Trainable>, String>;

/// A registered way to train a model from scratch.
pub struct TrainableEntry {
    /// The name of the model's component, whose parameters it takes; `weights` is not looked at.
    pub model: &'static str,
    /// Builds the network with initial weights drawn from this seed.
    pub build: BuildTrainable,
}

inventory::collect!(TrainableEntry);

impl TrainableEntry {
    /// The entry of a model's component, if it can be trained.
    pub fn find(model: &str) -> Option<&'static Self> {
        inventory::iter::<Self>().find(|entry| entry.model == model)
    }

    /// A network to be trained, from the weights that its parameters name, where they do, and from weights drawn from the seed elsewhere.
    ///
    /// # Errors
    /// What is wrong with its files, or that it cannot be trained.
    pub fn start(
        chosen: &Chosen,
        optimizer: ModuleOptimizer,
        seed: u64,
        device: &Device,
    ) -> Result<Box<dyn Trainable>, String> {
        let id = chosen.component.id;
        let entry = Self::find(id).ok_or_else(|| format!("the model `{id}` cannot be trained"))?;
        let mut network = (entry.build)(&chosen.values, optimizer, seed, device)?;
        for file in chosen.files.values() {
            let path = file.path.as_ref().ok_or(
                "training cannot go on from weights that the program carries; name a file, or leave `weights` out",
            )?;
            network.load(path)?;
        }
        Ok(network)
    }
}
