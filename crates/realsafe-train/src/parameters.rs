//! The parameters that every recipe has, and the optimizer that they describe.

use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, ModuleOptimizer, SgdConfig};
use realsafe_plan::{Fallback, Parameter, ParameterKind, Values};

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
    documentation: "The learning rate over the run: constant, lowered at milestones, half a cosine wave down to zero, or linearly up from zero and down again.",
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
