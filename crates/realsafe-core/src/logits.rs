//! Logits on the host, where predictions, losses and success are decided.

use std::collections::BTreeMap;

use burn::tensor::Tensor;

use crate::Stop;

/// Logits of a batch on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct Logits {
    classes: usize,
    values: Vec<f32>,
}

impl Logits {
    /// Reads logits `[n, classes]` back from their device.
    ///
    /// # Errors
    /// The device's own message when reading fails.
    pub fn read(logits: Tensor<2>) -> Result<Self, Stop> {
        let [_, classes] = logits.dims();
        Ok(Self { classes, values: read(logits)? })
    }

    /// The logits of rows of that many classes, row by row.
    pub const fn from_values(classes: usize, values: Vec<f32>) -> Self {
        Self { classes, values }
    }

    /// All logits, row by row.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The number of classes.
    pub const fn classes(&self) -> usize {
        self.classes
    }

    /// The logits of each row.
    pub fn rows(&self) -> std::slice::ChunksExact<'_, f32> {
        self.values.chunks_exact(self.classes)
    }

    /// The predicted class of each row: the first of the largest logits. A row with a NaN predicts nothing.
    pub fn predictions(&self) -> Vec<Option<u32>> {
        self.rows().map(predict).collect()
    }

    /// Keeps the first rows only.
    pub(crate) fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows * self.classes);
    }

    /// Appends the rows of another batch.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.classes = other.classes;
        self.values.append(&mut other.values);
    }

    pub(crate) const fn empty() -> Self {
        Self { classes: 1, values: Vec::new() }
    }
}

/// The most frequent of some predictions, the first class of several; none where one of them is none.
pub fn most_frequent(predictions: &[Option<u32>]) -> Option<u32> {
    let mut counts = BTreeMap::new();
    for prediction in predictions {
        *counts.entry((*prediction)?).or_insert(0_u32) += 1;
    }
    counts.into_iter().max_by_key(|(class, count)| (*count, std::cmp::Reverse(*class))).map(|(class, _)| class)
}

fn predict(row: &[f32]) -> Option<u32> {
    let mut best = 0;
    for (class, value) in row.iter().enumerate() {
        if value.is_nan() {
            return None;
        }
        if *value > row[best] {
            best = class;
        }
    }
    u32::try_from(best).ok()
}

/// Reads a float tensor back from its device.
///
/// # Errors
/// The device's own message when reading fails.
pub fn read<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, Stop> {
    let data = tensor.try_into_data().map_err(|error| Stop::Device(error.to_string()))?;
    data.try_into_vec::<f32>().map_err(|error| Stop::Device(format!("{error:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_prediction_is_the_first_of_several_and_nan_is_none() {
        assert_eq!(most_frequent(&[Some(2), Some(1), Some(2)]), Some(2));
        assert_eq!(most_frequent(&[Some(2), Some(1), Some(1), Some(2), Some(0)]), Some(1));
        assert_eq!(most_frequent(&[Some(2), None, Some(2)]), None);
    }

    #[test]
    fn ties_go_to_the_first_class_and_nan_predicts_nothing() {
        let logits =
            Logits { classes: 3, values: vec![1.0, 2.0, 2.0, f32::NAN, 0.0, 0.0, f32::NEG_INFINITY, 0.0, -1.0] };
        assert_eq!(logits.predictions(), [Some(1), None, Some(1)]);
    }
}
