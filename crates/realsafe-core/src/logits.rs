//! Logits on the host, where predictions, losses and success are decided.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use realsafe_plan::REJECTED;

use crate::Stop;

/// Logits of a batch on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct Logits {
    classes: usize,
    values: Vec<f32>,
    /// A logit for the rejection of each row; empty where nothing is rejected.
    rejection: Vec<f32>,
}

impl Logits {
    /// Reads logits `[n, classes]` back from their device.
    ///
    /// # Errors
    /// The device's own message when reading fails.
    pub fn read(logits: Tensor<2>) -> Result<Self, Stop> {
        let [_, classes] = logits.dims();
        Ok(Self::from_values(classes, read(logits)?))
    }

    /// The logits of rows of that many classes, row by row.
    pub const fn from_values(classes: usize, values: Vec<f32>) -> Self {
        Self { classes, values, rejection: Vec::new() }
    }

    /// Of a model that rejects: the last column is no class, but the logit of rejection.
    pub(crate) fn with_rejection(self) -> Self {
        let classes = self.classes - 1;
        let (mut values, mut rejection) = (Vec::with_capacity(self.values.len()), Vec::new());
        for row in self.rows() {
            values.extend_from_slice(&row[..classes]);
            rejection.push(row[classes]);
        }
        Self { classes, values, rejection }
    }

    /// As attacks see them: to be rejected is no better than to be recognised, so the logit of the label is the larger one of
    /// its own and that of rejection. Also says, where there is rejection, for which rows that is the latter.
    pub(crate) fn attacked(mut self, labels: &[u32]) -> (Self, Vec<bool>) {
        let rejection = std::mem::take(&mut self.rejection);
        let rows = self.values.chunks_exact_mut(self.classes).zip(labels);
        let stands = |(rejection, (row, label)): (f32, (&mut [f32], &u32))| {
            let own = &mut row[*label as usize];
            let larger = rejection > *own;
            if larger {
                *own = rejection;
            }
            larger
        };
        let replaced = rejection.into_iter().zip(rows).map(stands).collect();
        (self, replaced)
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

    /// The predicted class of each row: the first of the largest logits; [`REJECTED`] where that of rejection exceeds them. A
    /// row with a NaN predicts nothing.
    pub fn predictions(&self) -> Vec<Option<u32>> {
        let rejection = self.rejection.iter().copied().map(Some).chain(std::iter::repeat(None));
        self.rows().zip(rejection).map(|(row, rejection)| predict(row, rejection)).collect()
    }

    /// Keeps the first rows only.
    pub(crate) fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows * self.classes);
        self.rejection.truncate(rows);
    }

    /// The rows of several batches, one after the other.
    pub(crate) fn concatenated(parts: impl IntoIterator<Item = Self>) -> Self {
        let append = |mut all: Self, mut part: Self| {
            all.values.append(&mut part.values);
            all.rejection.append(&mut part.rejection);
            all
        };
        parts.into_iter().reduce(append).unwrap_or_else(|| Self::from_values(1, Vec::new()))
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

fn predict(row: &[f32], rejection: Option<f32>) -> Option<u32> {
    let mut best = 0;
    for (class, value) in row.iter().enumerate() {
        if value.is_nan() {
            return None;
        }
        if *value > row[best] {
            best = class;
        }
    }
    match rejection {
        Some(rejection) if rejection.is_nan() => None,
        Some(rejection) if rejection > row[best] => Some(REJECTED),
        _ => u32::try_from(best).ok(),
    }
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
        let logits = Logits::from_values(3, vec![1.0, 2.0, 2.0, f32::NAN, 0.0, 0.0, f32::NEG_INFINITY, 0.0, -1.0]);
        assert_eq!(logits.predictions(), [Some(1), None, Some(1)]);
    }

    #[test]
    fn rejection_wins_where_it_is_larger_and_is_as_good_as_the_label_to_attacks() {
        // Two classes and rejection: recognised, misclassified, recognised but rejected, misclassified but rejected.
        let columns = vec![2.0, 1.0, 0.0, 1.0, 2.0, 2.0, 2.0, 1.0, 3.0, 1.0, 2.0, 3.0, 1.0, 2.0, f32::NAN];
        let logits = Logits::from_values(3, columns).with_rejection();
        assert_eq!((logits.classes(), logits.rows().count()), (2, 5));
        assert_eq!(logits.predictions(), [Some(0), Some(1), Some(REJECTED), Some(REJECTED), None]);
        let (seen, replaced) = logits.attacked(&[0; 5]);
        assert_eq!(seen.values(), [2.0, 1.0, 2.0, 2.0, 3.0, 1.0, 3.0, 2.0, 1.0, 2.0]);
        assert_eq!(replaced, [false, true, true, true, false]);
        assert_eq!(seen.predictions()[3], Some(0));
        let plain = Logits::from_values(2, vec![1.0, 2.0]);
        assert_eq!(plain.clone().attacked(&[0]), (plain, Vec::new()));
    }
}
