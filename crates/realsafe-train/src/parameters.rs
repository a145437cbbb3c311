//! The parameters that recipes share, and the optimizer that they describe.

use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, ModuleOptimizer, SgdConfig};
use realsafe_plan::{Fallback, Norm, Parameter, ParameterKind, Values};

/// The parameters of a recipe: its own, and then those that the trainer reads, which all recipes have.
macro_rules! recipe_parameters {
    ($($own:expr),* $(,)?) => {
        &[
            $($own,)*
            $crate::parameters::EPOCHS,
            $crate::parameters::BATCH_SIZE,
            $crate::parameters::AUGMENTATION,
            $crate::parameters::PADDING,
            $crate::parameters::GAUSSIAN_NOISE,
            $crate::parameters::OPTIMIZER,
            $crate::parameters::LEARNING_RATE,
            $crate::parameters::MOMENTUM,
            $crate::parameters::WEIGHT_DECAY,
            $crate::parameters::SCHEDULE,
            $crate::parameters::WARM_UP,
            $crate::parameters::PEAK,
            $crate::parameters::MILESTONES,
            $crate::parameters::DECAY,
            $crate::parameters::AVERAGE_DECAY,
        ]
    };
}
pub(crate) use recipe_parameters;

pub(crate) const EPOCHS: Parameter = Parameter {
    name: "epochs",
    kind: ParameterKind::Count { minimum: 1, maximum: 100_000 },
    unit: "passes over the samples",
    fallback: Fallback::Value("20"),
    documentation: "How often every sample is shown.",
};

pub(crate) const BATCH_SIZE: Parameter = Parameter {
    name: "batch-size",
    kind: ParameterKind::Count { minimum: 1, maximum: 100_000 },
    unit: "samples",
    fallback: Fallback::Value("64"),
    documentation: "How many samples an update is computed from; the last batch of an epoch may be smaller.",
};

pub(crate) const AUGMENTATION: Parameter = Parameter {
    name: "augmentation",
    kind: ParameterKind::Choice(&["none", "crop", "flip", "crop-flip"]),
    unit: "",
    fallback: Fallback::Value("none"),
    documentation: "How images are changed, anew in every epoch, before the recipe sees them: a random crop of the padded image, a mirror image in half of all cases, or both.",
};

pub(crate) const PADDING: Parameter = Parameter {
    name: "padding",
    kind: ParameterKind::Count { minimum: 0, maximum: 256 },
    unit: "pixels",
    fallback: Fallback::Value("4"),
    documentation: "How wide a border of zeros is put around images before they are cropped to their size again; so crops are shifts by up to that much.",
};

pub(crate) const GAUSSIAN_NOISE: Parameter = Parameter {
    name: "gaussian-noise",
    kind: ParameterKind::Number { minimum: 0.0, maximum: 10.0 },
    unit: "pixel range 0 to 1",
    fallback: Fallback::Value("0"),
    documentation: "The deviation of the Gaussian noise that is added to every pixel after the augmentation, anew in every epoch, as randomized smoothing needs it (`gaussian-smoothing`); pixels are not cut off at 0 and 1, except where a recipe attacks them.",
};

pub(crate) const OPTIMIZER: Parameter = Parameter {
    name: "optimizer",
    kind: ParameterKind::Choice(&["sgd", "adam"]),
    unit: "",
    fallback: Fallback::Value("adam"),
    documentation: "Stochastic gradient descent with momentum, or Adam (moments 0.9 and 0.999, epsilon 1e-8).",
};

pub(crate) const LEARNING_RATE: Parameter = Parameter {
    name: "learning-rate",
    kind: ParameterKind::Number { minimum: 0.0, maximum: 1e3 },
    unit: "",
    fallback: Fallback::Value("0.001"),
    documentation: "The largest learning rate of the schedule.",
};

pub(crate) const MOMENTUM: Parameter = Parameter {
    name: "momentum",
    kind: ParameterKind::Number { minimum: 0.0, maximum: 1.0 },
    unit: "",
    fallback: Fallback::Value("0.9"),
    documentation: "The share of the last update that the next one repeats; for sgd only.",
};

pub(crate) const WEIGHT_DECAY: Parameter = Parameter {
    name: "weight-decay",
    kind: ParameterKind::Number { minimum: 0.0, maximum: 1.0 },
    unit: "",
    fallback: Fallback::Value("0"),
    documentation: "The share of each weight that is added to its gradient (L2 penalty).",
};

pub(crate) const SCHEDULE: Parameter = Parameter {
    name: "schedule",
    kind: ParameterKind::Choice(&["constant", "step", "cosine", "cyclic"]),
    unit: "",
    fallback: Fallback::Value("constant"),
    documentation: "The learning rate over the run: constant, lowered at milestones, half a cosine wave down to zero, or linearly up from zero and down again (cyclic).",
};

pub(crate) const WARM_UP: Parameter = Parameter {
    name: "warm-up",
    kind: ParameterKind::Number { minimum: 0.0, maximum: 1.0 },
    unit: "share of the run",
    fallback: Fallback::Value("0"),
    documentation: "How long the learning rate of the schedule is multiplied by a factor that grows linearly from zero to one.",
};

pub(crate) const PEAK: Parameter = Parameter {
    name: "peak",
    kind: ParameterKind::Number { minimum: 0.0, maximum: 1.0 },
    unit: "share of the run",
    fallback: Fallback::Value("0.5"),
    documentation: "Where the cyclic schedule reaches the largest learning rate.",
};

pub(crate) const MILESTONES: Parameter = Parameter {
    name: "milestones",
    kind: ParameterKind::Numbers { minimum: 0.0, maximum: 1.0 },
    unit: "share of the run",
    fallback: Fallback::Value("0.5, 0.75"),
    documentation: "Where the step schedule lowers the learning rate.",
};

pub(crate) const DECAY: Parameter = Parameter {
    name: "decay",
    kind: ParameterKind::Number { minimum: 0.0, maximum: 1.0 },
    unit: "",
    fallback: Fallback::Value("0.1"),
    documentation: "What the step schedule multiplies the learning rate by at each milestone.",
};

pub(crate) const AVERAGE_DECAY: Parameter = Parameter {
    name: "average-decay",
    kind: ParameterKind::Number { minimum: 0.0, maximum: 1.0 },
    unit: "",
    fallback: Fallback::Value("0"),
    documentation: "Above zero, an exponential moving average of weights and running statistics is kept, evaluated and saved; after update t it keeps the share min(average-decay, (1 + t) / (10 + t)) of what it was.",
};

pub(crate) const LABEL_SMOOTHING: Parameter = Parameter {
    name: "label-smoothing",
    kind: ParameterKind::Number { minimum: 0.0, maximum: 1.0 },
    unit: "probability",
    fallback: Fallback::Value("0"),
    documentation: "How much of the label's probability is spread evenly over all classes in the cross-entropy that is lowered.",
};

pub(crate) const NORM: Parameter = Parameter {
    name: "norm",
    kind: ParameterKind::Choice(&[Norm::Linf.name(), Norm::L2.name()]),
    unit: "",
    fallback: Fallback::Value("linf"),
    documentation: "The norm of the ball and of the steps.",
};

pub(crate) const EPS: Parameter = Parameter {
    name: "eps",
    kind: ParameterKind::Number { minimum: 0.0, maximum: 1e6 },
    unit: "pixel range 0 to 1, in the norm",
    fallback: Fallback::Required,
    documentation: "The radius of the ball.",
};

pub(crate) const EPS_WARM_UP: Parameter = Parameter {
    name: "eps-warm-up",
    kind: ParameterKind::Number { minimum: 0.0, maximum: 1.0 },
    unit: "share of the run",
    fallback: Fallback::Value("0"),
    documentation: "How long the ball and the step grow linearly from nothing to their size: from the start, a large ball teaches some networks to give every image the same answer.",
};

pub(crate) const STEPS: Parameter = Parameter {
    name: "steps",
    kind: ParameterKind::Count { minimum: 1, maximum: 100_000 },
    unit: "gradients",
    fallback: Fallback::Value("7"),
    documentation: "How many gradient steps are made on each image.",
};

pub(crate) const STEP_SIZE: Parameter = Parameter {
    name: "step-size",
    kind: ParameterKind::Number { minimum: 0.0, maximum: 1e6 },
    unit: "pixel range 0 to 1, in the norm",
    fallback: Fallback::Required,
    documentation: "The length of a step.",
};

pub(crate) const RANDOM_START: Parameter = Parameter {
    name: "random-start",
    kind: ParameterKind::Flag,
    unit: "",
    fallback: Fallback::Value("true"),
    documentation: "Whether the first point is drawn from the ball, not the clean image.",
};

pub(crate) const CLEAN_WEIGHT: Parameter = Parameter {
    name: "clean-weight",
    kind: ParameterKind::Number { minimum: 0.0, maximum: 1.0 },
    unit: "share of the loss",
    fallback: Fallback::Value("0.5"),
    documentation: "The share of the clean images in the cross-entropy that is lowered; adversarial images have the rest.",
};

/// The weight of a part of a loss.
pub(crate) const fn weight(
    name: &'static str,
    unit: &'static str,
    usual: &'static str,
    documentation: &'static str,
) -> Parameter {
    let kind = ParameterKind::Number { minimum: 0.0, maximum: 1e6 };
    Parameter { name, kind, unit, fallback: Fallback::Value(usual), documentation }
}

/// The optimizer that the parameters describe.
#[expect(clippy::cast_possible_truncation, reason = "burn takes the penalty in single precision")]
pub(crate) fn optimizer(values: &Values) -> ModuleOptimizer {
    let penalty = values.number("weight-decay") as f32;
    let decay = (penalty > 0.0).then(|| WeightDecayConfig::new(penalty));
    if values.text("optimizer") == "adam" {
        return AdamConfig::new().with_epsilon(1e-8).with_weight_decay(decay).init();
    }
    let momentum = values.number("momentum");
    let momentum = (momentum > 0.0).then(|| MomentumConfig::new().with_momentum(momentum).with_dampening(0.0));
    SgdConfig::new().with_momentum(momentum).with_weight_decay(decay).init()
}
