//! The loop around every recipe: epochs, shuffling, updates, evaluation, checkpoints.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::tensor::{Device, Tensor, TensorData};
use fs_err as fs;
use rand::RngExt;
use rand::seq::SliceRandom;
use realsafe_core::random::{Purpose, StreamKey, stream};
use realsafe_core::{
    Dataset, DatasetEntry, Draws, Locations, Logits, Model, ModelEntry, Recipe, RecipeEntry, Samples, Stop, Trainable,
    TrainableEntry, TrainingBatch, device, inventory, read,
};
use realsafe_plan::{Chosen, ParameterKind, TrainingSpec, Value};
use safetensors::{Dtype, SafeTensors};

use crate::augmentation::Augmentation;
use crate::checkpoint::Checkpoint;
use crate::error::TrainingError;
use crate::files::replace_bytes;
use crate::metrics::{EpochMetrics, EpochTime, to_csv};
use crate::parameters::optimizer;
use crate::preprocessed::preprocessed;
use crate::schedule::learning_rate;

/// Test images that are classified at once.
const EVALUATED: usize = 128;

/// What the trainer draws, told apart by the step of the key; step 0 is what recipes draw.
#[derive(Clone, Copy)]
enum Draw {
    Weights = 1,
    Order = 2,
    Dropout = 3,
    Augmentation = 4,
}

/// How the outside watches and stops a run.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// Set to stop after the current batch.
    pub cancelled: &'a AtomicBool,
    /// Told after every update and every epoch.
    pub progress: &'a dyn Fn(Progress<'_>),
}

/// What has just been done.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// A run was taken up where its checkpoint left it.
    Resumed {
        /// How many epochs were done before.
        epochs: u32,
    },
    /// An update.
    Batch {
        /// The epoch, from 1.
        epoch: u32,
        /// How many updates of the epoch are done.
        batch: usize,
        /// How many updates an epoch has.
        batches: usize,
        /// The loss before the update.
        loss: f64,
    },
    /// An epoch.
    Epoch(&'a EpochMetrics),
}

/// A finished run.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingSummary {
    /// The trained weights: one file, or one for each member of an ensemble.
    pub weights: Vec<TrainedWeights>,
    /// Every epoch.
    pub epochs: Vec<EpochMetrics>,
}

/// Weights of a finished run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrainedWeights {
    /// Where they are.
    pub file: PathBuf,
    /// The BLAKE3 of the file, in hexadecimal digits.
    pub blake3: String,
}

/// Trains a network, and writes to the folder `output`: `weights.safetensors` at the end; after every epoch
/// `metrics.csv`, `timings.csv` and `checkpoint.safetensors`; and `training.toml`, the spec with every default.
///
/// Where the folder holds the checkpoint of the same run, it goes on after the last complete epoch, with the same
/// result as if it had never stopped.
///
/// # Errors
/// See [`TrainingError`].
pub fn train(
    spec: &TrainingSpec,
    locations: &Locations,
    device: &Device,
    output: &Path,
    watch: Watch<'_>,
) -> Result<TrainingSummary, TrainingError> {
    let mut run = Run::new(spec, locations, device)?;
    fs::create_dir_all(output)?;
    let (checkpoint_file, identity) = (output.join("checkpoint.safetensors"), identity(spec, device));
    let (mut metrics, mut timings) = (Vec::new(), Vec::new());
    if let Some(checkpoint) = Checkpoint::read(&checkpoint_file, &identity)? {
        let restored = run.network.restore(checkpoint.state);
        restored.and_then(|()| run.recipe.restore(&checkpoint.recipe, device)).map_err(|error| {
            TrainingError::Invalid(format!("the checkpoint `{}` does not fit: {error}", checkpoint_file.display()))
        })?;
        (metrics, timings) = (checkpoint.metrics, checkpoint.timings);
        (watch.progress)(Progress::Resumed { epochs: metrics.len() as u32 });
    }
    replace_bytes(&output.join("training.toml"), spec.resolved().as_bytes())?;
    for epoch in metrics.len() as u32..run.epochs {
        let start = Instant::now();
        let row = run.epoch(epoch, watch)?;
        (watch.progress)(Progress::Epoch(&row));
        metrics.push(row);
        timings.push(EpochTime { epoch: epoch + 1, seconds: start.elapsed().as_secs_f64() });
        let state = run.network.state().map_err(TrainingError::Device)?;
        let checkpoint = Checkpoint { state, recipe: run.recipe.state()?, metrics, timings };
        checkpoint.write(&checkpoint_file, &identity)?;
        Checkpoint { metrics, timings, .. } = checkpoint;
        replace_bytes(&output.join("metrics.csv"), &to_csv(&metrics)?)?;
        replace_bytes(&output.join("timings.csv"), &to_csv(&timings)?)?;
    }
    let staging = tempfile::tempdir_in(output)?;
    let staged = run.network.save(&staging.path().join("weights.safetensors"));
    let staged = staged.map_err(|error| TrainingError::File(std::io::Error::other(error)))?;
    let place = |staged: PathBuf| {
        let bytes = fs::read(&staged)?;
        if !is_finite(&bytes)? {
            return Err(TrainingError::Diverged { epoch: run.epochs });
        }
        let file = output.join(staged.file_name().unwrap_or_default());
        replace_bytes(&file, &bytes)?;
        Ok(TrainedWeights { file, blake3: blake3::hash(&bytes).to_string() })
    };
    let weights = staged.into_iter().map(place).collect::<Result<_, TrainingError>>()?;
    Ok(TrainingSummary { weights, epochs: metrics })
}

/// Whether all values of a weights file are finite: what the last update makes of them no loss has told.
fn is_finite(weights: &[u8]) -> Result<bool, TrainingError> {
    let tensors =
        SafeTensors::deserialize(weights).map_err(|error| TrainingError::File(std::io::Error::other(error)))?;
    let mut floats = tensors.iter().map(|(_, view)| view).filter(|view| view.dtype() == Dtype::F32);
    Ok(floats.all(|view| view.data().as_chunks().0.iter().all(|bytes| f32::from_le_bytes(*bytes).is_finite())))
}

/// The BLAKE3 of everything that decides what is trained: a checkpoint is only good for the run that it is of.
fn identity(spec: &TrainingSpec, device: &Device) -> String {
    let anonymous = TrainingSpec { id: String::new(), title: String::new(), device: None, ..spec.clone() };
    let mut hasher = blake3::Hasher::new();
    hasher.update(anonymous.resolved().as_bytes());
    let defenses = spec.defenses.iter().map(|layer| &*layer.defense);
    let sources = spec.sources.iter().map(|source| &**source);
    let own = [&*spec.data, &spec.model, &spec.recipe].into_iter().chain(defenses).chain(sources);
    for chosen in own.flat_map(|chosen| std::iter::once(chosen).chain(chosen.values.components())) {
        let digests: Vec<&str> = chosen.files.values().map(|file| file.blake3.as_str()).collect();
        hasher.update(format!("\n{} {}", chosen.component.revision, digests.join(" ")).as_bytes());
    }
    hasher.update(format!("\n{device:?}").as_bytes());
    hasher.finalize().to_string()
}

/// A run with everything that it is made of.
struct Run<'a> {
    spec: &'a TrainingSpec,
    device: &'a Device,
    network: Box<dyn Trainable>,
    recipe: Box<dyn Recipe>,
    sources: Vec<Arc<dyn Model>>,
    augmentation: Augmentation,
    data: Box<dyn Dataset>,
    test: Option<Box<dyn Dataset>>,
    epochs: u32,
    batch_size: usize,
}

impl<'a> Run<'a> {
    fn new(spec: &'a TrainingSpec, locations: &Locations, device: &'a Device) -> Result<Self, TrainingError> {
        let values = &spec.recipe.values;
        let recipe = inventory::iter::<RecipeEntry>().find(|entry| entry.component.id == spec.recipe.component.id);
        let recipe = recipe.ok_or_else(|| TrainingError::not_linked(&spec.recipe))?;
        let seed = stream(key(spec.seed, Draw::Weights, 0)).random();
        let network = TrainableEntry::start(&spec.model, optimizer(values), seed, device);
        let network = network.map_err(TrainingError::Invalid)?;
        let network = preprocessed(network, spec, locations, device)?;
        let recipe = (recipe.build)(values);
        recipe.check(&*network).map_err(|error| {
            TrainingError::Invalid(format!("`{}` cannot train the model: {error}", spec.recipe.component.id))
        })?;
        Ok(Self {
            spec,
            device,
            network,
            recipe,
            sources: spec.sources.iter().map(|source| built(source, locations, device)).collect::<Result<_, _>>()?,
            augmentation: Augmentation::from(values),
            data: dataset(&spec.data, locations)?,
            test: test_split(&spec.data).map(|test| dataset(&test, locations)).transpose()?,
            epochs: u32::try_from(values.count("epochs")).unwrap_or(u32::MAX),
            batch_size: usize::try_from(values.count("batch-size")).unwrap_or(usize::MAX),
        })
    }

    /// Shows every sample once, with as many updates of a batch as the recipe wants.
    fn epoch(&mut self, epoch: u32, watch: Watch<'_>) -> Result<EpochMetrics, TrainingError> {
        let seed = self.spec.seed;
        let mut order = self.spec.samples.clone();
        order.shuffle(&mut stream(key(seed, Draw::Order, epoch)));
        let dropout = || device::seeded(self.device, stream(key(seed, Draw::Dropout, epoch)).random());
        let _generator = self.network.is_random().then(dropout);
        let batches = order.len().div_ceil(self.batch_size);
        let values = &self.spec.recipe.values;
        let replays = self.recipe.replays();
        let updates = batches as f64 * replays as f64;
        let mut done = f64::from(epoch) * updates;
        let rate = |done: f64| learning_rate(values, (done + 0.5) / (f64::from(self.epochs) * updates));
        let (first_rate, average_decay) = (rate(done), values.number("average-decay"));
        let (mut loss_sum, mut correct) = (0.0, 0);
        for (number, indices) in order.chunks(self.batch_size).enumerate() {
            if watch.cancelled.load(Ordering::Relaxed) {
                return Err(TrainingError::Interrupted { done: epoch, epochs: self.epochs });
            }
            let mut samples = self.data.read(indices).map_err(TrainingError::Invalid)?;
            self.augmentation.apply(&mut samples, |row| {
                stream(StreamKey { sample: indices[row].into(), ..key(seed, Draw::Augmentation, epoch) })
            });
            let batch = TrainingBatch {
                images: upload(&samples, self.device),
                labels: samples.labels,
                samples: indices.to_vec(),
                sources: self.sources.clone(),
                seed,
                epoch,
                time: done / (f64::from(self.epochs) * updates),
            };
            let mut loss = 0.0;
            for _ in 0..replays {
                let objective = self.recipe.objective(&*self.network, &batch)?;
                loss = f64::from(read(objective.loss.clone().inner())?[0]);
                if !loss.is_finite() {
                    return Err(TrainingError::Diverged { epoch: epoch + 1 });
                }
                correct += count_correct(objective.logits.inner(), &batch.labels)?;
                loss_sum += loss * indices.len() as f64;
                let mut gradients = objective.loss.backward();
                self.recipe.learn(&mut gradients)?;
                self.network.update(rate(done), &mut gradients);
                done += 1.0;
                if average_decay > 0.0 {
                    // An average over few updates must forget the initial weights sooner.
                    self.network.average(average_decay.min((1.0 + done) / (10.0 + done)));
                }
            }
            (watch.progress)(Progress::Batch { epoch: epoch + 1, batch: number + 1, batches, loss });
        }
        let total = order.len() as f64 * replays as f64;
        Ok(EpochMetrics {
            epoch: epoch + 1,
            rate: first_rate,
            train_loss: loss_sum / total,
            train_accuracy: correct as f64 / total,
            test_accuracy: self.test.as_deref().map(|test| self.accuracy(test)).transpose()?,
        })
    }

    /// The share of a dataset that the network, as it would be saved, classifies correctly.
    fn accuracy(&self, dataset: &dyn Dataset) -> Result<f64, TrainingError> {
        let model = self.network.outcome();
        let indices: Vec<u32> = (0..dataset.len() as u32).collect();
        let mut correct = 0;
        for indices in indices.chunks(EVALUATED) {
            let samples = dataset.read(indices).map_err(TrainingError::Invalid)?;
            let draws = Draws::new(self.spec.seed, Purpose::Verification, indices.iter().map(|index| (*index, 0)));
            let logits = model.logits(upload(&samples, self.device), &draws)?;
            correct += count_correct(logits, &samples.labels)?;
        }
        Ok(correct as f64 / indices.len() as f64)
    }
}

fn key(seed: u64, draw: Draw, epoch: u32) -> StreamKey {
    StreamKey { seed, purpose: Purpose::Training, sample: 0, restart: epoch.into(), step: draw as u64 }
}

fn dataset(chosen: &Chosen, locations: &Locations) -> Result<Box<dyn Dataset>, TrainingError> {
    let entry = inventory::iter::<DatasetEntry>().find(|entry| entry.component.id == chosen.component.id);
    let entry = entry.ok_or_else(|| TrainingError::not_linked(chosen))?;
    (entry.build)(&chosen.values, locations).map_err(TrainingError::Invalid)
}

/// A static network with its weights.
fn built(chosen: &Chosen, locations: &Locations, device: &Device) -> Result<Arc<dyn Model>, TrainingError> {
    let entry = inventory::iter::<ModelEntry>().find(|entry| entry.component.id == chosen.component.id);
    let entry = entry.ok_or_else(|| TrainingError::not_linked(chosen))?;
    let model = (entry.build)(&chosen.values, locations, device);
    Ok(model.map_err(|error| TrainingError::Invalid(format!("the source `{}`: {error}", chosen.id)))?.into())
}

/// The same dataset with `split = "test"`, where it has that and another split is trained on.
fn test_split(data: &Chosen) -> Option<Chosen> {
    let ParameterKind::Choice(splits) = data.component.parameter("split")?.kind else { return None };
    if !splits.contains(&"test") || data.values.text("split") == "test" {
        return None;
    }
    let mut test = data.clone();
    test.values.insert("split", Value::Text("test".to_owned()));
    Some(test)
}

fn upload(samples: &Samples, device: &Device) -> Tensor<4> {
    let [channels, height, width] = samples.shape;
    let data = TensorData::new(samples.pixels.clone(), [samples.labels.len(), channels, height, width]);
    Tensor::from_data(data, device)
}

fn count_correct(logits: Tensor<2>, labels: &[u32]) -> Result<usize, Stop> {
    let predictions = Logits::read(logits)?.predictions();
    Ok(predictions.iter().zip(labels).filter(|(prediction, label)| **prediction == Some(**label)).count())
}
