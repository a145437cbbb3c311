//! `timings.csv`: how long each cell took, where and on what, from the journals. Differs from run to run.

use std::collections::BTreeMap;

use realsafe_plan::Cell;

use crate::files::csv_bytes;
use crate::journal::{Entry, read_journals};
use crate::{Result, Store};

const COLUMNS: [&str; 13] = [
    "experiment",
    "cell",
    "model",
    "defense",
    "attack",
    "threat",
    "eps",
    "seed",
    "worker",
    "event",
    "seconds",
    "host",
    "device",
];

/// The events of all cells of the plan, in plan order.
pub(crate) fn timings(cells: &[Cell], store: &Store) -> Result<Vec<u8>> {
    let journals = read_journals(store)?;
    let mut by_cell: BTreeMap<&str, Vec<&(String, Entry)>> = BTreeMap::new();
    for entry in &journals {
        by_cell.entry(&entry.1.cell).or_default().push(entry);
    }
    let rows = cells.iter().flat_map(|cell| {
        let entries = by_cell.get(cell.key.as_str()).map(Vec::as_slice).unwrap_or_default();
        let eps = cell.threat.eps.as_ref().map_or("", |eps| eps.text());
        entries.iter().map(move |(worker, entry)| {
            let names = [&cell.experiment, cell.key.as_str(), &cell.model.id];
            let attack = [&cell.attack.chosen.id, &cell.threat.id, eps];
            (
                names,
                cell.stack_name(),
                attack,
                cell.seed,
                worker,
                entry.event,
                entry.seconds,
                &entry.host,
                &entry.device,
            )
        })
    });
    csv_bytes(&COLUMNS, rows)
}
