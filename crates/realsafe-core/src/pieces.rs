//! Consecutive rows that are sent to a network together, padded to a few fixed counts, so that what a backend computes for a
//! row does not depend on how many others there are; on processors several pieces at a time, each on a thread of its own.

use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;

use crate::{DefendedModel, Draws, Logits, Model, Samples, Stop, Tape, device};

impl DefendedModel {
    /// The logits of images, without a tape, in padded pieces.
    pub(crate) fn padded_logits(&self, images: &Tensor<4>, draws: &Draws) -> Result<Logits, Stop> {
        let device = images.device();
        let part = |piece: Piece| {
            let mut part = self.read(self.logits(piece.cut(images), &piece.draws(draws))?)?;
            part.truncate(piece.rows);
            Ok(part)
        };
        Ok(Logits::concatenated(side_by_side(pieces(images.dims()[0], &device), &device, part)?))
    }

    /// Reads its logits.
    fn read(&self, logits: Tensor<2>) -> Result<Logits, Stop> {
        let logits = Logits::read(logits)?;
        Ok(if self.rejects() { logits.with_rejection() } else { logits })
    }

    /// The logits of samples, computed and padded as an attack would see them.
    ///
    /// # Errors
    /// The device's own message when it fails.
    pub fn judge(&self, samples: &Samples, draws: &Draws, device: &Device) -> Result<Logits, Stop> {
        let [channels, height, width] = samples.shape;
        let data = TensorData::new(samples.pixels.clone(), [samples.labels.len(), channels, height, width]);
        self.padded_logits(&Tensor::from_data(data, device), draws)
    }
}

/// Consecutive rows that are sent to the network together, padded to a fixed count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) start: usize,
    pub(crate) rows: usize,
    padded: usize,
}

impl Piece {
    /// Cuts the rows out of a batch of images, and repeats the last one as padding.
    pub(crate) fn cut(self, images: &Tensor<4>) -> Tensor<4> {
        let rows = if self.rows == images.dims()[0] {
            images.clone()
        } else {
            images.clone().narrow(0, self.start, self.rows)
        };
        if self.rows == self.padded {
            return rows;
        }
        let last = rows.clone().narrow(0, self.rows - 1, 1);
        Tensor::cat(vec![rows, last.repeat_dim(0, self.padded - self.rows)], 0)
    }

    /// What the rows have, and the padding.
    pub(crate) fn padded<T: Copy>(self, of_rows: &[T]) -> Vec<T> {
        let mut own = of_rows[self.start..self.start + self.rows].to_vec();
        own.resize(self.padded, own[self.rows - 1]);
        own
    }

    /// What the rows and the padding may draw.
    pub(crate) fn draws(self, draws: &Draws) -> Draws {
        draws.cut(self.start..self.start + self.rows, self.padded)
    }

    /// The logits of the rows as attacks see them, and the tape of them and the padding. Labels are those of all rows.
    pub(crate) fn forward(
        self,
        model: &DefendedModel,
        images: &Tensor<4>,
        labels: &[u32],
        draws: &Draws,
    ) -> Result<(Logits, PieceTape), Stop> {
        let tape = model.forward(self.cut(images), &self.draws(draws))?;
        let mut logits = model.read(tape.logits.clone())?;
        logits.truncate(self.rows);
        let labels = &labels[self.start..self.start + self.rows];
        let (logits, replaced) = logits.attacked(labels);
        let rejected = labels.iter().zip(replaced).map(|(label, replaced)| replaced.then_some(*label as usize));
        let rejected = rejected.collect();
        Ok((logits, PieceTape { tape, rejected }))
    }

    /// The gradients of the rows, from a cotangent for each.
    pub(crate) fn pull(self, tape: PieceTape, cotangents: &[f32]) -> Result<Tensor<4>, Stop> {
        let PieceTape { tape, rejected } = tape;
        let (dims, device) = (tape.logits.dims(), tape.logits.device());
        let mut padded = vec![0.0; dims[0] * dims[1]];
        let classes = cotangents.len() / self.rows;
        for (row, (own, all)) in cotangents.chunks_exact(classes).zip(padded.chunks_exact_mut(dims[1])).enumerate() {
            all[..classes].copy_from_slice(own);
            if let Some(Some(label)) = rejected.get(row) {
                // What stood for the label was the logit of rejection, behind those of the classes.
                all.swap(*label, classes);
            }
        }
        let gradients = tape.pull(Tensor::from_data(TensorData::new(padded, dims), &device))?;
        Ok(gradients.narrow(0, 0, self.rows))
    }
}

/// The tape of a piece.
pub(crate) struct PieceTape {
    tape: Tape,
    /// The labels of the rows whose logit of the label is that of rejection; empty where nothing is rejected.
    rejected: Vec<Option<usize>>,
}

/// How many pieces are computed at a time: one for each thread of the processor where it is the device.
pub(crate) fn at_a_time(device: &Device) -> usize {
    if device::is_processor(device) { rayon::current_num_threads() } else { 1 }
}

/// Makes something of each item, on processors side by side; the first error counts.
pub(crate) fn side_by_side<I: Send, T: Send>(
    items: Vec<I>,
    device: &Device,
    make: impl Fn(I) -> Result<T, Stop> + Send + Sync,
) -> Result<Vec<T>, Stop> {
    if at_a_time(device) == 1 || items.len() == 1 {
        return items.into_iter().map(make).collect();
    }
    // What is made first fails first, whichever thread was faster.
    items.into_par_iter().map(make).collect::<Vec<_>>().into_iter().collect()
}

/// Splits the rows of a batch on a device into pieces.
pub(crate) fn pieces(rows: usize, device: &Device) -> Vec<Piece> {
    split(rows, device::row_counts(device))
}

/// Splits rows into pieces that waste fewer rows of padding than the smallest count.
fn split(mut rows: usize, counts: &[usize]) -> Vec<Piece> {
    let smallest = counts[0];
    let mut pieces = Vec::new();
    let mut start = 0;
    while rows > 0 {
        let enough = counts.iter().find(|count| **count >= rows && *count - rows < smallest);
        let padded = *enough.or_else(|| counts.iter().rev().find(|count| **count <= rows)).unwrap_or(&smallest);
        let taken = padded.min(rows);
        pieces.push(Piece { start, rows: taken, padded });
        start += taken;
        rows -= taken;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_all_rows_in_order_and_waste_little() {
        for (counts, rows) in
            [&[8, 16, 32][..], &[16]].into_iter().flat_map(|counts| (1..600).map(move |rows| (counts, rows)))
        {
            let pieces = split(rows, counts);
            let mut next = 0;
            for piece in &pieces {
                assert_eq!(piece.start, next);
                assert!(counts.contains(&piece.padded) && piece.rows <= piece.padded);
                next += piece.rows;
            }
            assert_eq!(next, rows);
            assert!(pieces.iter().map(|piece| piece.padded - piece.rows).sum::<usize>() < counts[0]);
        }
    }
}
