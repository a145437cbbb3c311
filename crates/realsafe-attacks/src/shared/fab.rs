//! The fast adaptive boundary attack, whatever it is aimed at.

use std::sync::Arc;

use burn::tensor::Tensor;
use rand_chacha::ChaCha8Rng;
use realsafe_core::projection::Distances;
use realsafe_core::random::Purpose;
use realsafe_core::{
    Attack, Batch, Gradients, Logits, Role, Rows, Select, Stop, fill_gaussian, fill_uniform, read, state,
};
use realsafe_plan::{Cost, Fallback, Goal, Norm, Parameter, ParameterKind, Values};

use super::ascent::steps;
use super::hyperplane::onto_hyperplane;

/// The norms in which the smallest change onto a hyperplane is known.
pub(crate) const NORMS: &[Norm] = &[Norm::Linf, Norm::L2, Norm::L1];

/// The number of steps.
pub(crate) const STEPS: Parameter =
    Parameter { unit: "steps", documentation: "How many steps are made from every start.", ..steps("100") };

/// The largest share of the original image's projection, alpha_max in the paper.
pub(crate) const MAXIMAL_BIAS: Parameter = Parameter {
    name: "maximal-bias",
    kind: ParameterKind::Number { minimum: 0.0, maximum: 1.0 },
    unit: "share of the step",
    fallback: Fallback::Value("0.1"),
    documentation: "How much the projection of the clean image weighs at most; alpha_max in the paper.",
};

/// How far beyond the hyperplane a step goes, eta − 1 in the paper.
pub(crate) const OVERSHOOT: Parameter = Parameter {
    name: "overshoot",
    kind: ParameterKind::Number { minimum: 0.0, maximum: 100.0 },
    unit: "share of the step",
    fallback: Fallback::Value("0.05"),
    documentation: "How far beyond the hyperplane a step goes; eta in the paper is one more.",
};

/// What is kept of the change of an adversarial, beta in the paper.
pub(crate) const BACKWARD_STEP: Parameter = Parameter {
    name: "backward-step",
    kind: ParameterKind::Number { minimum: 0.0, maximum: 1.0 },
    unit: "share of the change",
    fallback: Fallback::Value("0.9"),
    documentation: "How much of its change an adversarial keeps before the next step; beta in the paper.",
};

/// The radius in which restarts begin.
pub(crate) const START_RADIUS: Parameter = Parameter {
    name: "start-radius",
    kind: ParameterKind::Number { minimum: 0.0, maximum: 1e6 },
    unit: "pixel range 0 to 1, in the norm of the threat model",
    fallback: Fallback::Unset,
    documentation: "Restarts begin at half this distance; unset: eps, and 0.3 (linf), 1 (l2) or 5 (l1) where there is none.",
};

/// Which boundaries are made linear.
#[derive(Clone, Copy)]
pub(crate) enum Boundaries {
    /// Those to so many of the likeliest other classes, at once; to the target where there is one.
    AtOnce(usize),
    /// Those to so many of the classes that are likeliest on the clean image, one after the other.
    InTurn(usize),
}

pub(crate) struct Fab {
    steps: u64,
    maximal_bias: f64,
    overshoot: f64,
    backward_step: f64,
    start_radius: Option<f64>,
    boundaries: Boundaries,
}

state! {
    pub(crate) struct Search {
        clean: Vec<Arc<[f32]>>,
        points: Vec<Vec<f32>>,
        /// The nearest adversarial so far, and its distance.
        nearest: Vec<Option<(f64, Vec<f32>)>>,
        /// The classes to be aimed at in turn.
        classes: Vec<Vec<usize>>,
    }
}

impl Fab {
    pub(crate) fn new(values: &Values, boundaries: Boundaries) -> Self {
        Self {
            steps: values.count("steps"),
            maximal_bias: values.number("maximal-bias"),
            overshoot: values.number("overshoot"),
            backward_step: values.number("backward-step"),
            start_radius: values.is_set("start-radius").then(|| values.number("start-radius")),
            boundaries,
        }
    }

    /// How many gradients a step takes.
    const fn gradients(&self) -> usize {
        match self.boundaries {
            Boundaries::AtOnce(count) => count,
            Boundaries::InTurn(_) => 1,
        }
    }

    /// Where a row begins: at the clean image, or in restarts at a random point around it.
    fn begin(&self, batch: &Batch, row: usize, clean: &[f32]) -> Vec<f32> {
        if batch.restart() == 0 {
            return clean.to_vec();
        }
        let radius = self.start_radius.unwrap_or_else(|| match (batch.eps[row], batch.norm) {
            (eps, _) if eps.is_finite() => eps.into(),
            (_, Norm::Linf) => 0.3,
            (_, Norm::L2) => 1.0,
            _ => 5.0,
        });
        let mut noise = vec![0.0; clean.len()];
        let fill: fn(&mut ChaCha8Rng, &mut [f32]) = if batch.norm == Norm::Linf { fill_uniform } else { fill_gaussian };
        fill(&mut batch.stream(row, Purpose::Start), &mut noise);
        let origin = vec![0.0; clean.len()];
        let scale = 0.5 * radius / Distances::between(&origin, &noise).in_norm(batch.norm).max(f64::MIN_POSITIVE);
        clean.iter().zip(noise).map(|(clean, noise)| pixel(f64::from(*clean) + scale * f64::from(noise))).collect()
    }

    /// The class whose logit shall exceed another's, and that other.
    fn boundary(&self, batch: &Batch, row: usize, rank: usize, classes: &[usize], logits: &[f32]) -> (usize, usize) {
        let label = batch.labels[row] as usize;
        match (self.boundaries, batch.targets[row]) {
            (Boundaries::AtOnce(_), Some(target)) => {
                let target = target as usize;
                // The target must win against all others, or against the label alone.
                (target, if batch.goal == Goal::Targeted { likeliest(logits, target)[0] } else { label })
            }
            (Boundaries::AtOnce(_), None) => (likeliest(logits, label)[rank], label),
            (Boundaries::InTurn(_), _) => (classes[(u64::from(batch.step) / self.steps) as usize], label),
        }
    }

    /// A step of one row, from the differences of logits and their gradients.
    fn advance(&self, norm: Norm, clean: &[f32], point: &[f32], boundaries: &[(f64, &[f32])]) -> Vec<f32> {
        let distance = |(difference, gradient): &(f64, &[f32])| difference.abs() / (1e-12 + dual(norm, gradient));
        let nearest = boundaries.iter().map(|boundary| (distance(boundary), boundary));
        let nearest = nearest.filter(|(distance, _)| distance.is_finite()).min_by(|a, b| a.0.total_cmp(&b.0));
        let Some((_, &(difference, gradient))) = nearest else { return point.to_vec() };
        let away = clean.iter().zip(point).zip(gradient);
        let at_clean = difference
            + away
                .map(|((clean, point), slope)| (f64::from(*clean) - f64::from(*point)) * f64::from(*slope))
                .sum::<f64>();
        let from_point = onto_hyperplane(norm, point, gradient, difference);
        let from_clean = onto_hyperplane(norm, clean, gradient, at_clean);
        let (size, clean_size) = (length(norm, &from_point).max(1e-8), length(norm, &from_clean).max(1e-8));
        let bias = (size / (size + clean_size)).min(self.maximal_bias);
        let extrapolation = 1.0 + self.overshoot;
        let pixels = point.iter().zip(&from_point).zip(clean.iter().zip(&from_clean));
        let pixels = pixels.map(|((point, by), (clean, clean_by))| {
            let biased = bias * (f64::from(*clean) + extrapolation * clean_by);
            pixel((1.0 - bias) * (f64::from(*point) + extrapolation * by) + biased)
        });
        pixels.collect()
    }
}

impl Search {
    /// Remembers the points that are adversarial and nearer than what was known; says which are adversarial.
    fn remember(&mut self, batch: &Batch, predictions: impl Iterator<Item = Option<u32>>) -> Vec<bool> {
        let rows = predictions.enumerate().map(|(row, prediction)| {
            let adversarial = batch.reached(row, prediction);
            if adversarial {
                let point = &self.points[row];
                let distance = Distances::between(&self.clean[row], point).in_norm(batch.norm);
                if self.nearest[row].as_ref().is_none_or(|(nearest, _)| distance < *nearest) {
                    self.nearest[row] = Some((distance, point.clone()));
                }
            }
            adversarial
        });
        rows.collect()
    }
}

impl Attack for Fab {
    type Door = dyn Gradients;
    type State = Search;

    fn steps(&self) -> u32 {
        let turns = if let Boundaries::InTurn(classes) = self.boundaries { classes as u64 } else { 1 };
        u32::try_from(self.steps.saturating_mul(turns)).unwrap_or(u32::MAX)
    }

    fn start_cost(&self) -> Cost {
        match self.boundaries {
            Boundaries::AtOnce(_) => Cost::default(),
            Boundaries::InTurn(_) => Cost::forward(1),
        }
    }

    fn step_cost(&self) -> Cost {
        Cost::gradient(self.gradients() as u64).plus(Cost::forward(1))
    }

    fn start(&self, victim: &mut Self::Door, batch: &Batch) -> Result<Search, Stop> {
        let [channels, height, width] = batch.shape();
        let clean = read(batch.images.clone())?;
        let clean: Vec<Arc<[f32]>> = clean.chunks_exact(channels * height * width).map(Arc::from).collect();
        let classes = match self.boundaries {
            Boundaries::AtOnce(_) => vec![Vec::new(); batch.len()],
            Boundaries::InTurn(_) => {
                let logits = victim.scores(batch, &batch.images, Role::Iterate)?;
                let rows = logits.rows().zip(&batch.labels);
                rows.map(|(logits, label)| likeliest(logits, *label as usize)).collect()
            }
        };
        Ok(Search { points: vec![Vec::new(); batch.len()], nearest: vec![None; batch.len()], clean, classes })
    }

    fn step(&self, victim: &mut Self::Door, batch: &Batch, state: &mut Search) -> Result<(), Stop> {
        if u64::from(batch.step).is_multiple_of(self.steps) {
            let begin = |(row, clean): (usize, &Arc<[f32]>)| self.begin(batch, row, clean);
            state.points = state.clean.iter().enumerate().map(begin).collect();
        }
        // A row for every boundary.
        let count = self.gradients();
        let rows = Rows::new((0..batch.len() * count).map(|at| at / count).collect(), &batch.device());
        let points = batch.upload(state.points.concat()).choose(&rows);
        let boundary = |at: usize, logits: &[f32]| {
            self.boundary(batch, at / count, at % count, &state.classes[at / count], logits)
        };
        let mut derive = |at: usize, logits: &[f32], derivatives: &mut [f32]| {
            let (class, other) = boundary(at, logits);
            (derivatives[class], derivatives[other]) = (1.0, -1.0);
        };
        let (logits, gradients) =
            victim.gradient_of_logits(&batch.choose(&rows), &points, &mut derive, Role::Iterate)?;
        let gradients = read(gradients)?;
        let differences = logits.rows().enumerate().map(|(at, logits)| {
            let (class, other) = boundary(at, logits);
            f64::from(logits[class]) - f64::from(logits[other])
        });
        let boundaries: Vec<(f64, &[f32])> =
            differences.zip(gradients.chunks_exact(gradients.len() / (batch.len() * count))).collect();
        let rows = state.clean.iter().zip(&state.points).zip(boundaries.chunks_exact(count));
        let moved =
            rows.map(|((clean, point), boundaries)| self.advance(batch.norm, clean, point, boundaries)).collect();
        state.remember(batch, logits.predictions().into_iter().step_by(count));
        state.points = moved;
        let answer: Logits = victim.scores(batch, &batch.upload(state.points.concat()), Role::Iterate)?;
        let adversarial = state.remember(batch, answer.predictions().into_iter());
        for (row, _) in adversarial.into_iter().enumerate().filter(|(_, adversarial)| *adversarial) {
            for (point, clean) in state.points[row].iter_mut().zip(&*state.clean[row]) {
                let clean = f64::from(*clean);
                *point = pixel(clean + self.backward_step * (f64::from(*point) - clean));
            }
        }
        Ok(())
    }

    fn iterates(&self, batch: &Batch, state: &Search) -> Tensor<4> {
        let within = |row: usize, distance: f64| distance <= batch.norm.tolerance(batch.eps[row].into());
        let images = state.nearest.iter().zip(&state.clean).enumerate().map(|(row, (nearest, clean))| match nearest {
            Some((distance, image)) if within(row, *distance) => image,
            _ => &**clean,
        });
        batch.upload(images.collect::<Vec<&[f32]>>().concat())
    }
}

/// All classes but one, the largest logit first.
fn likeliest(logits: &[f32], without: usize) -> Vec<usize> {
    let mut classes: Vec<usize> = (0..logits.len()).filter(|class| *class != without).collect();
    classes.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
    classes
}

#[expect(clippy::cast_possible_truncation, reason = "pixels are single precision")]
fn pixel(value: f64) -> f32 {
    value.clamp(0.0, 1.0) as f32
}

/// The size of a change in a norm.
fn length(norm: Norm, change: &[f64]) -> f64 {
    match norm {
        Norm::Linf => change.iter().fold(0.0, |largest, by| by.abs().max(largest)),
        Norm::L2 => change.iter().map(|by| by * by).sum::<f64>().sqrt(),
        Norm::L1 | Norm::L0 => change.iter().map(|by| by.abs()).sum(),
    }
}

/// The size of a gradient in the dual norm.
fn dual(norm: Norm, gradient: &[f32]) -> f64 {
    let slopes = gradient.iter().map(|slope| f64::from(*slope).abs());
    match norm {
        Norm::Linf => slopes.sum(),
        Norm::L2 => slopes.map(|slope| slope * slope).sum::<f64>().sqrt(),
        Norm::L1 | Norm::L0 => slopes.fold(0.0, f64::max),
    }
}
