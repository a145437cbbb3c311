//! The format of specs.
//!
//! A spec is a TOML file that describes one experiment: which images, models, defenses, threat models and attacks,
//! and what a paper says about them. Unknown keys, wrong types and unknown names are errors, found before anything is
//! run.
//!
//! ```toml
//! [experiment]
//! id = "pgd-at-table"
//! title = "White-box robustness of PGD adversarial training"
//! paper = "arXiv:1706.06083"
//!
//! [data]
//! use = "mnist"
//! samples = 1000
//!
//! [[model]]
//! id = "pgd-at"
//! use = "mnist-cnn"
//! weights = "weights/pgd-at.safetensors"
//!
//! [threat]
//! norm = "linf"
//! eps = ["0.1", "0.2", "0.3"]
//!
//! [[attack]]
//! use = "pgd"
//! steps = 100
//! step-size = "0.01"
//! restarts = 20
//! success = "last"
//!
//! [[expect]]
//! eps = "0.3"
//! metric = "robust-accuracy"
//! value = 0.893
//! tolerance = 0.02
//! source = "Madry et al. 2018, Table 1"
//! ```
//!
//! # In general
//!
//! - **Components.** `[data]`, `[[model]]`, `[[defense]]`, `[[attack]]` and `[training]` name a component of the
//!   catalogue with `use`; their other keys are the component's own parameters and those listed below. `id` is the
//!   name by which the rest of the spec and the results refer to it: lowercase letters, digits and hyphens. It
//!   defaults to the value of `use`.
//! - **Numbers** are floats, integers or strings such as `"8/255"`, which stay exact.
//! - **Files** of models are relative to the data directory; `builtin:NAME` is a file that the program carries.
//!   Beside a file parameter `x`, `x-blake3` may state the digest that the file must have.
//! - **`extends`** is the path of a spec, or a list of paths, relative to this file. Tables merge, later over earlier
//!   and this file over all; arrays, arrays of tables included, and scalars replace. A file that only serves as a
//!   base may be incomplete. `samples`, `range` and `indices` of `[data]` replace each other, and so do `seed` and
//!   `seeds`.
//! - **`--set a.b=c`** on the command line is laid over everything; elements of arrays of tables are addressed by
//!   their id: `--set attack.pgd.steps=5`.
//!
//! # `[experiment]`
//!
//! | key | meaning | default |
//! |---|---|---|
//! | `id` | name of the experiment, unique among the specs that are run together | required |
//! | `title`, `paper` | words for reports | none |
//! | `seed` or `seeds` | the seed of every random stream, or a list; everything is run with each | `0` |
//!
//! # `[data]`
//!
//! The dataset's own parameters and at most one of:
//!
//! | key | meaning |
//! |---|---|
//! | `samples = 1000` | the first so many images |
//! | `range = [200, 600]` | the images 200 to 599 |
//! | `indices = "hard.txt"` | those of a text file, one index per line, relative to this file; or of a list |
//!
//! Without any of them, all images are meant.
//!
//! # `[[model]]`
//!
//! The model's own parameters. What it takes and gives must fit the dataset: the same channels, height, width and
//! number of classes.
//!
//! # `[[defense]]`
//!
//! The defense's own parameters, and `gradient`: what attackers see of its gradient, `exact`, `identity` (backward
//! pass differentiable approximation) or `blocked`; which of them a defense offers and which is its default, its
//! manual says. Unless `[matrix]` says otherwise, all defenses stand in front of every model, the first one
//! outermost.
//!
//! # `[threat]` or `[[threat]]`
//!
//! | key | meaning | default |
//! |---|---|---|
//! | `id` | name | the norm; with the goal, where several threats have that norm |
//! | `norm` | `linf`, `l2`, or `l2-rms`: l2 divided by the square root of the number of values of an image | required |
//! | `eps` | the radius or a list of radii, in that norm; at most 1 in linf | required, unless all attacks minimise the distance |
//! | `goal` | `untargeted`, `targeted`, `targeted-misclassify` (aims at the target, any wrong label counts) | `untargeted` |
//! | `target` | `random` (never the label), `least-likely`, `next`, `dataset` | `random`, where the goal has a target |
//!
//! # `[[attack]]`
//!
//! The attack's own parameters and:
//!
//! | key | meaning | default |
//! |---|---|---|
//! | `success` | `any-iterate`: broken as soon as one iterate is adversarial; `last`: the returned image decides; `any-query`: probes count, too | `any-iterate` |
//! | `restarts` | how often it starts anew on what it has not broken | `1` |
//! | `budget` | hard limits per sample: `{ queries = 1000, forwards = 1000, backwards = 1000 }` | none |
//! | `threats` | the ids of the threat models in which it runs | all |
//! | `gradient` | gradients of defenses that only this attack sees: `{ jpeg-75 = "blocked" }` | the defense's |
//! | `record` | steps after which every iterate is judged and recorded, for curves | none |
//!
//! An attack that minimises the distance runs once per threat model, whatever the radii; its accuracy at each radius
//! follows.
//!
//! # `[matrix]`
//!
//! Every model meets every stack, attack and threat model, unless:
//!
//! | key | meaning |
//! |---|---|
//! | `stacks` | the defense stacks, outermost first: `[[], ["jpeg-75"], ["bits-3", "jpeg-75"]]` |
//! | `only` | nothing but what one of these covers is run: `[{ model = "x", attack = ["pgd", "fgsm"] }]` |
//! | `skip` | what one of these covers is not run |
//!
//! The keys of `only` and `skip` are `model`, `stack`, `attack` and `threat`, a name or a list each. A stack's name
//! is that of its defenses joined by `+`, or `none`.
//!
//! # `[run]`
//!
//! `device` is where it is run, unless the command line says otherwise; `chunk` (256) is how many samples are
//! computed, stored and resumed as one.
//!
//! # `[[expect]]`
//!
//! An expectation is about a quantity, `metric`: `robust-accuracy`, `clean-accuracy`, `success-rate` or
//! `median-distance`, of the cells that `model`, `stack`, `attack`, `threat`, `eps` and `seed` select. What there is
//! only one of need not be said; the stack is `none`, and without a seed the mean over all is meant. `attack` may be
//! `worst-case`, the union over all attacks, or `clean`. What is expected is either a value,
//!
//! | key | meaning |
//! |---|---|
//! | `value`, `tolerance` | the published value, and the largest difference that still agrees |
//! | `samples` | how many samples it was measured on |
//! | `source` | where it is published |
//!
//! or an ordering,
//!
//! | key | meaning |
//! |---|---|
//! | `above` or `below` | a table that selects what it is compared with; what it leaves out is as in the expectation |
//! | `from-eps` | the radius from which on it holds; all radii by default |
//! | `margin` | by how much it must be above or below; `0` by default |
//!
//! # Training
//!
//! A spec with `[training]` instead of `[experiment]` describes a training run. It has `[data]`, exactly one
//! `[[model]]`, whose weights may be missing, and optionally `[run]`. `[training]` takes `id` (required), `title`,
//! `seed`, the recipe as `use`, and the recipe's own parameters.

mod attacks;
mod components;
mod data;
mod expectations;
mod matrix;
mod threats;
mod training;

use std::path::PathBuf;
use std::sync::Arc;

use components::Named;
use expectations::Subjects;
use matrix::{Axes, Filters};
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

/// `[experiment]`.
struct Header {
    id: String,
    title: String,
    paper: Option<String>,
    seeds: Vec<u64>,
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
        let models = self.models(top, images.as_ref().map(|images| (images.shape, images.classes)), false);
        let defenses = self.defenses(top);
        let threats = self.threats(top, images.as_ref().map(|images| images.shape));
        let attacks = self.attacks(top, &threats, &defenses);
        let mut matrix = top.node("matrix").and_then(|node| Fields::of(node, &mut self.diagnostics));
        let stacks = self.stacks(matrix.as_mut(), &defenses);
        let axes = Axes { models: &models, stacks: &stacks, attacks: &attacks, threats: &threats };
        let filters = matrix.as_mut().map_or_else(Filters::default, |matrix| self.filters(matrix, &axes));
        if let Some(matrix) = matrix {
            matrix.finish(&mut self.diagnostics);
        }
        let combinations = self.combine(&axes, &filters);
        let seeds = header.as_ref().map(|header| header.seeds.clone()).unwrap_or_default();
        let sound = self.diagnostics.is_empty();
        let subjects = Subjects { axes, combinations: &combinations, seeds: &seeds, sound };
        let expectations = self.expectations(top, &subjects);
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
            threats: items(threats)?.into_iter().map(|threat| threat.spec).collect(),
            seeds,
            chunk: run.chunk,
            device: run.device,
            expectations,
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
        fields.finish(diagnostics);
        let seeds = seeds.unwrap_or_else(|| vec![one.unwrap_or(0)]);
        Some(Header { id: id?.to_owned(), title, paper, seeds, place })
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
