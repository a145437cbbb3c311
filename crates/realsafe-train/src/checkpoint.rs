//! What a run needs to go on: one file, replaced after every epoch.
//!
//! It is a safetensors file of byte tensors: `run` (the BLAKE3 of what was to be trained), `network` and `optimizer`
//! ([`TrainingState`]; its `average` where there is one), `recipe` (what the recipe carries over), `metrics` and `timings` (the tables so far).

use std::path::Path;

use fs_err as fs;
use realsafe_core::TrainingState;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::error::TrainingError;
use crate::files::replace_bytes;
use crate::metrics::{EpochMetrics, EpochTime, from_csv, to_csv};

/// A run after a number of epochs.
pub(crate) struct Checkpoint {
    pub(crate) state: TrainingState,
    pub(crate) recipe: Vec<u8>,
    pub(crate) metrics: Vec<EpochMetrics>,
    pub(crate) timings: Vec<EpochTime>,
}

impl Checkpoint {
    /// Writes the checkpoint of a run.
    pub(crate) fn write(&self, path: &Path, run: &str) -> Result<(), TrainingError> {
        let (metrics, timings) = (to_csv(&self.metrics)?, to_csv(&self.timings)?);
        let parts = [
            ("average", self.state.average.as_deref()),
            ("metrics", Some(&metrics)),
            ("network", Some(&self.state.network)),
            ("optimizer", Some(&self.state.optimizer)),
            ("recipe", Some(&self.recipe)),
            ("run", Some(run.as_bytes())),
            ("timings", Some(&timings)),
        ];
        let parts = parts.into_iter().filter_map(|(name, bytes)| Some((name, bytes?)));
        let views =
            parts.map(|(name, bytes)| TensorView::new(Dtype::U8, vec![bytes.len()], bytes).map(|view| (name, view)));
        let views = views.collect::<Result<Vec<_>, _>>();
        let bytes = views.and_then(|views| safetensors::serialize(views, None));
        Ok(replace_bytes(path, &bytes.map_err(std::io::Error::other)?)?)
    }

    /// Reads the checkpoint of a run, if there is one.
    pub(crate) fn read(path: &Path, run: &str) -> Result<Option<Self>, TrainingError> {
        if !path.exists() {
            return Ok(None);
        }
        let way_out = "delete it to start over, or write to another folder";
        let damaged = |reason: String| {
            TrainingError::Invalid(format!("the checkpoint `{}` is damaged: {reason}; {way_out}", path.display()))
        };
        let bytes = fs::read(path)?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|error| damaged(error.to_string()))?;
        let part =
            |name| tensors.tensor(name).map(|view| view.data().to_vec()).map_err(|error| damaged(error.to_string()));
        if part("run")? != run.as_bytes() {
            let path = path.display();
            let message = format!("`{path}` is the checkpoint of another run, or of one on another device; {way_out}");
            return Err(TrainingError::Invalid(message));
        }
        let average = tensors.tensor("average").ok().map(|view| view.data().to_vec());
        Ok(Some(Self {
            state: TrainingState { network: part("network")?, optimizer: part("optimizer")?, average },
            recipe: part("recipe")?,
            metrics: from_csv(&part("metrics")?).map_err(|error| damaged(error.to_string()))?,
            timings: from_csv(&part("timings")?).map_err(|error| damaged(error.to_string()))?,
        }))
    }
}
