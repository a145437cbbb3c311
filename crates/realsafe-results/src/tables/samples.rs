//! `samples.csv`: a row per sample and cell, in plan order; its columns never change.
//!
//! Only where a victim of the plan is randomised, three more stand behind these: the shares of its draws on which the clean
//! image is predicted as its label, the final image is, and the final image does not reach the goal; empty for other
//! victims. Predictions are then the most frequent ones, and the status is that of the majority.
//!
//! Only where an experiment has threat models that norm and goal do not tell apart, `threat` stands at the end.
//!
//! What the cell is stands before, the seed behind the columns of an outcome. The samples of a cell that failed have
//! rows as well: they say by their status how it failed, until a later run replaces them.

use std::collections::BTreeSet;
use std::path::Path;

use fs_err as fs;
use realsafe_plan::Cell;

use crate::record::{OUTCOME_COLUMNS, OutcomeRow, SHARE_COLUMNS};
use crate::{Result, Shares, Store};

/// The columns before those of an outcome.
const BEFORE: [&str; 8] = ["experiment", "cell", "model", "defense", "attack", "norm", "goal", "eps"];

/// Writes the samples of all cells that are there, cell by cell, so that few are in memory at once.
pub(crate) fn write_samples(path: &Path, cells: &[Cell], store: &Store) -> Result<()> {
    let file = std::io::BufWriter::new(fs::File::create(path)?);
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(file);
    let randomised = cells.iter().any(|cell| cell.draws.is_some());
    let named = has_threats_alike(cells);
    let shares = SHARE_COLUMNS.into_iter().filter(|_| randomised);
    let threat = ["threat"].into_iter().filter(|_| named);
    let header = BEFORE.into_iter().chain(OUTCOME_COLUMNS).chain(["seed"]).chain(shares).chain(threat);
    writer.write_record(header).map_err(std::io::Error::from)?;
    for cell in cells {
        let Some(record) = store.get_numbers(&cell.key)? else {
            continue;
        };
        let stack = cell.stack_name();
        let eps = cell.threat.eps.as_ref().map_or("", |eps| eps.text());
        let (norm, goal) = (cell.threat.unit.name, cell.threat.goal.name());
        let (model, attack) = (cell.model.id.as_str(), cell.attack.chosen.id.as_str());
        let before = [cell.experiment.as_str(), cell.key.as_str(), model, &stack, attack, norm, goal, eps];
        for outcome in &record.outcomes {
            let row = (before, OutcomeRow::from(outcome), cell.seed);
            let shares = outcome.shares.map(|Shares { clean, correct, robust }| [clean, correct, robust].map(Some));
            let threat = &cell.threat.id;
            match (shares.unwrap_or_default(), randomised, named) {
                (shares, true, true) => writer.serialize((row, shares, threat)),
                (shares, true, false) => writer.serialize((row, shares)),
                (_, false, true) => writer.serialize((row, threat)),
                (_, false, false) => writer.serialize(row),
            }
            .map_err(std::io::Error::from)?;
        }
    }
    let file = writer.into_inner().map_err(|error| error.into_error())?;
    file.into_inner().map_err(|error| error.into_error())?.sync_all()?;
    Ok(())
}

/// Whether an experiment has several threat models of one norm and goal.
fn has_threats_alike(cells: &[Cell]) -> bool {
    let threats: BTreeSet<_> = cells
        .iter()
        .map(|cell| (&cell.experiment, &cell.threat))
        .map(|(experiment, threat)| ((experiment, threat.unit.name, threat.goal), &threat.id))
        .collect();
    let told: BTreeSet<_> = threats.iter().map(|(told, _)| told).collect();
    told.len() < threats.len()
}
