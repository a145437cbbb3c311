//! Resolves specs, section by section. `specs/README.md` describes their format.

mod attacks;
mod chains;
mod components;
mod data;
mod expectations;
mod figures;
mod matrix;
mod plugins;
mod shapes;
mod threats;
mod training;

use std::path::PathBuf;
use std::sync::Arc;

use components::Named;
use expectations::Subjects;
use matrix::{Axes, Filters};
pub use plugins::PluginFile;
pub(crate) use plugins::read as read_plugins;
pub(crate) use threats::NORMS;

use crate::diagnostic::{Diagnostic, Diagnostics, Place, Source};
use crate::fields::{self, Fields};
use crate::tree::Table;
use crate::{Catalogue, Environment, Experiment, TrainingSpec};

/// What a spec describes.
#[derive(Clone, Debug)]
pub enum Document {
    /// An experiment.
    Experiment(Experiment),
    /// A training run.
    Training(TrainingSpec),
}

/// How many samples a cell has, unless the spec says otherwise.
const CHUNK: u64 = 256;

/// What is at hand while a spec is read.
struct Scope<'a> {
    catalogue: &'a Catalogue,
    environment: &'a Environment<'a>,
    diagnostics: Diagnostics,
    /// The start of the spec, for what it lacks as a whole.
    start: Place,
}

/// Checks a document, once everything it extends is merged into it; `diagnostics` are the mistakes so far.
pub(crate) fn resolve(
    document: &Table,
    source: &Arc<Source>,
    catalogue: &Catalogue,
    environment: &Environment<'_>,
    diagnostics: Diagnostics,
) -> Result<Document, Diagnostics> {
    let start = Place { source: source.clone(), span: 0..0 };
    let mut scope = Scope { catalogue, environment, diagnostics, start: start.clone() };
    let mut top = Fields::new(document, start);
    let path = PathBuf::from(&source.name);
    let resolved = if top.entry("training").is_some() {
        scope.training(&mut top, path).map(Document::Training)
    } else {
        scope.experiment(&mut top, path).map(Document::Experiment)
    };
    top.finish(&mut scope.diagnostics);
    match resolved {
        Some(document) if scope.diagnostics.is_empty() => Ok(document),
        _ => Err(scope.diagnostics),
    }
}

/// How many draws of a randomised victim verdicts are the mean of by default, and at least.
const DRAWS: u64 = 20;

/// `[experiment]`.
struct Header {
    id: String,
    title: String,
    paper: Option<String>,
    seeds: Vec<u64>,
    draws: u32,
    place: Place,
}

/// `[run]`.
struct Run {
    device: Option<String>,
    chunk: u32,
}

impl Scope<'_> {
    fn experiment(&mut self, top: &mut Fields<'_>, source: PathBuf) -> Option<Experiment> {
        let header = self.header(top);
        let images = self.data(top);
        top.section("model", "[[model]]", &mut self.diagnostics);
        let models = self.models(top, "model", images.as_ref().map(|images| images.classes), false);
        let defenses = self.defenses(top);
        let threats = self.threats(top, images.as_ref().map(|images| images.shape));
        let attacks = self.attacks(top, &threats, &defenses, &models);
        plugins::read(top, &mut self.diagnostics);
        let mut matrix = top.node("matrix").and_then(|node| Fields::of(node, &mut self.diagnostics));
        let stacks = self.stacks(matrix.as_mut(), &defenses);
        let axes = Axes { models: &models, stacks: &stacks, attacks: &attacks, threats: &threats };
        let filters = matrix.as_mut().map_or_else(Filters::default, |matrix| self.filters(matrix, &axes));
        if let Some(matrix) = matrix {
            matrix.finish(&mut self.diagnostics);
        }
        let combinations = self.combine(&axes, &filters);
        if let Some(images) = &images {
            self.check_inputs(&axes, &defenses, &combinations, images.shape);
        }
        let seeds = header.as_ref().map(|header| header.seeds.clone()).unwrap_or_default();
        let sound = self.diagnostics.is_empty();
        let subjects = Subjects { axes, combinations: &combinations, seeds: &seeds, sound };
        let expectations = self.expectations(top, &subjects);
        let figures = self.figures(top, &subjects.axes);
        let run = self.run(top);
        let (header, images) = (header?, images?);
        Some(Experiment {
            id: header.id,
            title: header.title,
            paper: header.paper,
            source,
            data: images.chosen,
            samples: images.samples,
            shape: images.shape,
            classes: images.classes,
            models: items(models)?,
            defenses: items(defenses)?,
            stacks: items(stacks)?,
            attacks: items(attacks)?,
            threats: items(threats)?,
            seeds,
            draws: header.draws,
            chunk: run.chunk,
            device: run.device,
            expectations,
            figures,
            only: filters.only,
            skip: filters.skip,
            combinations,
            place: header.place,
        })
    }

    fn header(&mut self, top: &mut Fields<'_>) -> Option<Header> {
        let node = top.section("experiment", "[experiment]", &mut self.diagnostics)?;
        let diagnostics = &mut self.diagnostics;
        let mut fields = Fields::of(node, diagnostics)?;
        let id = fields.required("id", diagnostics).and_then(|node| fields::read(node, fields::id, diagnostics));
        let place = fields.name_place();
        let title = fields.text("title", diagnostics).unwrap_or_default().to_owned();
        let paper = fields.text("paper", diagnostics).map(str::to_owned);
        let one = fields.read("seed", seed, diagnostics);
        let list = |node| fields::list(node)?.iter().map(seed).collect::<Result<Vec<u64>, _>>();
        let seeds_node = fields.node("seeds");
        let seeds = fields.read("seeds", list, diagnostics);
        if let Some(node) = seeds_node {
            let seeds = seeds.as_deref().unwrap_or_default();
            let repeated = seeds.iter().enumerate().any(|(index, seed)| seeds[..index].contains(seed));
            if one.is_some() || repeated || matches!(&node.content, crate::tree::Content::List(list) if list.is_empty())
            {
                let message = "expected either one `seed`, or a list of different `seeds`";
                diagnostics.push(Diagnostic::at(&node.place, message));
            }
        }
        let draws = |node| fields::count(node, DRAWS, 1_000_000);
        let draws = fields.read("draws", draws, diagnostics).unwrap_or(DRAWS) as u32;
        fields.finish(diagnostics);
        let seeds = seeds.unwrap_or_else(|| vec![one.unwrap_or(0)]);
        Some(Header { id: id?.to_owned(), title, paper, seeds, draws, place })
    }

    fn run(&mut self, top: &mut Fields<'_>) -> Run {
        let mut run = Run { device: None, chunk: CHUNK as u32 };
        let Some(mut fields) = top.node("run").and_then(|node| Fields::of(node, &mut self.diagnostics)) else {
            return run;
        };
        run.device = fields.text("device", &mut self.diagnostics).map(str::to_owned);
        let chunk = |node| fields::count(node, 1, 1_000_000);
        run.chunk = fields.read("chunk", chunk, &mut self.diagnostics).unwrap_or(CHUNK) as u32;
        fields.finish(&mut self.diagnostics);
        run
    }
}

/// A seed.
fn seed(node: &crate::tree::Node) -> Result<u64, Diagnostic> {
    fields::count(node, 0, i64::MAX as u64)
}

/// The items of things, unless one of them has mistakes.
fn items<T>(things: Vec<Named<T>>) -> Option<Vec<T>> {
    things.into_iter().map(|thing| thing.item).collect()
}
