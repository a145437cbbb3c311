//! RayS (linf): a search for the corner of the ball in whose direction the boundary is nearest, from labels alone.
//!
//! ## What it does
//! Looks at images `clip(clean + r · s)` with a sign per pixel value in s, and for the signs whose smallest adversarial radius r is
//! least. A start is s of all plus (white at radius 1), then of all minus (black), then the signs towards images of the same dataset, in an order of the
//! sample's own, until the image at radius 1 fulfils the goal; with the goal `targeted` images of the target come first. Bisection gives its radius, to
//! search-tolerance.
//!
//! Then the signs of one block after the other are flipped: of all pixel values, of each half, of each quarter and so on down to
//! single ones, in the order of channels, rows and columns; from there on single ones again, until none of them helps. A flip is
//! kept if the image is adversarial at a radius that is smaller than the best by search-tolerance, and bisection between 0 and
//! there gives the new radius.
//!
//! The authors' code queries at the best radius itself, so that a bisection follows on each flip that gains next to nothing. It starts with
//! all plus only, keeps flipping until the image at radius 1 is adversarial, and knows no targets.
//!
//! ## Threat model
//! Predicted labels; linf; untargeted, targeted and targeted-misclassify. It minimises the distance: one run serves every eps.
//!
//! ## Cost
//! One forward pass per query.
//!
//! ## References
//! Chen, Gu: RayS: A Ray Searching Method for Hard-label Adversarial Attack, KDD 2020 (arXiv:2006.12792).

use std::ops::Range;
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use realsafe_core::{AttackEntry, inventory};
use realsafe_plan::{Component, Fallback, Norm, Origin, Parameter, ParameterKind};

use crate::shared::starts::{Kind, Starts};
use crate::shared::walk::{self, Walk, Walker};

struct Rays {
    search_tolerance: f64,
}

/// One sample's best direction.
#[derive(Clone)]
struct Ray {
    clean: Arc<[f32]>,
    /// The signs, those of the block that is tried flipped.
    signs: Vec<f32>,
    /// The smallest radius that is known to be adversarial.
    radius: f64,
    /// How often the image was halved to get blocks.
    level: u32,
    /// The block that is tried.
    block: Range<usize>,
    /// How many single pixel values were flipped in vain, one after the other.
    vain: usize,
    stage: Stage,
}

#[derive(Clone, Copy)]
enum Stage {
    /// Does the flipped block help?
    Flip,
    /// How much? From this radius on the image may be adversarial.
    Bisect { low: f64 },
}

impl Ray {
    /// Where the next query looks.
    fn at(&self, settings: &Rays) -> f64 {
        match self.stage {
            Stage::Flip => (self.radius - settings.search_tolerance).max(0.0),
            Stage::Bisect { low } => f64::midpoint(low, self.radius),
        }
    }

    fn flip(&mut self) {
        self.signs[self.block.clone()].iter_mut().for_each(|sign| *sign = -*sign);
    }

    fn next_block(&mut self) {
        let pixels = self.clean.len();
        let size = |level: u32| pixels.div_ceil(1 << level);
        let mut start = self.block.end;
        if start == pixels {
            start = 0;
            self.level += u32::from(size(self.level) > 1);
        }
        self.block = start..pixels.min(start + size(self.level));
        self.flip();
        self.stage = Stage::Flip;
    }

    /// Goes on if the radius is known well enough.
    fn bisect(&mut self, settings: &Rays, low: f64) {
        self.stage = Stage::Bisect { low };
        if self.radius - low <= settings.search_tolerance {
            self.next_block();
        }
    }
}

impl Walker for Ray {
    type Settings = Rays;

    fn approach(_: &Rays, _: Norm, _: usize) -> Option<f64> {
        None
    }

    fn begin(_: &Rays, _: Norm, clean: &Arc<[f32]>, start: Vec<f32>) -> Self {
        let signs = start.into_iter().map(|pixel| if pixel > 0.5 { 1.0 } else { -1.0 }).collect();
        let stage = Stage::Bisect { low: 0.0 };
        Self { clean: Arc::clone(clean), signs, radius: 1.0, level: 0, block: 0..0, vain: 0, stage }
    }

    fn ask(&mut self, settings: &Rays, _: &mut ChaCha8Rng) -> Vec<f32> {
        let radius = self.at(settings);
        #[expect(clippy::cast_possible_truncation, reason = "pixels are single precision")]
        let point = |(clean, sign): (&f32, &f32)| (f64::from(*clean) + radius * f64::from(*sign)) as f32;
        self.clean.iter().zip(&self.signs).map(point).map(|pixel| pixel.clamp(0.0, 1.0)).collect()
    }

    fn learn(&mut self, settings: &Rays, _: &[f32], adversarial: bool) {
        let at = self.at(settings);
        match (self.stage, adversarial) {
            (Stage::Flip, true) => {
                self.vain = 0;
                self.radius = at;
                self.bisect(settings, 0.0);
            }
            (Stage::Flip, false) => {
                self.vain += usize::from(self.block.len() == 1);
                self.flip();
                self.next_block();
            }
            (Stage::Bisect { low }, true) => {
                self.radius = at;
                self.bisect(settings, low);
            }
            (Stage::Bisect { .. }, false) => self.bisect(settings, at),
        }
    }

    fn has_ended(&self, settings: &Rays) -> bool {
        self.radius <= settings.search_tolerance || self.vain == self.clean.len()
    }
}

inventory::submit! {
    AttackEntry {
        component: Component {
            id: "rays",
            revision: 2,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("rays.rs"),
            parameters: &[
                walk::QUERIES,
                Parameter {
                    name: "search-tolerance",
                    kind: ParameterKind::Number { minimum: 1e-6, maximum: 0.5 },
                    unit: "pixel range 0 to 1",
                    fallback: Fallback::Value("0.0001"),
                    documentation: "How well the radius of a direction is known, and how much a flip has to gain.",
                },
            ],
            example: "queries = 1000",
            traits: walk::traits(&[Norm::Linf]),
        },
        build: &|values, context| Ok(Box::new(Walk::<Ray> {
            queries: values.count("queries"),
            starts: Starts::new(Kind::Corners, context),
            settings: Rays { search_tolerance: values.number("search-tolerance") },
        })),
    }
}
