//! Where attacks on labels start: the first of some images that fulfils the goal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use realsafe_core::random::Purpose;
use realsafe_core::{AttackContext, Batch, Pool, Stop};
use realsafe_plan::Goal;

/// Images of noise that are tried before images of the dataset, unless one class is asked for, which noise hardly ever has.
const NOISE: usize = 20;

/// What is tried as a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Uniform noise, and images of the dataset.
    Images,
    /// Corners of the box: white, black, and where an image of the dataset is brighter than the clean one.
    Corners,
}

/// The images that may be tried as a start of any sample.
pub(crate) struct Starts {
    kind: Kind,
    pool: Arc<Pool>,
    /// How many images are tried before the first one of the pool.
    before_pool: usize,
    /// Whether there was no image for a sample.
    lacks_images: AtomicBool,
}

/// The starts of one sample that are still to be tried.
#[derive(Clone)]
pub(crate) struct Candidates {
    /// Images of the pool, last first.
    pool: Vec<u32>,
    tried: usize,
}

impl Starts {
    pub(crate) fn new(kind: Kind, context: &AttackContext) -> Self {
        let before_pool = match kind {
            _ if context.goal == Goal::Targeted => 0,
            Kind::Images => NOISE,
            Kind::Corners => 2,
        };
        Self { kind, pool: Arc::clone(&context.pool), before_pool, lacks_images: AtomicBool::new(false) }
    }

    /// The images of the pool that by their label fulfil the goal of a row, in an order of its own.
    pub(crate) fn candidates(&self, batch: &Batch, row: usize) -> Candidates {
        let fits = |label: u32| batch.goal.reached(label, batch.labels[row], batch.targets[row]);
        let mut pool = self.pool.images(fits);
        if pool.is_empty() {
            self.lacks_images.store(true, Ordering::Relaxed);
        }
        pool.shuffle(&mut batch.stream(row, Purpose::Start));
        Candidates { pool, tried: 0 }
    }

    /// The next image to try for a clean one.
    ///
    /// # Errors
    /// What is wrong with the dataset.
    pub(crate) fn next(
        &self,
        candidates: &mut Candidates,
        clean: &[f32],
        random: &mut ChaCha8Rng,
    ) -> Result<Vec<f32>, Stop> {
        let tried = candidates.tried;
        candidates.tried += 1;
        let image = if tried < self.before_pool { None } else { candidates.pool.pop() };
        let image = image.map(|image| self.pool.pixels(image)).transpose()?;
        Ok(match (self.kind, image) {
            (Kind::Images, Some(image)) => image,
            (Kind::Images, None) => clean.iter().map(|_| random.random()).collect(),
            (Kind::Corners, Some(image)) => {
                image.iter().zip(clean).map(|(image, clean)| f32::from(u8::from(image > clean))).collect()
            }
            (Kind::Corners, None) if tried < self.before_pool => vec![if tried == 0 { 1.0 } else { 0.0 }; clean.len()],
            (Kind::Corners, None) => clean.iter().map(|_| f32::from(u8::from(random.random::<bool>()))).collect(),
        })
    }

    /// What makes it hard to find a start.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let lacks = self.lacks_images.load(Ordering::Relaxed);
        let warning = "the dataset has no image of a class that is a target, so noise alone was tried as a start";
        lacks.then(|| warning.to_owned()).into_iter().collect()
    }
}
