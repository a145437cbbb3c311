//! Small models on which attacks are tried, and a short way to run an attack.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use burn::tensor::{Device, Tensor, TensorData};
use realsafe_core::{
    AttackContext, AttackEntry, Control, DefendedModel, Defense, Draws, Driver, Judgement, Locations, Member, Model,
    Pool, Recorded, Registry, Run, Samples, Stop, Task, inventory,
};
use realsafe_plan::{
    Budget, Ensemble, Environment, Goal, GradientMode, Norm, Search, Success, Surrogates, parse_component,
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

/// A smooth network of two layers: `W₂ tanh(W₁ x + b)`.
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
}

impl Setting {
    pub(crate) fn untargeted(norm: Norm, eps: impl Into<Option<f64>>, success: Success) -> Self {
        let (goal, restarts, budget, record) = (Goal::Untargeted, 1, Budget::default(), Vec::new());
        Self {
            norm,
            goal,
            eps: eps.into(),
            success,
            restarts,
            budget,
            record,
            seed: 0,
            surrogates: Vec::new(),
            ensemble: Ensemble::default(),
            transfers: false,
            search: None,
            stack: Vec::new(),
            eot: 1,
            draws: None,
            minimises_distance: false,
        }
    }
}

/// Samples of one row of pixels, numbered from 0.
pub(crate) fn samples(pixels: &[Vec<f32>], labels: &[u32]) -> Samples {
    Samples { shape: [1, 1, pixels[0].len()], pixels: pixels.concat(), labels: labels.to_vec(), targets: None }
}

/// Runs an attack, given by its id and parameters in TOML, on samples with these indices.
pub(crate) fn run_on(
    (id, parameters): (&str, &str),
    model: &Arc<dyn Model>,
    samples: &Samples,
    indices: &[u32],
    setting: &Setting,
) -> Result<(Vec<Judgement>, Vec<Recorded>), Stop> {
    let entry = inventory::iter::<AttackEntry>().find(|entry| entry.component.id == id).expect("a registered attack");
    let environment =
        Environment { data: ".".into(), data_origin: String::new(), builtin: &|_| None, read_files: false };
    let registry = Registry::linked();
    let catalogue = registry.catalogue().expect("names are unique");
    let chosen = parse_component(&entry.component, parameters, &catalogue, &environment).expect("valid parameters");
    let traits = entry.component.attack().expect("attacks have attack traits");
    let mut setting = setting.clone();
    if traits.surrogates == Surrogates::Needed && setting.surrogates.is_empty() {
        setting.surrogates = vec![Arc::clone(model)];
    }
    setting.minimises_distance = traits.minimises_distance;
    setting.transfers = traits.surrogates == Surrogates::Transfer && !setting.surrogates.is_empty();
    let context = AttackContext {
        registry: Arc::new(registry),
        locations: Locations { data: ".".into() },
        norm: setting.norm,
        goal: setting.goal,
        shape: samples.shape,
        classes: classes(model, samples),
        surrogates: setting.surrogates.len(),
        pool: Arc::new(Pool::new(Arc::new(samples.clone()))),
    };
    let attack = (entry.build)(&chosen.values, &context).expect("an attack");
    drive(&*attack, model, samples, indices, &setting)
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
) -> Result<(Vec<Judgement>, Vec<Recorded>), Stop> {
    // A model without residual branches is its own damped version.
    let behind = |model: &Arc<dyn Model>, stack| {
        let damped = attack.residual_decay().and_then(|decay| model.with_residual_decay(decay));
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
    let restarts = setting.restarts;
    let member = Member { attack, restarts, eot: setting.eot, minimises_distance: setting.minimises_distance };
    let control = Control { cancelled: &Arc::new(AtomicBool::new(false)), stepped: &|_| {} };
    let judged = Driver::run(task, &[member], &device, control)?;
    Ok((judged.judgements, judged.recorded))
}

/// Runs an attack on all samples, numbered from 0.
pub(crate) fn run(
    attack: (&str, &str),
    model: &Arc<dyn Model>,
    samples: &Samples,
    setting: &Setting,
) -> Vec<Judgement> {
    let indices: Vec<u32> = (0..).take(samples.labels.len()).collect();
    run_on(attack, model, samples, &indices, setting).expect("the attack runs").0
}

/// A fixed pseudo-random number in `[-1, 1)` for each index: test data, nothing more.
pub(crate) fn scatter(index: usize) -> f32 {
    let mixed = (index as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 40) as f32 / 8_388_608.0 - 1.0
}

/// A linear model of 3 classes over 12 pixels, with samples in the middle of the box that it classifies correctly.
pub(crate) fn linear_problem() -> (Vec<Vec<f32>>, Arc<dyn Model>, Samples) {
    let weights: Vec<Vec<f32>> =
        (0..3).map(|class| (0..12).map(|pixel| scatter(class * 12 + pixel)).collect()).collect();
    let pixels: Vec<Vec<f32>> =
        (0..20).map(|row| (0..12).map(|at| 0.5 + 0.2 * scatter(1000 + row * 12 + at)).collect()).collect();
    let labels: Vec<u32> = pixels.iter().map(|image| predict(&weights, image)).collect();
    let samples = samples(&pixels, &labels);
    (weights.clone(), Arc::new(Linear::new(&weights, &[0.0; 3])), samples)
}

pub(crate) fn logit(weights: &[f32], image: &[f32]) -> f64 {
    weights.iter().zip(image).map(|(weight, pixel)| f64::from(*weight) * f64::from(*pixel)).sum()
}

fn predict(weights: &[Vec<f32>], image: &[f32]) -> u32 {
    let logits: Vec<f64> = weights.iter().map(|row| logit(row, image)).collect();
    (0..3).max_by(|a, b| logits[*a as usize].total_cmp(&logits[*b as usize])).unwrap()
}
