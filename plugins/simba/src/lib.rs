//! SimBA, the simple black-box attack: tries one direction of an orthonormal basis after the other, forwards and backwards.
//!
//! ## What it does
//! A step takes the next direction of a random order and moves the image by `step-size` along it; if that does not help,
//! by as much against it; if that does not help either, the image stays. What helps is a smaller probability of the
//! label, or a larger one of the target. Every image is projected onto the ball before it is tried.
//!
//! `basis = "pixel"` changes one value of one pixel at a time; `basis = "dct"` adds a cosine of one channel's discrete
//! cosine transform, of which `frequencies` keeps the lowest: the paper keeps 0.125 of each side on ImageNet. The order of
//! directions is drawn per sample, without replacement; after the last one it begins anew.
//!
//! ## Threat model
//! Scores; linf and l2; untargeted, targeted and targeted-misclassify.
//!
//! ## Cost
//! One query at the start, and one or two per step.
//!
//! ## References
//! Guo, Gardner, You, Wilson, Weinberger: Simple Black-box Adversarial Attacks, ICML 2019 (arXiv:1905.07121).

use realsafe_plugin::{
    About, Attack, Batch, Cost, Error, Parameter, Plan, Problem, Role, Rows, Stream, Values, Victim, access,
};

mod basis;

use basis::Basis;

realsafe_plugin::plugin!(static PLUGIN: [attack Simba]);
realsafe_plugin::export!(PLUGIN);

/// What is kept per row: first the objective of the iterate, then the order of the directions, as whole numbers.
const OBJECTIVE: usize = 0;
const ORDER: usize = 1;

struct Simba {
    step_size: f32,
    basis: Basis,
    classes: usize,
    pixels: usize,
}

impl Attack for Simba {
    const ABOUT: About = About {
        id: "simba",
        revision: 1,
        documentation: include_str!("lib.rs"),
        example: "steps = 500\nbasis = \"dct\"",
        parameters: &[
            Parameter::count("steps", 1, 10_000_000).fallback("1000").documentation("How many directions are tried."),
            Parameter::number("step-size", 0.0, 1e6)
                .fallback("0.2")
                .unit("pixel range 0 to 1, along a direction of length 1")
                .documentation("How far an image moves in a step."),
            Parameter::choice("basis", &["pixel", "dct"])
                .fallback("pixel")
                .documentation("The directions: single values, or cosines over a channel."),
            Parameter::number("frequencies", 0.0, 1.0)
                .fallback("1")
                .unit("share of the height and of the width")
                .documentation("How many of the lowest frequencies of each side are kept, for the basis dct."),
        ],
    };
    type Access = access::Scores;

    fn plan(values: &Values<'_>) -> Result<Plan, Error> {
        let steps = u32::try_from(values.count("steps")?).unwrap_or(u32::MAX);
        Ok(Plan { steps, start: Cost::queries(1), step: Cost::queries(2) })
    }

    fn create(problem: &Problem, values: &Values<'_>) -> Result<Self, Error> {
        let basis = match values.choice("basis")? {
            "dct" => Basis::cosines(&problem.shape, values.number("frequencies")?),
            _ => Basis::pixels(&problem.shape),
        };
        // The order is kept in floats, which are exact up to here.
        if basis.len() > 1 << f32::MANTISSA_DIGITS {
            return Err(Error::bad_value(
                "images are too large for this attack; `basis = \"dct\"` keeps fewer directions",
            ));
        }
        Ok(Self {
            step_size: values.number("step-size")? as f32,
            basis,
            classes: problem.shape.classes as usize,
            pixels: problem.shape.values(),
        })
    }

    fn state_len(&self) -> usize {
        ORDER + self.basis.len()
    }

    fn start(
        &self,
        victim: &mut Victim<'_, Self::Access>,
        batch: &Batch<'_>,
        iterates: &mut Rows<'_>,
        state: &mut Rows<'_>,
    ) -> Result<(), Error> {
        let mut keys = vec![0.0; self.basis.len()];
        for &row in batch.rows() {
            victim.uniform(row, Stream::START, &mut keys)?;
            let mut order: Vec<usize> = (0..keys.len()).collect();
            order.sort_by(|a, b| keys[*a].total_cmp(&keys[*b]));
            let kept = state.row_mut(row as usize)[ORDER..].iter_mut();
            kept.zip(order).for_each(|(place, direction)| *place = direction as f32);
        }
        let objectives = self.objectives(victim, batch, batch.rows(), iterates)?;
        objectives.into_iter().enumerate().for_each(|(row, objective)| state.row_mut(row)[OBJECTIVE] = objective);
        Ok(())
    }

    fn step(
        &self,
        victim: &mut Victim<'_, Self::Access>,
        batch: &Batch<'_>,
        iterates: &mut Rows<'_>,
        state: &mut Rows<'_>,
    ) -> Result<(), Error> {
        let place = ORDER + batch.step as usize % self.basis.len();
        let mut rows = batch.rows().to_vec();
        for step in [self.step_size, -self.step_size] {
            let mut candidates = Vec::with_capacity(rows.len() * self.pixels);
            for &row in &rows {
                let from = candidates.len();
                candidates.extend_from_slice(iterates.row(row as usize));
                let direction = state.row(row as usize)[place] as usize;
                self.basis.add(direction, step, &mut candidates[from..]);
            }
            victim.project(&rows, &mut candidates)?;
            let objectives = self.objectives(victim, batch, &rows, &candidates)?;
            let tried = candidates.chunks_exact(self.pixels).zip(objectives);
            let mut worse = Vec::new();
            for (&row, (candidate, objective)) in rows.iter().zip(tried) {
                let best = &mut state.row_mut(row as usize)[OBJECTIVE];
                if objective > *best {
                    *best = objective;
                    iterates.row_mut(row as usize).copy_from_slice(candidate);
                } else {
                    worse.push(row);
                }
            }
            if worse.is_empty() {
                break;
            }
            rows = worse;
        }
        Ok(())
    }
}

impl Simba {
    /// What is raised for each image: minus the logarithm of the label's probability, or that of the target's.
    fn objectives(
        &self,
        victim: &mut Victim<'_, access::Scores>,
        batch: &Batch<'_>,
        rows: &[u32],
        images: &[f32],
    ) -> Result<Vec<f32>, Error> {
        let logits = victim.scores(rows, images, Role::Iterate)?;
        let pairs = logits.chunks_exact(self.classes).zip(rows);
        Ok(pairs
            .map(|(logits, row)| {
                let (class, sign) = batch.aim(*row as usize);
                -sign * log_probability(logits, class as usize)
            })
            .collect())
    }
}

fn log_probability(logits: &[f32], class: usize) -> f32 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = logits.iter().map(|logit| f64::from(logit - largest).exp()).sum();
    (f64::from(logits[class] - largest) - total.ln()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_survive_large_logits() {
        assert_eq!(log_probability(&[1000.0, 1000.0], 0), -(2.0_f32.ln()));
        assert_eq!(log_probability(&[0.0, 200.0], 0), -200.0);
    }
}
