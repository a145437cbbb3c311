//! Networks of this crate in training state.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::store::ModuleRecord;
use burn::tensor::{Bytes, Device, Gradients, Tensor};
use realsafe_core::{Model, Trainable, TrainingState};
use realsafe_plan::Values;

use crate::network::{Evaluation, Network};
use crate::weights::{self, Source};

/// A network that is being trained.
struct Training<N> {
    network: N,
    optimizer: ModuleOptimizer,
}

/// The body of every [`realsafe_core::TrainableEntry`]: a network with initial weights drawn from a seed.
pub(crate) fn trainable<N: Network>(
    values: &Values,
    optimizer: ModuleOptimizer,
    seed: u64,
    device: &Device,
) -> Box<dyn Trainable> {
    // A backend has one generator per process; nobody else may draw from it between seed and last weight.
    static GENERATOR: Mutex<()> = Mutex::new(());
    let guard = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    device.seed(seed);
    let network = N::new(values, device).materialize();
    drop(guard);
    Box::new(Training { network: network.train(), optimizer })
}

impl<N: Network> Trainable for Training<N> {
    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.network.forward(images)
    }

    fn update(&mut self, rate: f64, gradients: Gradients) {
        let gradients = GradientsParams::from_grads(gradients, &self.network);
        self.network = self.optimizer.step(rate, self.network.clone(), gradients);
    }

    fn snapshot(&self) -> Arc<dyn Model> {
        Arc::new(Evaluation::new(&self.network))
    }

    fn save(&self, file: &Path) -> Result<(), String> {
        weights::save(&self.network.valid(), file)
    }

    fn load(&mut self, file: &Path) -> Result<(), String> {
        let mut network = self.network.valid();
        weights::load(&mut network, &Source::File(file.to_owned()))?;
        self.network = network.train();
        Ok(())
    }

    fn state(&self) -> Result<TrainingState, String> {
        let network = self.network.valid().into_record().into_bytes().map_err(|error| error.to_string())?;
        let optimizer = self.optimizer.into_bytes().map_err(|error| error.to_string())?;
        Ok(TrainingState { network: network.to_vec(), optimizer: optimizer.to_vec() })
    }

    fn restore(&mut self, state: TrainingState) -> Result<(), String> {
        // Records, unlike weights files, keep the identities of parameters, by which the optimizer knows them.
        let record =
            ModuleRecord::from_bytes(Bytes::from_bytes_vec(state.network)).map_err(|error| error.to_string())?;
        let network = self.network.valid().try_load_record(record).map_err(|error| error.to_string())?;
        let optimizer = self.optimizer.clone().from_bytes(Bytes::from_bytes_vec(state.optimizer));
        self.optimizer = optimizer.map_err(|error| error.to_string())?;
        self.network = network.train();
        Ok(())
    }
}
