//! A small catalogue, an environment with a data directory beside the tests, and a spec that is fine.

use std::path::PathBuf;

use realsafe_plan::{
    Access, AttackTraits, Catalogue, CertificateTraits, ChainTraits, Component, Cost, DatasetTraits, DefenseTraits,
    Diagnostics, Document, Environment, Experiment, Fallback, Goal, GradientMode, LossTraits, ModelTraits, Norm,
    Origin, Parameter, ParameterKind, RequiredFile, Surrogates, TrainingSpec, Traits, VARIABLES, load_spec,
};

const fn parameter(name: &'static str, kind: ParameterKind, fallback: Fallback) -> Parameter {
    Parameter { name, kind, unit: "", fallback, documentation: "A parameter of the tests." }
}

const fn component(id: &'static str, parameters: &'static [Parameter], traits: Traits) -> Component {
    Component {
        id,
        revision: 1,
        origin: Origin::Crate("tests"),
        source: "//! A component of the tests.",
        parameters,
        example: "",
        traits,
    }
}

const STEPS: Parameter =
    parameter("steps", ParameterKind::Count { minimum: 1, maximum: 10_000 }, Fallback::Value("40"));

static PGD: Component = component(
    "pgd",
    &[
        STEPS,
        parameter("step-size", ParameterKind::Number { minimum: 0.0, maximum: 1.0 }, Fallback::Unset),
        parameter("start", ParameterKind::Choice(&["cube", "centre"]), Fallback::Value("cube")),
    ],
    Traits::Attack(AttackTraits {
        access: Access::Gradients,
        surrogates: Surrogates::Transfer,
        norms: &Norm::ALL,
        goals: &Goal::ALL,
        minimises_distance: false,
        cost: &|values| Ok(Cost::gradient(values.count("steps"))),
    }),
);

static TRANSFER: Component = component(
    "transfer",
    &[
        STEPS,
        parameter("loss", ParameterKind::Loss, Fallback::Value("cross-entropy")),
        parameter("warm-up", ParameterKind::Count { minimum: 0, maximum: 10_000 }, Fallback::Value("0")),
    ],
    Traits::Attack(AttackTraits {
        access: Access::Nothing,
        surrogates: Surrogates::Needed,
        norms: &[Norm::Linf],
        goals: &Goal::ALL,
        minimises_distance: false,
        cost: &|values| {
            if values.count("warm-up") < values.count("steps") {
                Ok(Cost::default())
            } else {
                Err("`warm-up` must be smaller than `steps`".to_owned())
            }
        },
    }),
);

/// An attack that can vary the codes of a defense.
static LATENT: Component = component(
    "latent",
    &[VARIABLES],
    Traits::Attack(AttackTraits {
        access: Access::Gradients,
        surrogates: Surrogates::Transfer,
        norms: &[Norm::L2],
        goals: &Goal::ALL,
        minimises_distance: true,
        cost: &|_| Ok(Cost::gradient(1)),
    }),
);

static CROSS_ENTROPY: Component = component("cross-entropy", &[], Traits::Loss(LossTraits::TWO_CLASSES));

static SHARPENED: Component = component(
    "sharpened",
    &[parameter("temperature", ParameterKind::Number { minimum: 0.0, maximum: 10.0 }, Fallback::Required)],
    Traits::Loss(LossTraits::TWO_CLASSES),
);

/// Needs one class more than the models here know.
static CROWDED: Component = component("crowded", &[], Traits::Loss(LossTraits { fewest_classes: 11 }));

static ORACLE: Component = component(
    "oracle",
    &[],
    Traits::Model(ModelTraits {
        input: &|_| Ok([1, 8, 8]),
        classes: &|_| Ok(10),
        differentiable: false,
        randomised: &|_| false,
    }),
);

static SQUARE: Component = component(
    "square",
    &[
        parameter("queries", ParameterKind::Count { minimum: 1, maximum: 100_000 }, Fallback::Value("1000")),
        parameter("loss", ParameterKind::Loss, Fallback::Value("cross-entropy")),
    ],
    Traits::Attack(AttackTraits {
        access: Access::Scores,
        surrogates: Surrogates::Unused,
        norms: &[Norm::Linf],
        goals: &[Goal::Untargeted],
        minimises_distance: false,
        cost: &|values| Ok(Cost::forward(values.count("queries"))),
    }),
);

static BOUNDARY: Component = component(
    "boundary",
    &[STEPS],
    Traits::Attack(AttackTraits {
        access: Access::Labels,
        surrogates: Surrogates::Unused,
        norms: &[Norm::L2],
        goals: &[Goal::Untargeted],
        minimises_distance: true,
        cost: &|values| Ok(Cost::forward(values.count("steps"))),
    }),
);

static CHAIN: Component =
    component("chain", &[], Traits::Chain(ChainTraits { norms: &Norm::ALL, goals: &Goal::ALL, members: None }));

static PROOF: Component = component(
    "proof",
    &[],
    Traits::Certificate(CertificateTraits { norms: &[Norm::Linf, Norm::L2], goals: &[Goal::Untargeted] }),
);

/// A chain whose members come from the program.
static BUNDLE: Component = component(
    "bundle",
    &[parameter("version", ParameterKind::Choice(&["standard", "quick"]), Fallback::Value("standard"))],
    Traits::Chain(ChainTraits {
        norms: &[Norm::Linf, Norm::L2],
        goals: &[Goal::Untargeted],
        members: Some(|values, norm| match (values.text("version"), norm) {
            ("standard", Norm::Linf) => Some(
                "[[member]]\nuse = \"pgd\"\nrestarts = 5\n[[member]]\nuse = \"square\"\nqueries = 50\n\
                 [[member]]\nid = \"long\"\nuse = \"pgd\"\nsteps = 100\neot = 2\n",
            ),
            ("quick", Norm::L2) => None,
            _ => Some("[[member]]\nuse = \"pgd\"\n"),
        }),
    }),
);

static JPEG: Component = component(
    "jpeg",
    &[parameter("quality", ParameterKind::Count { minimum: 1, maximum: 100 }, Fallback::Value("75"))],
    Traits::Defense(DefenseTraits {
        gradients: &[GradientMode::Identity, GradientMode::Blocked],
        ..DefenseTraits::PLAIN
    }),
);

static BIT_DEPTH: Component = component(
    "bit-depth",
    &[parameter("bits", ParameterKind::Count { minimum: 1, maximum: 8 }, Fallback::Value("4"))],
    Traits::Defense(DefenseTraits {
        gradients: &[GradientMode::Identity, GradientMode::Exact],
        ..DefenseTraits::PLAIN
    }),
);

/// A defense that changes the shape of images, and takes no small ones.
static LEVELS: Component = component(
    "levels",
    &[parameter("levels", ParameterKind::Count { minimum: 1, maximum: 256 }, Fallback::Value("3"))],
    Traits::Defense(DefenseTraits {
        gradients: &[GradientMode::Smooth, GradientMode::Blocked],
        output: |values, [channels, height, width]| match channels * values.count("levels") as usize {
            channels if channels < 300 => Ok([channels, height, width]),
            _ => Err("so many channels are too many".to_owned()),
        },
        ..DefenseTraits::PLAIN
    }),
);

/// A defense that draws random numbers, from images of a dataset.
static COLLAGE: Component = component(
    "collage",
    &[parameter("images", ParameterKind::Dataset, Fallback::Required)],
    Traits::Defense(DefenseTraits { gradients: &[GradientMode::Identity], randomised: true, ..DefenseTraits::PLAIN }),
);

/// A defense that draws random numbers.
static NOISE: Component = component(
    "noise",
    &[parameter("bits", ParameterKind::Count { minimum: 1, maximum: 8 }, Fallback::Value("4"))],
    Traits::Defense(DefenseTraits {
        gradients: &[GradientMode::Identity, GradientMode::Exact],
        randomised: true,
        ..DefenseTraits::PLAIN
    }),
);

/// A defense that rejects images.
static DETECTOR: Component = component(
    "detector",
    &[],
    Traits::Defense(DefenseTraits { gradients: &[GradientMode::Exact], rejects: true, ..DefenseTraits::PLAIN }),
);

/// A defense that projects images onto what codes make.
static MANIFOLD: Component = component(
    "manifold",
    &[],
    Traits::Defense(DefenseTraits { gradients: &[GradientMode::Identity], projects: true, ..DefenseTraits::PLAIN }),
);

const WEIGHTS: Parameter = parameter("weights", ParameterKind::File, Fallback::Required);

static CNN: Component = component(
    "cnn",
    &[
        WEIGHTS,
        parameter("mean", ParameterKind::Numbers { minimum: 0.0, maximum: 1.0 }, Fallback::Value("0.5, 0.25")),
        parameter("folded", ParameterKind::Flag, Fallback::Value("true")),
    ],
    Traits::Model(ModelTraits {
        input: &|_| Ok([1, 8, 8]),
        classes: &|_| Ok(10),
        differentiable: true,
        randomised: &|_| false,
    }),
);

static CNN_RGB: Component = component(
    "cnn-rgb",
    &[WEIGHTS],
    Traits::Model(ModelTraits {
        input: &|_| Ok([3, 32, 32]),
        classes: &|_| Ok(100),
        differentiable: true,
        randomised: &|_| false,
    }),
);

/// A model that is made of others.
static COMMITTEE: Component = component(
    "committee",
    &[parameter("members", ParameterKind::Models, Fallback::Required)],
    Traits::Model(ModelTraits {
        input: &|_| Ok([1, 8, 8]),
        classes: &|_| Ok(10),
        differentiable: true,
        randomised: &|_| false,
    }),
);

static PICTURES: Component = component(
    "pictures",
    &[parameter("split", ParameterKind::Choice(&["test", "train"]), Fallback::Value("test"))],
    Traits::Dataset(DatasetTraits {
        shape: |_| [1, 8, 8],
        classes: |_| 10,
        samples: |_| Some(1000),
        files: |values| {
            let name = if values.text("split") == "test" { "pictures.bin" } else { "train.bin" };
            vec![RequiredFile {
                candidates: vec![name.to_owned(), format!("{name}.gz")],
                md5: Some("0123456789abcdef0123456789abcdef"),
                origin: "the authors' page",
            }]
        },
    }),
);

static STANDARD: Component = component(
    "standard",
    &[parameter("epochs", ParameterKind::Count { minimum: 1, maximum: 1000 }, Fallback::Value("10"))],
    Traits::Recipe,
);

pub(crate) fn catalogue() -> Catalogue {
    let attacks = [&PGD, &TRANSFER, &SQUARE, &BOUNDARY, &LATENT, &CHAIN, &PROOF, &BUNDLE];
    let others = [
        &JPEG,
        &BIT_DEPTH,
        &LEVELS,
        &COLLAGE,
        &NOISE,
        &DETECTOR,
        &MANIFOLD,
        &CNN,
        &CNN_RGB,
        &COMMITTEE,
        &ORACLE,
        &PICTURES,
        &STANDARD,
        &CROSS_ENTROPY,
        &SHARPENED,
        &CROWDED,
    ];
    Catalogue::new(attacks.into_iter().chain(others)).unwrap()
}

/// The catalogue in which the defense `jpeg` comes from somewhere else.
pub(crate) fn catalogue_with_jpeg_of(origin: Origin) -> Catalogue {
    let jpeg = Component {
        id: JPEG.id,
        source: JPEG.source,
        parameters: JPEG.parameters,
        example: "",
        traits: Traits::Defense(DefenseTraits {
            gradients: &[GradientMode::Identity, GradientMode::Blocked],
            ..DefenseTraits::PLAIN
        }),
        revision: 1,
        origin,
    };
    let others = [&PGD, &BIT_DEPTH, &CNN, &PICTURES, &CROSS_ENTROPY];
    Catalogue::new(others.into_iter().chain([&*Box::leak(Box::new(jpeg))])).unwrap()
}

pub(crate) fn environment() -> Environment<'static> {
    Environment {
        data: PathBuf::from("tests/plan/data"),
        data_origin: "REALSAFE_DATA".to_owned(),
        builtin: &|name| (name == "tiny").then(|| b"tiny weights".to_vec()),
        read_files: true,
    }
}

/// Reads a spec from a text, under a name that stays the same.
pub(crate) fn load(text: &str, overrides: &[&str]) -> Result<Document, Diagnostics> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("spec.toml");
    std::fs::write(&path, text).unwrap();
    let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_owned()).collect();
    load_spec(&path, &overrides, &catalogue(), &environment())
}

/// Reads a spec of an experiment that must be fine.
pub(crate) fn experiment(text: &str, overrides: &[&str]) -> Experiment {
    match load(text, overrides) {
        Ok(Document::Experiment(experiment)) => experiment,
        Ok(Document::Training(_)) => panic!("a training spec"),
        Err(diagnostics) => panic!("{diagnostics}"),
    }
}

/// Reads a training spec that must be fine.
pub(crate) fn training(text: &str) -> TrainingSpec {
    match load(text, &[]) {
        Ok(Document::Training(training)) => training,
        Ok(Document::Experiment(_)) => panic!("an experiment"),
        Err(diagnostics) => panic!("{diagnostics}"),
    }
}

/// A spec that uses nearly everything.
pub(crate) const FULL: &str = r#"
[experiment]
id = "full"
title = "Everything at once"
paper = "arXiv:0000.00000"
seeds = [0, 7]

[data]
use = "pictures"
range = [200, 600]

[[model]]
id = "standard"
use = "cnn"
weights = "cnn.weights"

[[model]]
id = "other"
use = "cnn"
weights = "builtin:tiny"
folded = false
mean = [0.1, "1/3"]

[[defense]]
id = "jpeg-75"
use = "jpeg"

[[defense]]
id = "bits-3"
use = "bit-depth"
bits = 3
gradient = "exact"

[[threat]]
norm = "linf"
eps = ["8/255", 0.1]

[[threat]]
norm = "l2-rms"
eps = [0.25, "0.5"]

[[threat]]
id = "aimed"
norm = "linf"
eps = "0.3"
goal = "targeted"
target = "least-likely"

[[attack]]
use = "pgd"
steps = 10
restarts = 3
success = "last"
budget = { queries = 25, backwards = 100 }
record = [5, 1, 5]
gradient = { bits-3 = "identity" }

[[attack]]
use = "square"
threats = ["linf"]

[[attack]]
use = "boundary"
threats = "l2-rms"

[matrix]
stacks = [[], ["jpeg-75"], ["bits-3", "jpeg-75"]]
skip = [{ model = "other", stack = ["jpeg-75", "bits-3+jpeg-75"] }]

[run]
device = "flex"
chunk = 100

[[expect]]
model = "standard"
attack = "pgd"
threat = "linf"
eps = "8/255"
metric = "robust-accuracy"
value = 0.5
tolerance = 0.02
samples = 10000
source = "Table 1"

[[expect]]
model = "standard"
attack = "worst-case"
threat = "linf"
metric = "robust-accuracy"
above = { model = "other" }
from-eps = "0.1"
margin = 0.01

[[expect]]
model = "other"
metric = "clean-accuracy"
value = 0.9
tolerance = 0

[[expect]]
model = "other"
attack = "boundary"
threat = "l2-rms"
metric = "median-distance"
below = { model = "standard", stack = "jpeg-75" }
factor = 0.8

[[figure]]
x-axis = "eps"
title = "Who stands what"
panels = "stack"
series = ["model", "attack"]
model = "standard"

[[figure]]
id = "progress"
x-axis = "iterations"
scale = "log"
series = "eps"
attack = ["pgd"]
eps = ["8/255", 0.25]
"#;
