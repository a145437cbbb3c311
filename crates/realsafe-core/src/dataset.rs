//! Images and labels on the host.

/// Labelled images on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct Samples {
    /// Channels, height and width.
    pub shape: [usize; 3],
    /// Pixels in `[0, 1]`, sample by sample, channel by channel, row by row.
    pub pixels: Vec<f32>,
    /// The true class of each sample.
    pub labels: Vec<u32>,
    /// The target class of each sample, where the dataset has one.
    pub targets: Option<Vec<u32>>,
}

/// A source of labelled images.
pub trait Dataset: Send + Sync {
    /// How many samples there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The true class of every sample.
    fn labels(&self) -> Vec<u32>;

    /// Reads the samples with these indices, in this order.
    ///
    /// # Errors
    /// A message that names the file and what is wrong with it.
    fn read(&self, indices: &[u32]) -> Result<Samples, String>;
}

impl Dataset for Samples {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn labels(&self) -> Vec<u32> {
        self.labels.clone()
    }

    fn read(&self, indices: &[u32]) -> Result<Samples, String> {
        let size: usize = self.shape.iter().product();
        if let Some(index) = indices.iter().find(|index| **index as usize >= self.len()) {
            return Err(format!("there is no sample {index}, only {} of them", self.len()));
        }
        let pixels = |index: &u32| self.pixels[*index as usize * size..][..size].to_vec();
        let of = |values: &Vec<u32>| indices.iter().map(|index| values[*index as usize]).collect();
        Ok(Samples {
            shape: self.shape,
            pixels: indices.iter().flat_map(pixels).collect(),
            labels: of(&self.labels),
            targets: self.targets.as_ref().map(of),
        })
    }
}
