//! Networks of this crate in training state.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::module::{ModuleMapper, ModuleVisitor, Param};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::store::ModuleRecord;
use burn::tensor::{Bytes, Device, Gradients, Tensor};
use realsafe_core::{Model, Trainable, TrainingState, device};
use realsafe_plan::Values;

use crate::bounds::{interval_margins, is_bounded};
use crate::dual::dual_margins;
use crate::head::Head;
use crate::inner::Randomness;
use crate::network::{Evaluation, Network};
use crate::weights::{self, Source};

/// A network that is being trained.
struct Training<N> {
    network: N,
    optimizer: ModuleOptimizer,
    /// Off autodiff.
    average: Option<N>,
}

/// The body of every [`realsafe_core::TrainableEntry`]: a network with initial weights drawn from a seed.
pub(crate) fn trainable<N: Network>(
    values: &Values,
    optimizer: ModuleOptimizer,
    seed: u64,
    device: &Device,
) -> Result<Box<dyn Trainable>, String> {
    let guard = device::seeded(device, seed);
    // Weights are not drawn before they are used.
    let network = N::new(values, device).train();
    drop(guard);
    Ok(Box::new(Training { network, optimizer, average: None }))
}

impl<N: Network> Trainable for Training<N> {
    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.network.forward(images, &mut Randomness::Device)
    }

    fn is_random(&self) -> bool {
        self.network.is_random_in_training()
    }

    fn tells_features(&self) -> bool {
        N::TELLS_FEATURES
    }

    fn features_and_logits(&self, images: Tensor<4>) -> Option<[Tensor<2>; 2]> {
        self.network.features_and_logits(images, &mut Randomness::Device)
    }

    fn has_intervals(&self) -> bool {
        is_bounded(self.network.layers().as_deref())
    }

    fn interval_margins(&self, images: Tensor<4>, labels: &[u32], eps: f64) -> Option<Tensor<2>> {
        interval_margins(&self.network.layers()?, images, labels, eps)
    }

    fn dual_margins(&self, images: Tensor<4>, labels: &[u32], eps: f64) -> Option<Tensor<2>> {
        dual_margins(&self.network.layers()?, images, labels, eps)
    }

    fn has_centres(&self) -> bool {
        matches!(self.network.head(), Head::MaxMahalanobis { .. })
    }

    fn update(&mut self, rate: f64, gradients: &mut Gradients) {
        let gradients = GradientsParams::from_module(gradients, &self.network);
        self.network = self.optimizer.step(rate, self.network.clone(), gradients);
    }

    fn snapshot(&self) -> Arc<dyn Model> {
        Arc::new(Evaluation::new(&self.network))
    }

    fn average(&mut self, decay: f64) {
        let now = self.network.valid();
        self.average = Some(match self.average.take() {
            None => now,
            Some(average) => {
                let mut values = FloatValues(VecDeque::new());
                now.visit(&mut values);
                average.map(&mut Towards { values: values.0, decay })
            }
        });
    }

    fn outcome(&self) -> Arc<dyn Model> {
        Arc::new(Evaluation::new(self.average.as_ref().unwrap_or(&self.network)))
    }

    fn save(&self, file: &Path) -> Result<Vec<PathBuf>, String> {
        weights::save(&self.average.as_ref().unwrap_or(&self.network).valid(), file)?;
        Ok(vec![file.to_owned()])
    }

    fn load(&mut self, file: &Path) -> Result<(), String> {
        let mut network = self.network.valid();
        weights::load(&mut network, &Source::File(file.to_owned()))?;
        self.network = network.train();
        Ok(())
    }

    fn state(&self) -> Result<TrainingState, String> {
        let bytes = |network: &N| {
            let bytes = network.valid().into_record().into_bytes().map_err(|error| error.to_string())?;
            Ok::<_, String>(bytes.to_vec())
        };
        let optimizer = self.optimizer.into_bytes().map_err(|error| error.to_string())?;
        let average = self.average.as_ref().map(bytes).transpose()?;
        Ok(TrainingState { network: bytes(&self.network)?, optimizer: optimizer.to_vec(), average })
    }

    fn restore(&mut self, state: TrainingState) -> Result<(), String> {
        // Records, unlike weights files, keep the identities of parameters, by which the optimizer knows them.
        let read = |bytes| {
            let record = ModuleRecord::from_bytes(Bytes::from_bytes_vec(bytes)).map_err(|error| error.to_string())?;
            self.network.valid().try_load_record(record).map_err(|error| error.to_string())
        };
        let (network, average) = (read(state.network)?, state.average.map(read).transpose()?);
        let optimizer = self.optimizer.clone().from_bytes(Bytes::from_bytes_vec(state.optimizer));
        self.optimizer = optimizer.map_err(|error| error.to_string())?;
        self.network = network.train();
        self.average = average;
        Ok(())
    }
}

/// The float tensors of a network, running statistics included, flattened, in the order of the module.
struct FloatValues(VecDeque<Tensor<1>>);

impl ModuleVisitor for FloatValues {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let value = parameter.val();
        let count = value.shape().num_elements();
        self.0.push_back(value.reshape([count]));
    }
}

/// Moves the float tensors of a network towards those of another of the same kind.
struct Towards {
    values: VecDeque<Tensor<1>>,
    decay: f64,
}

impl ModuleMapper for Towards {
    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let now = self.values.pop_front().expect("both networks have the same tensors");
        parameter.map(|value| {
            let now = now.reshape(value.shape());
            value * self.decay + now * (1.0 - self.decay)
        })
    }
}
