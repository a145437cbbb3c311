//! The report: every file that a plan and a store give, rebuilt at any time.
//!
//! `samples.csv`, `summary.csv`, `curves.csv`, `expectations.csv`, `members.csv` (only with chains), `rejections.csv` (only where a defense rejects), `<experiment>.resolved.toml`,
//! the folder `figures` and `report.html` depend on plan and store alone, byte for byte; `timings.csv` and `manifest.json` also say when and where. Cells that are not there yet
//! are left out, and the report says so.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use fs_err as fs;
use realsafe_plan::{Cell, Claim, Experiment, Number, Plan};
use serde::Serialize;

use crate::figures::drawings;
use crate::files::{csv_rows, csv_table, digest, staging, sync_directory, write_durably};
use crate::html::page;
use crate::manifest::{self, Manifest, ManifestFacts, outputs_of};
use crate::tables::curves::{curve_rows, worst_case_rows};
use crate::tables::entry::{Entry, entries};
use crate::tables::expectations::{ExpectationRow, Verdict, expectation_rows};
use crate::tables::gate::{Check, Suspicion, Verdicts, judge};
use crate::tables::group::{Group, Subject};
use crate::tables::members::{MemberRow, member_rows};
use crate::tables::optimality::local_optimality;
use crate::tables::rejections::{RejectionRow, rejection_rows};
use crate::tables::samples::write_samples;
use crate::tables::summary::{SummaryRow, summary_rows};
use crate::tables::timings::timings;
use crate::{Result, Store};

/// What a report says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The experiments, in plan order.
    pub experiments: Vec<ExperimentReport>,
    /// Cells in the store.
    pub cells: u64,
    /// Cells of the plan.
    pub cells_expected: u64,
    /// What was damaged.
    pub warnings: Vec<String>,
}

/// What a report says about one experiment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExperimentReport {
    /// Its name.
    pub id: String,
    /// What it is about.
    pub title: String,
    /// The rows of `summary.csv`.
    pub summary: Vec<SummaryRow>,
    /// The rows of `expectations.csv`.
    pub expectations: Vec<ExpectationRow>,
    /// The rows of `members.csv`.
    pub members: Vec<MemberRow>,
    /// The rows of `rejections.csv`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rejections: Vec<RejectionRow>,
    /// What makes results suspect.
    pub suspects: Vec<Suspect>,
    /// The checks of the gate for which there is no occasion.
    pub unchecked: Vec<Check>,
}

/// A result that does not pass the gradient-masking gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Suspect {
    /// The model.
    pub model: String,
    /// The defense stack, or `none`.
    pub defense: String,
    /// The attack whose result it is.
    pub attack: String,
    /// The threat model.
    pub threat: String,
    /// The radius; empty where it is about all of them.
    pub eps: String,
    /// The seed.
    pub seed: u64,
    /// Why.
    #[serde(flatten)]
    pub suspicion: Suspicion,
}

impl Report {
    /// Whether all cells are there.
    pub const fn is_complete(&self) -> bool {
        self.cells == self.cells_expected
    }

    /// How many rows of expectations have a verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        let rows = self.experiments.iter().flat_map(|experiment| &experiment.expectations);
        rows.filter(|row| row.verdict == Some(verdict)).count()
    }

    /// The report as JSON, infinite distances being `null`.
    ///
    /// # Errors
    /// Never for the values that reports hold.
    pub fn to_json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self).map_err(io::Error::from)?)
    }
}

/// The folder of images within a report.
const FIGURES: &str = "figures";

/// Writes all files of a report into a folder, each complete or not at all, and says what they say.
///
/// # Errors
/// When a file cannot be read or written.
pub fn write_report(plan: &Plan, store: &Store, directory: &Path, facts: &ManifestFacts) -> Result<Report> {
    fs::create_dir_all(directory)?;
    let staging = staging(directory)?;
    let mut files: Vec<String> = Vec::new();
    let mut write = |name: &str, bytes: &[u8]| {
        files.push(name.to_owned());
        write_durably(&staging.path().join(name), bytes)
    };

    fs::create_dir(staging.path().join(FIGURES))?;
    let mut figures = Vec::new();
    let mut report = Report { experiments: Vec::new(), cells: 0, cells_expected: 0, warnings: Vec::new() };
    let mut curves = Vec::new();
    for experiment in &plan.experiments {
        let cells: Vec<&Cell> = plan.cells.iter().filter(|cell| cell.experiment == experiment.id).collect();
        let groups = Group::load(&cells, store)?;
        report.cells += groups.iter().map(|group| group.cells).sum::<u64>();
        report.cells_expected += groups.iter().map(|group| group.cells_expected).sum::<u64>();
        let listed = entries(&groups, |subject| listed_radii(experiment, subject).to_vec());
        let mut rows = curve_rows(&groups, |subject| listed_radii(experiment, subject));
        rows.extend(worst_case_rows(&groups, &listed, |subject| listed_radii(experiment, subject)));
        let drawings = drawings(experiment, &rows);
        for drawing in &drawings {
            let path = |ending: &str| format!("{FIGURES}/{}.{ending}", drawing.name);
            write(&path("svg"), drawing.svg().as_bytes())?;
            write(&path("png"), &drawing.png()?)?;
            write(&path("vl.json"), &drawing.vega_lite()?)?;
        }
        figures.push(drawings);
        curves.extend(rows);
        report.experiments.push(report_experiment(experiment, &groups, &listed));
        write(&format!("{}.resolved.toml", experiment.id), experiment.resolved().as_bytes())?;
    }
    let experiments = || report.experiments.iter();
    write("summary.csv", &csv_rows(experiments().flat_map(|experiment| &experiment.summary))?)?;
    write("curves.csv", &csv_rows(&curves)?)?;
    write("expectations.csv", &csv_table(experiments().flat_map(|experiment| experiment.expectations.clone()))?)?;
    if experiments().any(|experiment| !experiment.members.is_empty()) {
        write("members.csv", &csv_rows(experiments().flat_map(|experiment| &experiment.members))?)?;
    }
    if experiments().any(|experiment| !experiment.rejections.is_empty()) {
        write("rejections.csv", &csv_rows(experiments().flat_map(|experiment| &experiment.rejections))?)?;
    }
    files.push("samples.csv".to_owned());
    write_samples(&staging.path().join("samples.csv"), &plan.cells, store)?;
    report.warnings = store.warnings();

    let digest_of = |name: &String| Ok((name.clone(), digest(&fs::read(staging.path().join(name))?)));
    let mut outputs: BTreeMap<String, String> = files.iter().map(digest_of).collect::<Result<_>>()?;
    let tables = outputs.iter().filter(|(name, _)| name.ends_with(".csv"));
    let tables = tables.map(|(name, digest)| (name.clone(), digest.clone())).collect();
    let page = page(plan, &report, &figures, &tables);
    for (name, bytes) in [("report.html", page.into_bytes()), ("timings.csv", timings(&plan.cells, store)?)] {
        write_durably(&staging.path().join(name), &bytes)?;
        outputs.insert(name.to_owned(), digest(&bytes));
        files.push(name.to_owned());
    }
    let manifest_text =
        serde_json::to_vec_pretty(&Manifest::new(facts, plan, store, outputs)).map_err(io::Error::from)?;
    write_durably(&staging.path().join(manifest::NAME), &manifest_text)?;
    files.push(manifest::NAME.to_owned());
    // What the report before this one wrote and this one does not would be taken for a part of it.
    let before = outputs_of(directory).into_iter().filter(|name| !files.contains(name));
    for stale in before.map(|name| directory.join(name)).filter(|stale| stale.is_file()) {
        fs::remove_file(stale)?;
    }
    fs::create_dir_all(directory.join(FIGURES))?;
    for name in &files {
        fs::rename(staging.path().join(name), directory.join(name))?;
    }
    sync_directory(&directory.join(FIGURES))?;
    sync_directory(directory)?;
    Ok(report)
}

fn report_experiment(experiment: &Experiment, groups: &[Group], listed: &[Entry]) -> ExperimentReport {
    let expected = entries(groups, |subject| expected_radii(experiment, subject));
    let Verdicts { suspicions, unchecked } = judge(groups, listed, experiment.shape.iter().product());
    ExperimentReport {
        id: experiment.id.clone(),
        title: experiment.title.clone(),
        summary: summary_rows(listed, &suspicions, &local_optimality(groups)),
        expectations: expectation_rows(experiment, &expected),
        members: member_rows(groups),
        rejections: rejection_rows(groups, listed),
        suspects: suspects(groups, listed, suspicions),
        unchecked,
    }
}

/// Every suspicion once, with what it is about.
fn suspects(groups: &[Group], entries: &[Entry], suspicions: Vec<Vec<Suspicion>>) -> Vec<Suspect> {
    let mut suspects: Vec<Suspect> = Vec::new();
    for (entry, suspicions) in entries.iter().zip(suspicions) {
        for suspicion in suspicions {
            let Subject { model, defense, attack, threat, .. } = entry.subject.clone();
            // All radii are meant where the attack has none.
            let has_radius = entry.group.is_some_and(|group| groups[group].eps.is_some());
            let eps = entry.eps.as_ref().filter(|_| has_radius || suspicion.check.is_about_a_radius());
            let eps = eps.map(|eps| eps.text().to_owned()).unwrap_or_default();
            let suspect = Suspect { model, defense, attack, threat, eps, seed: entry.seed, suspicion };
            if !suspects.contains(&suspect) {
                suspects.push(suspect);
            }
        }
    }
    suspects
}

/// The eps list of the threat model.
fn listed_radii<'a>(experiment: &'a Experiment, subject: &Subject) -> &'a [Number] {
    let threat = experiment.threats.iter().find(|threat| threat.id == subject.threat);
    threat.map(|threat| threat.eps.as_slice()).unwrap_or_default()
}

/// The eps list, and what expectations ask for beyond it: attacks that minimise the distance know every radius.
fn expected_radii(experiment: &Experiment, subject: &Subject) -> Vec<Number> {
    let mut radii = listed_radii(experiment, subject).to_vec();
    for expectation in &experiment.expectations {
        let other = match &expectation.claim {
            Claim::Order { other, .. } => Some(other),
            Claim::Value { .. } => None,
        };
        let selectors = [Some(&expectation.selector), other];
        let about =
            selectors.into_iter().flatten().filter(|selector| selector.threat.as_ref() == Some(&subject.threat));
        for eps in about.filter_map(|selector| selector.eps.as_ref()) {
            if radii.iter().all(|other| other.value() != eps.value()) {
                radii.push(eps.clone());
            }
        }
    }
    radii
}

#[cfg(test)]
mod tests;
