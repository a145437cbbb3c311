//! `samples.csv`: a row per sample and cell, in plan order; its columns never change.
//!
//! What the cell is stands before, the seed behind the columns of an outcome. The samples of a cell that failed have
//! rows as well: they say by their status how it failed, until a later run replaces them.

use std::path::Path;

use fs_err as fs;
use realsafe_plan::Cell;

use crate::record::{OUTCOME_COLUMNS, OutcomeRow};
use crate::{Result, Store};

/// The columns before those of an outcome.
const BEFORE: [&str; 8] = ["experiment", "cell", "model", "defense", "attack", "norm", "goal", "eps"];

/// Writes the samples of all cells that are there, cell by cell, so that few are in memory at once.
pub(crate) fn write_samples(path: &Path, cells: &[Cell], store: &Store) -> Result<()> {
    let file = std::io::BufWriter::new(fs::File::create(path)?);
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(file);
    let header = BEFORE.into_iter().chain(OUTCOME_COLUMNS).chain(["seed"]);
    writer.write_record(header).map_err(std::io::Error::from)?;
    for cell in cells {
        let Some(record) = store.get_numbers(&cell.key)? else {
            continue;
        };
        let stack = cell.stack_name();
        let eps = cell.threat.eps.as_ref().map_or("", |eps| eps.text());
        let (norm, goal) = (cell.threat.norm.name(), cell.threat.goal.name());
        let (model, attack) = (cell.model.id.as_str(), cell.attack.chosen.id.as_str());
        let before = [cell.experiment.as_str(), cell.key.as_str(), model, &stack, attack, norm, goal, eps];
        for outcome in &record.outcomes {
            writer.serialize((before, OutcomeRow::from(outcome), cell.seed)).map_err(std::io::Error::from)?;
        }
    }
    let file = writer.into_inner().map_err(|error| error.into_error())?;
    file.into_inner().map_err(|error| error.into_error())?.sync_all()?;
    Ok(())
}
