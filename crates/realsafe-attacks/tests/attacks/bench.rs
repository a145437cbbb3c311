//! Small models on which attacks are tried, and a short way to run an attack.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use burn::tensor::{Device, Tensor, TensorData};
use realsafe_core::{
    AttackContext, AttackEntry, Control, DefendedModel, Defense, Draws, Driver, Judged, Judgement, Locations, Member,
    Model, Pool, Registry, Run, Samples, Stop, Task, inventory, read,
};
use realsafe_plan::{
    AttackTraits, Budget, Chosen, Component, Ensemble, Environment, Goal, GradientMode, Norm, Search, Success,
    Surrogates, parse_component,
};

extern crate realsafe_attacks as _;

/// Logits that are linear in the pixels: the minimal perturbation is known exactly for every norm.
pub(crate) struct Linear {
    weights: Tensor<2>,
    bias: Tensor<2>,
}

impl Linear {
    /// `weights[class][pixel]`.
    pub(crate) fn new(weights: &[Vec<f32>], bias: &[f32]) -> Self {
        let (classes, pixels) = (weights.len(), weights[0].len());
        let device = Device::flex();
        let weights = Tensor::<2>::from_data(TensorData::new(weights.concat(), [classes, pixels]), &device);
        Self {
            weights: weights.transpose(),
            bias: Tensor::from_data(TensorData::new(bias.to_vec(), [1, classes]), &device),
        }
    }
}

impl Model for Linear {
    fn logits(&self, images: Tensor<4>, _: &Draws) -> Result<Tensor<2>, Stop> {
        let [n, c, h, w] = images.dims();
        // Products are summed pixel by pixel, so that a row's bits cannot depend on its neighbours.
        let columns = self.weights.dims()[1];
        let images: Tensor<3> = images.reshape([n, c * h * w, 1]);
        let weights: Tensor<3> = self.weights.clone().reshape([1, c * h * w, columns]);
        Ok((images * weights).sum_dim(1).reshape([n, columns]) + self.bias.clone())
    }
}

/// A smooth network of two layers: `W₂ tanh(W₁ x) + b`.
pub(crate) struct TwoLayers {
    pub(crate) first: Linear,
    pub(crate) second: Linear,
}

impl Model for TwoLayers {
    fn logits(&self, images: Tensor<4>, draws: &Draws) -> Result<Tensor<2>, Stop> {
        let hidden = self.first.logits(images, draws)?.tanh();
        let [n, width] = hidden.dims();
        self.second.logits(hidden.reshape([n, 1, 1, width]), draws)
    }
}

/// A model that needs three passes for an answer.
pub(crate) struct Threefold(pub(crate) Arc<dyn Model>);

impl Model for Threefold {
    fn logits(&self, images: Tensor<4>, draws: &Draws) -> Result<Tensor<2>, Stop> {
        self.0.logits(images, draws)
    }

    fn passes(&self) -> u64 {
        3
    }
}

/// The first image of every batch that a model was asked about.
pub(crate) type Seen = Arc<Mutex<Vec<Vec<f32>>>>;

/// A model that notes the first image of every batch that it is asked about.
pub(crate) struct Spy {
    model: Arc<dyn Model>,
    seen: Seen,
}

impl Spy {
    /// The model, and what will be noted.
    pub(crate) fn around(model: Arc<dyn Model>) -> (Arc<dyn Model>, Seen) {
        let seen = Seen::default();
        (Arc::new(Self { model, seen: Arc::clone(&seen) }), seen)
    }
}

impl Model for Spy {
    fn logits(&self, images: Tensor<4>, draws: &Draws) -> Result<Tensor<2>, Stop> {
        let [_, channels, height, width] = images.dims();
        let first = read(images.clone())?[..channels * height * width].to_vec();
        self.seen.lock().unwrap().push(first);
        self.model.logits(images, draws)
    }
}

/// What an attack is told beside its parameters.
#[derive(Clone)]
pub(crate) struct Setting {
    pub(crate) norm: Norm,
    pub(crate) goal: Goal,
    pub(crate) eps: Option<f64>,
    pub(crate) success: Success,
    pub(crate) restarts: u32,
    pub(crate) budget: Budget,
    pub(crate) record: Vec<u32>,
    pub(crate) seed: u64,
    /// Networks that the attack may use; a gradient attack then transfers from them.
    pub(crate) surrogates: Vec<Arc<dyn Model>>,
    pub(crate) ensemble: Ensemble,
    /// Whether they stand in for the victim.
    pub(crate) transfers: bool,
    pub(crate) search: Option<Search>,
    /// What stands in front of the victim.
    pub(crate) stack: Vec<(Arc<dyn Defense>, GradientMode)>,
    pub(crate) eot: u32,
    /// How many draws verdicts are the mean of.
    pub(crate) draws: Option<u32>,
    pub(crate) minimises_distance: bool,
    /// The images that attacks on labels may start from; none are the samples themselves.
    pub(crate) pool: Option<Samples>,
}

impl Setting {
    pub(crate) fn untargeted(norm: Norm, eps: impl Into<Option<f64>>, success: Success) -> Self {
        Self {
            norm,
            goal: Goal::Untargeted,
            eps: eps.into(),
            success,
            restarts: 1,
            budget: Budget::default(),
            record: Vec::new(),
            seed: 0,
            surrogates: Vec::new(),
            ensemble: Ensemble::default(),
            transfers: false,
            search: None,
            stack: Vec::new(),
            eot: 1,
            draws: None,
            minimises_distance: false,
            pool: None,
        }
    }
}

impl std::fmt::Display for Setting {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { norm, goal, eps, success, search, restarts, budget, seed, .. } = self;
        write!(to, "{norm:?} {goal:?} {eps:?} {success:?} {search:?} restarts {restarts} {budget:?} seed {seed}")
    }
}

/// Samples of one row of pixels, numbered from 0.
pub(crate) fn samples(pixels: &[Vec<f32>], labels: &[u32]) -> Samples {
    Samples { shape: [1, 1, pixels[0].len()], pixels: pixels.concat(), labels: labels.to_vec(), targets: None }
}

/// Some of the samples, in that order.
pub(crate) fn part(all: &Samples, rows: &[usize]) -> Samples {
    let size: usize = all.shape.iter().product();
    Samples {
        pixels: rows.iter().flat_map(|row| &all.pixels[row * size..(row + 1) * size]).copied().collect(),
        labels: rows.iter().map(|row| all.labels[*row]).collect(),
        ..all.clone()
    }
}

/// A component with its parameters, from their TOML.
pub(crate) fn parse(component: &'static Component, parameters: &str) -> Chosen {
    let environment =
        Environment { data: ".".into(), data_origin: String::new(), builtin: &|_| None, read_files: false };
    let catalogue = Registry::linked().catalogue().expect("names are unique");
    let chosen = parse_component(component, parameters, &catalogue, &environment);
    chosen.unwrap_or_else(|error| panic!("{} with {parameters}: {error:?}", component.id))
}

/// A registered attack.
pub(crate) fn entry(id: &str) -> &'static AttackEntry {
    inventory::iter::<AttackEntry>().find(|entry| entry.component.id == id).expect("a registered attack")
}

/// What is declared of a registered attack.
pub(crate) fn traits(id: &str) -> &'static AttackTraits {
    entry(id).component.attack().expect("attacks have attack traits")
}

/// Builds an attack, given by its id and parameters in TOML.
pub(crate) fn build(
    (id, parameters): (&str, &str),
    model: &Arc<dyn Model>,
    samples: &Samples,
    setting: &Setting,
) -> Box<dyn Run> {
    let entry = entry(id);
    let context = AttackContext {
        registry: Arc::new(Registry::linked()),
        locations: Locations { data: ".".into() },
        norm: setting.norm,
        goal: setting.goal,
        shape: samples.shape,
        classes: classes(model, samples),
        surrogates: setting.surrogates.len(),
        pool: Arc::new(Pool::new(Arc::new(setting.pool.as_ref().unwrap_or(samples).clone()))),
    };
    let built = (entry.build)(&parse(&entry.component, parameters).values, &context);
    built.unwrap_or_else(|error| panic!("{error}"))
}

/// Runs an attack, given by its id and parameters in TOML, on samples with these indices.
pub(crate) fn run_on(
    attack: (&str, &str),
    model: &Arc<dyn Model>,
    samples: &Samples,
    indices: &[u32],
    setting: &Setting,
) -> Result<Judged, Stop> {
    let traits = traits(attack.0);
    let mut setting = setting.clone();
    if traits.surrogates == Surrogates::Needed && setting.surrogates.is_empty() {
        setting.surrogates = vec![Arc::clone(model)];
    }
    setting.minimises_distance = traits.minimises_distance;
    setting.transfers = traits.surrogates == Surrogates::Transfer && !setting.surrogates.is_empty();
    drive(&*build(attack, model, samples, &setting), model, samples, indices, &setting)
}

fn classes(model: &Arc<dyn Model>, samples: &Samples) -> usize {
    let model = DefendedModel::new(Arc::clone(model), Vec::new());
    model
        .judge(samples, &Draws::none(samples.labels.len()), &Device::flex())
        .expect("logits of the clean images")
        .classes()
}

/// Runs an attack on samples with these indices.
pub(crate) fn drive(
    attack: &dyn Run,
    model: &Arc<dyn Model>,
    samples: &Samples,
    indices: &[u32],
    setting: &Setting,
) -> Result<Judged, Stop> {
    let Setting { restarts, eot, minimises_distance, .. } = *setting;
    drive_chain(&[Member { attack, restarts, eot, minimises_distance }], model, samples, indices, setting)
}

/// Runs attacks one after the other on samples with these indices.
pub(crate) fn drive_chain(
    members: &[Member<'_>],
    model: &Arc<dyn Model>,
    samples: &Samples,
    indices: &[u32],
    setting: &Setting,
) -> Result<Judged, Stop> {
    // A model without residual branches is its own damped version.
    let behind = |model: &Arc<dyn Model>, stack| {
        let damped = members[0].attack.residual_decay().and_then(|decay| model.with_residual_decay(decay));
        DefendedModel::new(damped.unwrap_or_else(|| Arc::clone(model)), stack)
    };
    let model = behind(model, setting.stack.clone());
    let device = Device::flex();
    let clean = model.judge(samples, &Draws::none(samples.labels.len()), &device)?;
    let classes = u32::try_from(clean.classes()).unwrap();
    let target = |label: &u32| setting.goal.has_target().then_some((label + 1) % classes);
    let task = Task {
        model,
        surrogates: setting.surrogates.iter().map(|model| behind(model, Vec::new())).collect(),
        ensemble: setting.ensemble,
        transfers: setting.transfers,
        samples: samples.clone(),
        indices: indices.to_vec(),
        targets: samples.labels.iter().map(target).collect(),
        clean: clean.predictions().into_iter().map(Option::unwrap).collect(),
        norm: setting.norm,
        goal: setting.goal,
        eps: setting.eps,
        search: setting.search.clone(),
        success: setting.success,
        budget: setting.budget,
        record: setting.record.clone(),
        seed: setting.seed,
        draws: setting.draws,
    };
    let control = Control { cancelled: &Arc::new(AtomicBool::new(false)), stepped: &|_| {} };
    Driver::run(task, members, &device, control)
}

/// A member of a chain, given by its id and parameters in TOML.
pub(crate) struct Listed {
    pub(crate) id: String,
    pub(crate) parameters: String,
    pub(crate) restarts: u32,
    pub(crate) eot: u32,
}

impl Listed {
    pub(crate) fn new(id: &str, parameters: &str) -> Self {
        Self { id: id.to_owned(), parameters: parameters.to_owned(), restarts: 1, eot: 1 }
    }
}

/// Runs such attacks one after the other.
pub(crate) fn drive_listed(
    members: &[Listed],
    model: &Arc<dyn Model>,
    samples: &Samples,
    indices: &[u32],
    setting: &Setting,
) -> Result<Judged, Stop> {
    let build = |member: &Listed| build((&member.id, &member.parameters), model, samples, setting);
    let built: Vec<_> = members.iter().map(build).collect();
    let member = |(listed, attack): (&Listed, _)| {
        let Listed { id, restarts, eot, .. } = listed;
        Member { attack, restarts: *restarts, eot: *eot, minimises_distance: traits(id).minimises_distance }
    };
    let members = members.iter().zip(built.iter().map(|built| &**built)).map(member);
    drive_chain(&members.collect::<Vec<_>>(), model, samples, indices, setting)
}

/// The indices of samples that are numbered from 0.
pub(crate) fn from_zero(samples: &Samples) -> Vec<u32> {
    (0..).take(samples.labels.len()).collect()
}

/// Runs an attack on all samples, numbered from 0.
pub(crate) fn run(
    attack: (&str, &str),
    model: &Arc<dyn Model>,
    samples: &Samples,
    setting: &Setting,
) -> Vec<Judgement> {
    run_on(attack, model, samples, &from_zero(samples), setting).expect("the attack runs").judgements
}

/// A fixed pseudo-random number in `[-1, 1)` for each index: test data, nothing more.
pub(crate) fn scatter(index: usize) -> f32 {
    let mixed = (index as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 40) as f32 / 8_388_608.0 - 1.0
}

/// So many rows of such numbers, times a scale.
pub(crate) fn matrix(rows: usize, columns: usize, scale: f32, from: usize) -> Vec<Vec<f32>> {
    let row = |row: usize| (0..columns).map(|column| scale * scatter(from + row * columns + column)).collect();
    (0..rows).map(row).collect()
}
