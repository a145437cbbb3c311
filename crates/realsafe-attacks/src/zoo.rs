//! Zeroth-order optimisation (ZOO): Adam, coordinate by coordinate, on squared distance plus constant times margin, from
//! the victim's scores.
//!
//! ## What it does
//! Minimises F = ‖x − x₀‖₂² + constant · max(0, margin + confidence) over w, where the image is x = (tanh(w) + 1) / 2, or w itself
//! with `space = "pixels"`. margin is the logit of the label minus the largest other one, or the largest other one minus that of
//! the target. A step draws `coordinates` different coordinates and makes a step of Adam (0.9, 0.999, 1e-8) along the slope of F
//! with each, every coordinate with its own means and its own count of steps. The slope of the margin is measured from two images,
//! `finite-difference` to either side; that of the distance is known, where the authors measure it, too. With dimension-reduction
//! a coordinate moves all pixels of a cell of a coarse grid.
//!
//! The iterate after each step is queried, and the nearest adversarial of them is the result; the authors' code queries
//! the image that it starts each step from, which costs as much. The last step takes as many coordinates as are still paid
//! for. The constant is not searched for, and all coordinates are equally likely. The authors take differences 1e-4 apart,
//! at which single precision leaves little of them, and so small steps that 10⁶ queries are needed; the defaults here are for
//! some thousands. In the space of tanh, black and white pixels hardly move: take pixels for images that have little else; there,
//! w is kept in the box, and measurements may leave it.
//!
//! ## Threat model
//! Scores (logits); l2; untargeted, targeted and targeted-misclassify. It minimises the distance: one run serves every
//! eps.
//!
//! ## Cost
//! One forward pass per query: 2 · coordinates + 1 per step; a `budget` of the spec ends a sample where it does not cover
//! one.
//!
//! ## References
//! Chen, Zhang, Sharma, Yi, Hsieh: ZOO: Zeroth Order Optimization Based Black-box Attacks to Deep Neural Networks without
//! Training Substitute Models, AISec 2017 (arXiv:1708.03999).

use burn::tensor::Tensor;
use rand::seq::index;
use realsafe_core::random::Purpose;
use realsafe_core::{Attack, AttackEntry, Batch, Margin, Role, Scores, Stop, inventory, read, state};
use realsafe_plan::{
    Access, AttackTraits, Component, Cost, Fallback, Goal, Norm, Origin, Parameter, ParameterKind, Surrogates, Traits,
    Values,
};

use crate::shared::finite_differences::{host_rows, queries};
use crate::shared::nearest::{Nearest, adversarial, sizes};
use crate::shared::population::{DIMENSION_REDUCTION, Population, grid, measure};
use crate::shared::squash::{squash, unsquash};

struct Zoo {
    population: Population,
    finite_difference: f32,
    learning_rate: f64,
    constant: f64,
    confidence: f32,
    in_pixels: bool,
    /// The pixels of each coordinate.
    cells: Vec<Vec<usize>>,
}

state! {
    struct Search {
        clean: Vec<Vec<f32>>,
        /// Where the images are in the space that is searched.
        places: Vec<Vec<f32>>,
        coordinates: Vec<Vec<Coordinate>>,
        nearest: Nearest,
    }
}

/// Adam on one coordinate.
#[derive(Clone, Copy, Default)]
struct Coordinate {
    mean: f64,
    square: f64,
    steps: i32,
}

impl Coordinate {
    /// The step along a slope for a learning rate of 1.
    fn step(&mut self, slope: f64) -> f64 {
        self.steps += 1;
        self.mean = 0.9 * self.mean + 0.1 * slope;
        self.square = 0.999 * self.square + 0.001 * slope * slope;
        let root = (self.square / (1.0 - 0.999_f64.powi(self.steps))).sqrt();
        self.mean / (1.0 - 0.9_f64.powi(self.steps)) / (root + 1e-8)
    }
}

impl Attack for Zoo {
    type Door = dyn Scores;
    type State = Search;

    fn steps(&self) -> u32 {
        self.population.steps()
    }

    fn step_cost(&self) -> Cost {
        self.population.step_cost()
    }

    fn next_cost(&self, step: u32, _: &Search, _: usize) -> Cost {
        self.population.cost_of(step)
    }

    fn start(&self, _: &mut Self::Door, batch: &Batch) -> Result<Search, Stop> {
        let clean = host_rows(read(batch.images.clone())?, batch.len());
        let place = |image: &Vec<f32>| image.iter().map(|pixel| self.place(*pixel)).collect();
        Ok(Search {
            places: clean.iter().map(place).collect(),
            coordinates: vec![vec![Coordinate::default(); self.cells.len()]; batch.len()],
            nearest: Nearest::new(batch),
            clean,
        })
    }

    fn step(&self, victim: &mut Self::Door, batch: &Batch, state: &mut Search) -> Result<(), Stop> {
        let count = self.population.samples(batch.step) / 2;
        let (places, clean) = (&state.places, &state.clean);
        let draw = |row: usize, points: &mut Vec<f32>| {
            let image: Vec<f32> = places[row].iter().map(|place| self.pixel(*place)).collect();
            let chosen = index::sample(&mut batch.stream(row, Purpose::Step), self.cells.len(), count).into_vec();
            for &cell in &chosen {
                for by in [self.finite_difference, -self.finite_difference] {
                    let first = points.len();
                    points.extend_from_slice(&image);
                    self.cells[cell].iter().for_each(|at| points[first + at] = self.pixel(places[row][*at] + by));
                }
            }
            chosen
        };
        let mut moves = Vec::with_capacity(batch.len());
        measure(victim, batch, &Margin, 2 * count, draw, |row, chosen, rises| {
            let slopes = chosen.into_iter().zip(rises.chunks_exact(2)).map(|(cell, rises)| {
                let distance = self.slope_of_distance(&places[row], &clean[row], cell);
                // What is not a number stays so, and moves nothing.
                let hinge =
                    |rise: f32| if rise.is_nan() { f64::NAN } else { f64::from((self.confidence - rise).max(0.0)) };
                let difference = self.constant * (hinge(rises[0]) - hinge(rises[1]));
                (cell, distance + difference / (2.0 * f64::from(self.finite_difference)))
            });
            moves.push(slopes.filter(|(_, slope)| slope.is_finite()).collect::<Vec<_>>());
        })?;
        for (row, moves) in moves.into_iter().enumerate() {
            for (cell, slope) in moves {
                #[expect(clippy::cast_possible_truncation, reason = "pixels are single precision")]
                let by = (self.learning_rate * state.coordinates[row][cell].step(slope)) as f32;
                for &at in &self.cells[cell] {
                    let place = &mut state.places[row][at];
                    *place = if self.in_pixels { (*place - by).clamp(0.0, 1.0) } else { *place - by };
                }
            }
        }
        let images = batch.upload(state.places.iter().flatten().map(|place| self.pixel(*place)).collect());
        let logits = victim.scores(batch, &images, Role::Iterate)?;
        let distances = sizes(Norm::L2, images.clone() - batch.images.clone())?;
        state.nearest.offer(&images, &distances, &adversarial(batch, &logits));
        Ok(())
    }

    fn iterates(&self, _: &Batch, state: &Search) -> Tensor<4> {
        state.nearest.images()
    }
}

impl Zoo {
    fn pixel(&self, place: f32) -> f32 {
        if self.in_pixels { place } else { squash(place) }
    }

    fn place(&self, pixel: f32) -> f32 {
        if self.in_pixels { pixel } else { unsquash(pixel) }
    }

    /// The slope of the squared distance along a coordinate, which is known: differences of rounded pixels would move those by whole
    /// steps that the victim does not mind.
    fn slope_of_distance(&self, places: &[f32], clean: &[f32], cell: usize) -> f64 {
        let slope = |&at: &usize| {
            let (place, pixel) = (f64::from(places[at]), self.pixel(places[at]));
            let slope = if self.in_pixels { 1.0 } else { (1.0 - place.tanh().powi(2)) / 2.0 };
            // Where a pixel has not moved, its way there and back may have.
            let unmoved = places[at] == self.place(clean[at]);
            if unmoved { 0.0 } else { 2.0 * f64::from(pixel - clean[at]) * slope }
        };
        self.cells[cell].iter().map(slope).sum()
    }
}

inventory::submit! {
    AttackEntry {
        component: Component {
            id: "zoo",
            revision: 2,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("zoo.rs"),
            parameters: &[
                queries("10000"),
                Parameter {
                    name: "coordinates",
                    kind: ParameterKind::Count { minimum: 1, maximum: 50_000 },
                    unit: "coordinates, two queries each",
                    fallback: Fallback::Value("128"),
                    documentation: "How many coordinates a step moves, at most those of the image.",
                },
                Parameter {
                    name: "finite-difference",
                    kind: ParameterKind::Number { minimum: 1e-6, maximum: 1.0 },
                    unit: "space that is searched",
                    fallback: Fallback::Value("0.01"),
                    documentation: "How far to either side the two images lie from which a slope is measured.",
                },
                Parameter {
                    name: "learning-rate",
                    kind: ParameterKind::Number { minimum: 0.0, maximum: 1e3 },
                    unit: "space that is searched",
                    fallback: Fallback::Value("0.1"),
                    documentation: "The step size of Adam.",
                },
                Parameter {
                    name: "constant",
                    kind: ParameterKind::Number { minimum: 1e-10, maximum: 1e10 },
                    unit: "squared distance per logit",
                    fallback: Fallback::Value("1"),
                    documentation: "The weight of the margin against the squared distance.",
                },
                Parameter {
                    name: "confidence",
                    kind: ParameterKind::Number { minimum: 0.0, maximum: 1e6 },
                    unit: "logits",
                    fallback: Fallback::Value("0"),
                    documentation: "By how much the margin is pushed past the boundary.",
                },
                Parameter {
                    name: "space",
                    kind: ParameterKind::Choice(&["tanh", "pixels"]),
                    unit: "",
                    fallback: Fallback::Value("tanh"),
                    documentation: "What is searched: the inverse hyperbolic tangent of the image, or the image itself.",
                },
                DIMENSION_REDUCTION,
            ],
            example: "queries = 2000\ncoordinates = 20\ndimension-reduction = 8",
            traits: Traits::Attack(AttackTraits {
                access: Access::Scores,
                surrogates: Surrogates::Unused,
                norms: &[Norm::L2],
                goals: &Goal::ALL,
                minimises_distance: true,
                cost: &|values| population(values, u64::MAX).cost(),
            }),
        },
        #[expect(clippy::cast_possible_truncation, reason = "pixels are single precision on every device")]
        build: &|values, context| {
            let cells = grid(values, context.shape).pixels_of_cells();
            Ok(Box::new(Zoo {
                population: population(values, cells.len() as u64),
                finite_difference: values.number("finite-difference") as f32,
                learning_rate: values.number("learning-rate"),
                constant: values.number("constant"),
                confidence: values.number("confidence") as f32,
                in_pixels: values.text("space") == "pixels",
                cells,
            }))
        },
    }
}

/// Two images for each coordinate of a step.
fn population(values: &Values, cells: u64) -> Population {
    Population::new(values.count("queries"), 2 * values.count("coordinates").min(cells))
}
