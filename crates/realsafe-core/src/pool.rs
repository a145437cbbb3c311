//! Images that attacks on labels may start from.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{ComponentFailure, Dataset, Stop};

/// How many images of a class are in it. Raising it changes where attacks start: raise their revisions, too.
const PER_CLASS: usize = 32;

/// The first images of every class of a dataset, read when they are asked for.
pub struct Pool {
    dataset: Arc<dyn Dataset>,
    /// The indices of images of each class.
    classes: BTreeMap<u32, Vec<u32>>,
}

impl Pool {
    /// The pool of a dataset.
    pub fn new(dataset: Arc<dyn Dataset>) -> Self {
        let mut classes: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (index, label) in (0..).zip(dataset.labels()) {
            let images = classes.entry(label).or_default();
            if images.len() < PER_CLASS {
                images.push(index);
            }
        }
        Self { dataset, classes }
    }

    /// The images whose class fits, class by class.
    pub fn images(&self, fits: impl Fn(u32) -> bool) -> Vec<u32> {
        let fitting = self.classes.iter().filter(|(class, _)| fits(**class));
        fitting.flat_map(|(_, images)| images).copied().collect()
    }

    /// The pixels of an image.
    ///
    /// # Errors
    /// What is wrong with the dataset.
    pub fn pixels(&self, image: u32) -> Result<Vec<f32>, Stop> {
        let failed = |message| Stop::Component { failure: ComponentFailure::Failed, message };
        self.dataset.read(&[image]).map(|samples| samples.pixels).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Samples;

    #[test]
    fn every_class_has_images_wherever_they_lie() {
        let labels: Vec<u32> = (0..1000).map(|index| if index < 990 { 7 } else { index % 3 }).collect();
        let pixels = (0..1000).map(|index| index as f32).collect();
        let pool = Pool::new(Arc::new(Samples { shape: [1, 1, 1], pixels, labels, targets: None }));
        assert_eq!(pool.images(|class| class == 1), [991, 994, 997]);
        assert_eq!(pool.images(|class| class == 7).len(), PER_CLASS);
        assert!(pool.images(|class| class == 5).is_empty());
        assert_eq!(pool.pixels(994).unwrap(), [994.0]);
    }
}
