//! `manifest.json`: what a report was made with and of. Differs from run to run.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use fs_err as fs;
use realsafe_plan::{Chosen, Plan};
use serde::Serialize;

use crate::Store;
use crate::files::digest;

/// The name of the file.
pub(crate) const NAME: &str = "manifest.json";

/// What only the running program knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ManifestFacts {
    /// The version of the program.
    pub version: String,
    /// The device in words.
    pub device: String,
    /// The machine.
    pub host: String,
}

/// The manifest.
#[derive(Serialize)]
pub(crate) struct Manifest<'a> {
    #[serde(rename = "program")]
    facts: &'a ManifestFacts,
    experiments: Vec<&'a str>,
    cells: usize,
    cells_present: usize,
    plan: String,
    inputs: BTreeMap<String, BTreeMap<&'a str, &'a str>>,
    /// BLAKE3 of the files of the report.
    outputs: BTreeMap<String, String>,
}

impl<'a> Manifest<'a> {
    /// Describes a report, given the digests of its files.
    pub(crate) fn new(
        facts: &'a ManifestFacts,
        plan: &'a Plan,
        store: &Store,
        outputs: BTreeMap<String, String>,
    ) -> Self {
        Self {
            facts,
            experiments: plan.experiments.iter().map(|experiment| experiment.id.as_str()).collect(),
            cells: plan.cells.len(),
            cells_present: plan.cells.iter().filter(|cell| store.contains(&cell.key)).count(),
            plan: plan_digest(plan),
            inputs: inputs(plan),
            outputs,
        }
    }
}

/// The files of the report that lies in a folder, as far as its manifest tells.
pub(crate) fn outputs_of(directory: &Path) -> Vec<String> {
    let text = fs::read(directory.join(NAME)).unwrap_or_default();
    let manifest: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    let names = manifest["outputs"].as_object().into_iter().flat_map(|outputs| outputs.keys());
    let lies_inside = |name: &&String| Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    names.filter(lies_inside).cloned().collect()
}

/// BLAKE3 of the keys of all cells, line by line.
pub(crate) fn plan_digest(plan: &Plan) -> String {
    let keys: Vec<&str> = plan.cells.iter().map(|cell| cell.key.as_str()).collect();
    digest(keys.join("\n").as_bytes())
}

/// BLAKE3 of everything that was read: by component, then by parameter or path.
pub(crate) fn inputs(plan: &Plan) -> BTreeMap<String, BTreeMap<&str, &str>> {
    let mut inputs = BTreeMap::new();
    for cell in &plan.cells {
        let defenses = cell.stack.iter().map(|layer| &*layer.defense);
        let surrogates = cell.attack.surrogates.iter().map(|surrogate| &**surrogate);
        let others = [&*cell.data, &*cell.model, &*cell.attack.chosen];
        for chosen in defenses.chain(surrogates).chain(others).flat_map(with_parts) {
            if !chosen.files.is_empty() {
                inputs.entry(input_name(&cell.experiment, chosen)).or_insert_with(|| input_files(chosen));
            }
        }
    }
    inputs
}

/// A component and the components among its parameters.
fn with_parts(chosen: &Chosen) -> impl Iterator<Item = &Chosen> {
    [chosen].into_iter().chain(chosen.values.components())
}

fn input_name(experiment: &str, chosen: &Chosen) -> String {
    format!("{experiment}: {} `{}`", chosen.component.kind().name(), chosen.id)
}

fn input_files(chosen: &Chosen) -> BTreeMap<&str, &str> {
    chosen.files.iter().map(|(name, file)| (name.as_str(), file.blake3.as_str())).collect()
}
