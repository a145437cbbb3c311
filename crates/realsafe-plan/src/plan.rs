//! From experiments to cells.

use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::experiment::Combination;
use crate::key::key;
use crate::{Access, AttackChoice, Budget, Cell, Chosen, Cost, Experiment, Key, Number, Search, Success, Threat};

/// All that is to be done, in order.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The experiments, in the order in which they were given.
    pub experiments: Vec<Experiment>,
    /// The cells of all experiments, in the order of [`expand`].
    pub cells: Vec<Cell>,
    /// The class of devices that it is for: backend and instruction set, or GPU.
    pub device_class: String,
}

impl Plan {
    /// Expands experiments for a class of devices (backend and instruction set, or GPU).
    ///
    /// # Errors
    /// Names every experiment whose id another one has already.
    pub fn new(experiments: Vec<Experiment>, device_class: &str) -> Result<Self, Diagnostics> {
        let mut diagnostics = Diagnostics::default();
        for (index, experiment) in experiments.iter().enumerate() {
            if let Some(first) = experiments[..index].iter().find(|other| other.id == experiment.id) {
                let message = format!("two experiments are named `{}`", experiment.id);
                let help = format!("the other one is in {}", first.source.display());
                diagnostics.push(Diagnostic::at(&experiment.place, message).help(help));
            }
        }
        if !diagnostics.is_empty() {
            return Err(diagnostics);
        }
        let cells = experiments.iter().flat_map(|experiment| expand(experiment, device_class)).collect();
        Ok(Self { experiments, cells, device_class: device_class.to_owned() })
    }

    /// The most that all cells together can cost.
    pub fn cost(&self) -> Cost {
        self.cells.iter().fold(Cost::default(), |sum, cell| sum.plus(cell.cost))
    }
}

/// The cells of an experiment, ordered by model, stack, attack, threat, eps, seed and samples.
///
/// Samples are cut at multiples of the chunk size in the numbering of the dataset, so that an experiment on more
/// samples has the cells of one on fewer, but for the last.
pub fn expand(experiment: &Experiment, device_class: &str) -> Vec<Cell> {
    let chunk = experiment.chunk.max(1);
    let chunks: Vec<&[u32]> = experiment.samples.chunk_by(|a, b| a / chunk == b / chunk).collect();
    let mut cells = Vec::new();
    for combination in &experiment.combinations {
        let threat = &experiment.threats[combination.threat];
        let minimises = experiment.attacks[combination.attack].minimises_distance();
        let radii: Vec<Option<&Number>> = if minimises { vec![None] } else { threat.eps.iter().map(Some).collect() };
        for eps in radii {
            for seed in &experiment.seeds {
                for samples in &chunks {
                    let mut cell = cell(experiment, *combination, eps, *seed, samples);
                    cell.key = key(&cell, device_class);
                    cells.push(cell);
                }
            }
        }
    }
    cells
}

/// A cell, its key still empty.
fn cell(experiment: &Experiment, combination: Combination, eps: Option<&Number>, seed: u64, samples: &[u32]) -> Cell {
    let spec = &experiment.attacks[combination.attack];
    let threat = &experiment.threats[combination.threat];
    let mut stack = experiment.stacks[combination.stack].layers.clone();
    for layer in &mut stack {
        if let Some(gradient) = spec.gradients.get(&layer.defense.id) {
            layer.gradient = *gradient;
        }
    }
    let mut attack = spec.choice_in(threat);
    let model = &experiment.models[combination.model];
    let draws = experiment.draws_of(model, &stack);
    if draws.is_some() {
        attack.success = Success::Last;
    }
    let cost = cost_per_sample(&attack).times(samples.len() as u64);
    Cell {
        key: Key(String::new()),
        experiment: experiment.id.clone(),
        data: Arc::clone(&experiment.data),
        samples: samples.to_vec(),
        model: Arc::clone(model),
        stack,
        attack,
        threat: Threat {
            id: threat.id.clone(),
            norm: threat.norm,
            unit: threat.unit,
            eps: eps.cloned(),
            goal: threat.goal,
            target: threat.target.clone(),
        },
        seed,
        draws,
        cost,
    }
}

/// The most that an attack can cost on one sample: all restarts, but no more than its budget.
fn cost_per_sample(choice: &AttackChoice) -> Cost {
    let once = |chosen: &Chosen, restarts: u32, eot: u32| {
        // Values that do not fit were refused when the spec was read.
        let cost = chosen.component.attack().and_then(|traits| (traits.cost)(&chosen.values).ok());
        cost.unwrap_or_default().times(u64::from(restarts) * u64::from(eot))
    };
    let whole = match choice.access() {
        Access::Nothing => Cost::default(),
        _ if choice.members.is_empty() => once(&choice.chosen, choice.restarts, choice.eot),
        _ => {
            let members = choice.members.iter().map(|member| once(&member.chosen, member.restarts, member.eot));
            members.fold(Cost::default(), Cost::plus)
        }
    };
    let Cost { queries, forwards, backwards } = whole.times(choice.search.as_ref().map_or(1, Search::runs));
    let Budget { queries: most_queries, forwards: most_forwards, backwards: most_backwards } = choice.budget;
    let capped = |cost: u64, most: Option<u64>| most.map_or(cost, |most| cost.min(most));
    Cost {
        queries: capped(queries, most_queries),
        forwards: capped(forwards, most_forwards),
        backwards: capped(backwards, most_backwards),
    }
}
