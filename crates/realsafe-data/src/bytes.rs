//! Datasets that fit into memory, a byte per pixel.

use realsafe_core::{Dataset, Samples};

/// Labelled images, a byte per pixel.
#[derive(Debug)]
pub(crate) struct Bytes {
    /// Channels, height and width.
    pub(crate) shape: [usize; 3],
    /// The byte that stands for 1.
    pub(crate) white: u8,
    /// Sample by sample, channel by channel, row by row.
    pub(crate) pixels: Vec<u8>,
    /// The class of each sample.
    pub(crate) labels: Vec<u8>,
}

impl Dataset for Bytes {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn labels(&self) -> Vec<u32> {
        self.labels.iter().copied().map(u32::from).collect()
    }

    fn read(&self, indices: &[u32]) -> Result<Samples, String> {
        let size: usize = self.shape.iter().product();
        let mut pixels = Vec::with_capacity(indices.len() * size);
        let mut labels = Vec::with_capacity(indices.len());
        for index in indices.iter().map(|index| *index as usize) {
            let label = self.labels.get(index).ok_or_else(|| missing(index, self.len()))?;
            let image = &self.pixels[index * size..(index + 1) * size];
            pixels.extend(image.iter().map(|byte| f32::from(*byte) / f32::from(self.white)));
            labels.push(u32::from(*label));
        }
        Ok(Samples { shape: self.shape, pixels, labels, targets: None })
    }
}

/// What to say of an index beyond the end.
pub(crate) fn missing(index: usize, samples: usize) -> String {
    format!("the dataset has no sample {index}; it has {samples}, counted from 0")
}
