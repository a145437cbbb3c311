//! What is measured per epoch, and its tables.

use std::io;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// An epoch in numbers: a row of `metrics.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochMetrics {
    /// The epoch, from 1.
    pub epoch: u32,
    /// The learning rate of its first update.
    pub rate: f64,
    /// The mean loss over its samples, each before its update.
    pub train_loss: f64,
    /// The share of its samples that the recipe's logits, before the update, classify correctly.
    pub train_accuracy: f64,
    /// The share of the dataset's clean test images that are classified correctly after it; none without a test split.
    pub test_accuracy: Option<f64>,
}

/// How long an epoch took: a row of `timings.csv`, which differs from run to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct EpochTime {
    /// The epoch, from 1.
    pub(crate) epoch: u32,
    /// Wall time, evaluation included.
    pub(crate) seconds: f64,
}

/// Rows as CSV; floats are the shortest that read back the same.
pub(crate) fn to_csv<R: Serialize>(rows: &[R]) -> io::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    rows.iter().try_for_each(|row| writer.serialize(row))?;
    writer.into_inner().map_err(|error| error.into_error())
}

/// The rows of a CSV that [`to_csv`] wrote.
pub(crate) fn from_csv<R: DeserializeOwned>(bytes: &[u8]) -> csv::Result<Vec<R>> {
    csv::Reader::from_reader(bytes).deserialize().collect()
}
