//! Square attack (linf, l2 and l1): random search over square windows, from scores alone.
//!
//! ## What it does
//! Each query changes one square window of the best image so far, and the change is kept when the loss rises or the goal is
//! reached. The share of the image that a window covers starts at initial-share and is halved after queries 10, 50, 200, 500,
//! 1000, 2000, 4000, 6000 and 8000; these are the numbers of candidates, the first image included. The authors raise the margin
//! of the label and, with a target, its cross-entropy (`loss = "cross-entropy"`).
//!
//! For linf it starts with vertical stripes of ±eps, one sign per column and channel. A query recolours the window with one sign
//! per channel and clips to the ball and the box; signs that would change nothing are drawn again, as in the paper's code but not
//! in AutoAttack's.
//!
//! For l2 and l1 it starts with a grid of bumps, five along the shorter side, one sign per bump and channel. A bump is
//! two stacks of centred rectangles side by side, one up and one down, whose layers fall with the square (l2) or the fourth
//! power (l1) of their number. A query adds a bump to what a window holds, with one sign per channel, and gives it, in
//! each channel, the mass (l2: in squares) that this window and another one had and a share of what is left of the radius; the other
//! window is emptied. Windows have an odd side of at least three. For l2 the change is stretched to the radius and clipped
//! to the box, so what clipping takes is not spent again within the same query; for l1 the nearest point of ball and box is taken.
//!
//! Every sample draws its own windows, at all positions where they fit; AutoAttack's implementation shares them within a
//! batch and leaves out the last row and column. `rescale-schedule` stretches the schedule from 10,000 queries to
//! the number asked for, as the paper's own code does and AutoAttack does not.
//!
//! ## Threat model
//! Scores (logits); linf, l2 and l1; untargeted, targeted and targeted-misclassify.
//!
//! ## Cost
//! One forward pass per query.
//!
//! ## References
//! Andriushchenko, Croce, Flammarion, Hein: Square Attack, ECCV 2020 (arXiv:1912.00049); for l1 Croce, Hein: Mind the Box,
//! ICML 2021 (arXiv:2103.01208).

use std::sync::Arc;

use burn::tensor::Tensor;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use realsafe_core::random::Purpose;
use realsafe_core::{Attack, AttackEntry, Batch, Loss, Role, Scores, Stop, inventory, read, state};
use realsafe_plan::{
    Access, AttackTraits, Component, Cost, Fallback, Goal, Norm, Origin, Parameter, ParameterKind, Surrogates, Traits,
};

use crate::shared::bumps;
use crate::shared::population::MARGIN;

/// How often signs are drawn that may change nothing: at corners of the box there are no others.
const REDRAWS: u32 = 32;

struct Square {
    queries: u64,
    initial_share: f64,
    rescale_schedule: bool,
    loss: Arc<dyn Loss>,
}

state! {
    struct Search {
        clean: Vec<Arc<[f32]>>,
        best: Vec<Vec<f32>>,
        /// What is raised.
        loss: Vec<f32>,
    }
}

impl Square {
    /// The share of the image that a square covers at a query.
    fn share(&self, query: u64) -> f64 {
        let query = if self.rescale_schedule { query * 10_000 / self.queries } else { query };
        let halvings = [10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000].iter().filter(|after| query > **after).count();
        self.initial_share / f64::from(1_u32 << halvings)
    }

    fn side(&self, query: u64, height: usize, width: usize) -> usize {
        let side = (self.share(query) * (height * width) as f64).sqrt().round();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and the image")]
        let side = side as usize;
        side.clamp(1, height.min(width))
    }
}

impl Attack for Square {
    type Door = dyn Scores;
    type State = Search;

    fn steps(&self) -> u32 {
        u32::try_from(self.queries - 1).unwrap_or(u32::MAX)
    }

    fn start_cost(&self) -> Cost {
        Cost::forward(1)
    }

    fn step_cost(&self) -> Cost {
        Cost::forward(1)
    }

    fn start(&self, victim: &mut Self::Door, batch: &Batch) -> Result<Search, Stop> {
        let [channels, height, width] = batch.shape();
        let clean = read(batch.images.clone())?;
        let clean: Vec<Arc<[f32]>> = clean.chunks_exact(channels * height * width).map(Arc::from).collect();
        let first = |(row, clean): (usize, &Arc<[f32]>)| {
            let (eps, mut random) = (batch.eps[row], batch.stream(row, Purpose::Start));
            match batch.norm {
                Norm::Linf => striped(batch.shape(), clean, eps, &mut random),
                norm => bumps::tiled(norm, batch.shape(), clean, eps, &mut random),
            }
        };
        let best: Vec<Vec<f32>> = clean.iter().enumerate().map(first).collect();
        let (_, loss) = victim.losses(batch, &batch.upload(best.concat()), &*self.loss, Role::Iterate)?;
        Ok(Search { clean, best, loss })
    }

    fn step(&self, victim: &mut Self::Door, batch: &Batch, state: &mut Search) -> Result<(), Stop> {
        let [_, height, width] = batch.shape();
        let side = self.side(u64::from(batch.step) + 1, height, width);
        let candidate = |(row, best): (usize, &Vec<f32>)| {
            let (clean, eps, mut random) = (&state.clean[row], batch.eps[row], batch.stream(row, Purpose::Step));
            match batch.norm {
                Norm::Linf => recoloured(batch.shape(), clean, best, eps, side, &mut random),
                norm => {
                    let side = bumps::side(side, height, width);
                    bumps::moved(norm, batch.shape(), clean, best, eps, side, &mut random)
                }
            }
        };
        let candidates: Vec<Vec<f32>> = state.best.iter().enumerate().map(candidate).collect();
        let images = batch.upload(candidates.concat());
        let (logits, losses) = victim.losses(batch, &images, &*self.loss, Role::Iterate)?;
        let predictions = logits.predictions();
        for (row, (candidate, loss)) in candidates.into_iter().zip(losses).enumerate() {
            // What is not a number is worse than any other.
            let rises = loss > state.loss[row] || state.loss[row].is_nan();
            if rises || batch.reached(row, predictions[row]) {
                state.best[row] = candidate;
                state.loss[row] = loss;
            }
        }
        Ok(())
    }

    fn iterates(&self, batch: &Batch, state: &Search) -> Tensor<4> {
        batch.upload(state.best.concat())
    }
}

/// Stripes of ±eps.
fn striped([_, height, width]: [usize; 3], clean: &[f32], eps: f32, random: &mut ChaCha8Rng) -> Vec<f32> {
    let mut image = clean.to_vec();
    for channel in image.chunks_exact_mut(height * width) {
        let changes: Vec<f32> = (0..width).map(|_| eps * sign(random)).collect();
        for line in channel.chunks_exact_mut(width) {
            line.iter_mut().zip(&changes).for_each(|(pixel, change)| *pixel = changed(*pixel, *change));
        }
    }
    image
}

/// The best image with a square of ±eps.
fn recoloured(
    [_, height, width]: [usize; 3],
    clean: &[f32],
    best: &[f32],
    eps: f32,
    side: usize,
    random: &mut ChaCha8Rng,
) -> Vec<f32> {
    let (top, left) = (random.random_range(0..=height - side), random.random_range(0..=width - side));
    let mut image = best.to_vec();
    for _ in 0..REDRAWS {
        for (channel, clean) in image.chunks_exact_mut(height * width).zip(clean.chunks_exact(height * width)) {
            let change = eps * sign(random);
            for first in (top..top + side).map(|line| line * width + left) {
                let window = first..first + side;
                let pixels = channel[window.clone()].iter_mut().zip(&clean[window]);
                // All pixels are at one end of what they may be: two radii onwards is the other end.
                pixels.for_each(|(pixel, clean)| *pixel = changed(*clean, change));
            }
        }
        if image != best {
            break;
        }
    }
    image
}

fn sign(random: &mut ChaCha8Rng) -> f32 {
    if random.random() { 1.0 } else { -1.0 }
}

fn changed(pixel: f32, change: f32) -> f32 {
    (pixel + change).clamp(0.0, 1.0)
}

inventory::submit! {
    AttackEntry {
        component: Component {
            id: "square",
            revision: 2,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("square.rs"),
            parameters: &[
                Parameter {
                    name: "queries",
                    kind: ParameterKind::Count { minimum: 1, maximum: 10_000_000 },
                    unit: "queries",
                    fallback: Fallback::Value("5000"),
                    documentation: "How many images are tried, the first included.",
                },
                Parameter {
                    name: "initial-share",
                    kind: ParameterKind::Number { minimum: 0.0, maximum: 1.0 },
                    unit: "share of the image",
                    fallback: Fallback::Value("0.8"),
                    documentation: "How much of the image the first squares cover.",
                },
                Parameter {
                    name: "rescale-schedule",
                    kind: ParameterKind::Flag,
                    unit: "",
                    fallback: Fallback::Value("false"),
                    documentation: "Whether the schedule of sizes is stretched from 10,000 queries to the number of queries.",
                },
                MARGIN,
            ],
            example: "queries = 1000",
            traits: Traits::Attack(AttackTraits {
                access: Access::Scores,
                surrogates: Surrogates::Unused,
                norms: &[Norm::Linf, Norm::L2, Norm::L1],
                goals: &Goal::ALL,
                minimises_distance: false,
                cost: &|values| Ok(Cost::forward(values.count("queries"))),
            }),
        },
        build: &|values, context| Ok(Box::new(Square {
            queries: values.count("queries"),
            initial_share: values.number("initial-share"),
            rescale_schedule: values.flag("rescale-schedule"),
            loss: context.loss(values, "loss")?,
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_on_cifar_follow_the_published_schedule() {
        let square = Square {
            queries: 5000,
            initial_share: 0.8,
            rescale_schedule: false,
            loss: Arc::new(realsafe_core::Margin),
        };
        let sides: Vec<usize> =
            [1, 10, 11, 51, 201, 501, 1001, 2001, 4001].map(|query| square.side(query, 32, 32)).into();
        assert_eq!(sides, [29, 29, 20, 14, 10, 7, 5, 4, 3]);
    }
}
