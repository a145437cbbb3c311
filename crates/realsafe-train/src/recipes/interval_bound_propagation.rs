//! Interval bound propagation (IBP): certified training on bounds of the worst logits in a cube.
//!
//! ## What it does
//! The update lowers `κ CE(z(x), y) + (1 - κ) CE(ẑ, y)`. `ẑ` are the worst logits that intervals cannot exclude for the
//! images within `eps` of `x` (linf) in the box `[0, 1]`: zero for the label, and for every other class minus a lower bound of
//! the label's lead over it. Where all leads are above zero, no image in the cube is misclassified, and that is a proof.
//! Nothing is attacked.
//!
//! The radius grows linearly from zero to `eps`, and κ falls from one to `kappa`, while the run goes from `ramp-start` to
//! `ramp-end`. The training accuracy is that on the clean images.
//!
//! Intervals go through convolutions, linear layers, relus and max-pooling: through `digits-cnn`, `lenet`, `small-cnn` and
//! `convolution-stack`, with linear heads. Other networks are refused.
//!
//! ## Cost
//! About three times that of standard training.
//!
//! ## Reference
//! Gowal, Dvijotham, Stanforth, Bunel, Qin, Uesato, Arandjelovic, Mann, Kohli: On the Effectiveness of Interval Bound Propagation
//! for Training Verifiably Robust Models, 2018 (arXiv:1810.12715). There the ramp is counted in updates and radii in
//! training are a little above those in tests.

use realsafe_core::{Objective, Recipe, RecipeEntry, Stop, Trainable, TrainingBatch, inventory};
use realsafe_plan::{Component, Fallback, Origin, Parameter, ParameterKind, Traits, Values};

use crate::losses::cross_entropy;
use crate::parameters::{EPS, recipe_parameters};

struct IntervalTraining {
    eps: f64,
    kappa: f64,
    ramp: [f64; 2],
}

impl IntervalTraining {
    fn from(values: &Values) -> Self {
        Self {
            eps: values.number("eps"),
            kappa: values.number("kappa"),
            ramp: [values.number("ramp-start"), values.number("ramp-end")],
        }
    }

    /// How much of the ramp is behind at a time of the run, from 0 to 1.
    fn climbed(&self, time: f64) -> f64 {
        let [start, end] = self.ramp;
        if time >= end { 1.0 } else { ((time - start) / (end - start)).clamp(0.0, 1.0) }
    }
}

/// Whether bounds go through a network, intervals and those by duality alike.
///
/// # Errors
/// Through which networks they go.
pub(super) fn check(network: &dyn Trainable) -> Result<(), String> {
    if network.has_intervals() {
        return Ok(());
    }
    let message = "bounds do not go through it; take `digits-cnn`, `lenet`, `small-cnn` or `convolution-stack`, with a linear \
                   head and no defense in front";
    Err(message.to_owned())
}

impl Recipe for IntervalTraining {
    fn check(&self, network: &dyn Trainable) -> Result<(), String> {
        if self.ramp[0] > self.ramp[1] {
            return Err("`ramp-start` is after `ramp-end`; exchange them".to_owned());
        }
        check(network)
    }

    fn objective(&self, network: &dyn Trainable, batch: &TrainingBatch) -> Result<Objective, Stop> {
        let climbed = self.climbed(batch.time);
        let kappa = 1.0 - (1.0 - self.kappa) * climbed;
        let images = batch.images.clone().autodiff();
        let logits = network.forward(images.clone());
        let clean = cross_entropy(logits.clone(), &batch.labels, 0.0);
        let margins = network
            .interval_margins(images, &batch.labels, self.eps * climbed)
            .expect("a network without intervals was refused before anything was trained");
        let worst = cross_entropy(-margins, &batch.labels, 0.0);
        Ok(Objective { loss: clean * kappa + worst * (1.0 - kappa), logits })
    }
}

const fn share(name: &'static str, usual: &'static str, documentation: &'static str) -> Parameter {
    Parameter {
        name,
        kind: ParameterKind::Number { minimum: 0.0, maximum: 1.0 },
        unit: "share of the run",
        fallback: Fallback::Value(usual),
        documentation,
    }
}

inventory::submit! {
    RecipeEntry {
        component: Component {
            id: "interval-bound-propagation",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("interval_bound_propagation.rs"),
            parameters: recipe_parameters![
                EPS,
                Parameter {
                    name: "kappa",
                    kind: ParameterKind::Number { minimum: 0.0, maximum: 1.0 },
                    unit: "share of the loss",
                    fallback: Fallback::Value("0.5"),
                    documentation: "The share of the clean images in the loss at the end of the ramp; the worst logits have the rest.",
                },
                share("ramp-start", "0.05", "When the radius begins to grow and the share of clean images to fall."),
                share("ramp-end", "0.5", "When both have reached their final values."),
            ],
            example: "eps = \"8/255\"\nepochs = 10",
            traits: Traits::Recipe,
        },
        build: |values| Box::new(IntervalTraining::from(values)),
    }
}
