//! `plan`: what a run would do, and what it would cost at most.

use std::path::PathBuf;

use realsafe_plan::{Cell, Cost, Experiment};
use realsafe_results::{Store, table};
use serde_json::{Value, json};

use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::selection::Selection;
use crate::terminal::{Format, print, print_json};
use crate::work::{Work, existing_store};

/// Show what a run would do: cells, how many are stored, and an upper bound of the cost of the others
#[derive(clap::Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    selection: Selection,
    /// Where the results are
    #[arg(long, value_name = "DIR", default_value = "results")]
    out: PathBuf,
    /// How the plan is shown
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// A row of the plan: an experiment, or all of them.
#[derive(Default)]
struct Share {
    name: String,
    cells: usize,
    stored: usize,
    /// The most that all cells can cost.
    whole: Cost,
    /// The most that the cells can cost that are not stored.
    left: Cost,
}

impl Plan {
    pub(crate) fn execute(&self) -> Outcome {
        let work = Work::new(&self.selection)?;
        let store = self.store()?;
        let share = |experiment: &Experiment| {
            work.cells_of(experiment).fold(Share::named(&experiment.id), |share, cell| share.and(cell, store.as_ref()))
        };
        let experiments: Vec<Share> = work.plan.experiments.iter().map(share).collect();
        let total = work.plan.cells.iter().fold(Share::named("all"), |share, cell| share.and(cell, store.as_ref()));
        match self.format {
            Format::Text => print(&(text(&experiments, &total) + &uncounted(&work.plan.cells)))?,
            Format::Json => print_json(&json!({
                "experiments": experiments.iter().map(Share::object).collect::<Vec<_>>(),
                "all": total.object(),
            }))?,
        }
        Ok(Exit::Done)
    }

    /// The store, where there is one already: planning writes nothing.
    fn store(&self) -> Result<Option<Store>, Failure> {
        if self.out.join("store").exists() { existing_store(&self.out).map(Some) } else { Ok(None) }
    }
}

impl Share {
    fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    fn and(self, cell: &Cell, store: Option<&Store>) -> Self {
        let stored = store.is_some_and(|store| store.is_done(&cell.key));
        Self {
            name: self.name,
            cells: self.cells + 1,
            stored: self.stored + usize::from(stored),
            whole: self.whole.plus(cell.cost),
            left: if stored { self.left } else { self.left.plus(cell.cost) },
        }
    }

    fn row(&self) -> Vec<String> {
        let Cost { queries, forwards, backwards } = self.whole;
        let counts = [self.cells as u64, self.stored as u64, queries, forwards, backwards];
        [self.name.clone()].into_iter().chain(counts.map(grouped)).collect()
    }

    fn object(&self) -> Value {
        let cost =
            |cost: Cost| json!({ "queries": cost.queries, "forwards": cost.forwards, "backwards": cost.backwards });
        json!({
            "experiment": self.name,
            "cells": self.cells,
            "stored": self.stored,
            "at_most": cost(self.whole),
            "left_at_most": cost(self.left),
        })
    }
}

fn text(experiments: &[Share], total: &Share) -> String {
    let rows = experiments.iter().map(Share::row).chain((experiments.len() > 1).then(|| total.row()));
    let header = ["experiment", "cells", "stored", "queries at most", "forwards at most", "backwards at most"];
    let left = format!(
        "\nto do: {} cells, at most {} forward and {} backward passes\n",
        grouped((total.cells - total.stored) as u64),
        grouped(total.left.forwards),
        grouped(total.left.backwards)
    );
    table(&header, 1..header.len(), rows) + &left
}

/// What the bound leaves out, where the cells have any of it.
fn uncounted(cells: &[Cell]) -> String {
    let surrogates = cells.iter().any(|cell| !cell.attack.surrogates.is_empty());
    let certificates = cells.iter().any(|cell| cell.attack.chosen.component.is_certificate());
    let parts = [(surrogates, "the passes of surrogates"), (certificates, "what certificates ask for")];
    let present: Vec<&str> = parts.into_iter().filter_map(|(is_there, name)| is_there.then_some(name)).collect();
    if present.is_empty() { String::new() } else { format!("not counted: {}\n", present.join(", ")) }
}

/// A count with commas between groups of three digits.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
