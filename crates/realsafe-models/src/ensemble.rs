//! Several models that answer together.
//!
//! `members` are ids of other models of the spec, which may be victims themselves or be left out of the matrix, or models written
//! in place as tables with `use`. All take images of one shape, know the same classes and have gradients. `combine` says
//! what they answer: with `logits` the mean of their logits, with `probabilities` the logarithm of the mean of their
//! softmax outputs, whose softmax is that mean. Gradients are exact in both, however the members compute theirs. A
//! random member draws its own numbers.
//!
//! Members are trained together: as the model of a training spec, with members in place that go without weights or go on from
//! theirs. They start from different initial weights, and each is saved to a file of its own, as `weights-0.safetensors`, which
//! the member is then given. The recipe `adp` sees the members; others lower a loss of what they answer together.
//!
//! An answer of the ensemble is one query, and costs a pass of every member.
//!
//! ## Reference
//! Hansen, Salamon, "Neural network ensembles", IEEE TPAMI 12(10), 1990. That ensembles of undefended networks are no
//! defense against those who attack the whole: He, Wei, Chen, Carlini, Song, "Adversarial example defenses: ensembles of
//! weak defenses are not strong", WOOT 2017, arXiv:1706.04701.

use std::fmt::Debug;
use std::sync::Arc;

use burn::tensor::Tensor;
use realsafe_core::{CombinedModelEntry, Draws, Model, Stop, Tape, inventory, mixture};
use realsafe_plan::{Chosen, Component, Fallback, ModelTraits, Origin, Parameter, ParameterKind, Traits, Values};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Combine {
    Logits,
    Probabilities,
}

pub(crate) struct Ensemble {
    pub(crate) members: Vec<Arc<dyn Model>>,
    pub(crate) combine: Combine,
}

impl Combine {
    pub(crate) fn of(values: &Values) -> Self {
        if values.text("combine") == "logits" { Self::Logits } else { Self::Probabilities }
    }

    /// What logits `[n, classes]` of members give.
    pub(crate) fn together(self, parts: Vec<Tensor<2>>) -> Tensor<2> {
        match self {
            Self::Logits => mean(parts),
            Self::Probabilities => mixture(&parts),
        }
    }
}

/// The mean of at least one tensor.
fn mean<const D: usize>(parts: Vec<Tensor<D>>) -> Tensor<D> {
    let count = parts.len() as f64;
    parts.into_iter().reduce(|sum, part| sum + part).expect("an ensemble has members") / count
}

impl Model for Ensemble {
    fn passes(&self) -> u64 {
        self.members.iter().map(|member| member.passes()).sum()
    }

    fn logits(&self, images: Tensor<4>, draws: &Draws) -> Result<Tensor<2>, Stop> {
        let ask = |(place, member): (u64, &Arc<dyn Model>)| member.logits(images.clone(), &draws.of_part(place));
        let parts: Vec<Tensor<2>> = (0..).zip(&self.members).map(ask).collect::<Result<_, _>>()?;
        Ok(self.combine.together(parts))
    }

    /// Members go back as they do on their own: not all of them are known to autodiff.
    fn forward(&self, images: Tensor<4>, draws: &Draws) -> Result<Tape, Stop> {
        let ask = |(place, member): (u64, &Arc<dyn Model>)| member.forward(images.clone(), &draws.of_part(place));
        let tapes: Vec<Tape> = (0..).zip(&self.members).map(ask).collect::<Result<_, _>>()?;
        if self.combine == Combine::Probabilities {
            return Ok(Tape::mixture(tapes));
        }
        let logits = mean(tapes.iter().map(|tape| tape.logits.clone()).collect());
        Ok(Tape::new(logits, |cotangents| {
            let pulled = tapes.into_iter().map(|tape| tape.pull(cotangents.clone()));
            Ok(mean(pulled.collect::<Result<_, _>>()?))
        }))
    }

    fn with_residual_decay(&self, decay: f64) -> Option<Arc<dyn Model>> {
        let members = self.members.iter().map(|member| member.with_residual_decay(decay)).collect::<Option<_>>()?;
        Some(Arc::new(Self { members, combine: self.combine }))
    }
}

/// What all members have in common, or which two differ.
fn common<T: PartialEq + Debug>(
    values: &Values,
    what: &str,
    of: impl Fn(&ModelTraits, &Values) -> Result<T, String>,
) -> Result<T, String> {
    let tell = |member: &Chosen| {
        let traits = member.component.model().ok_or_else(|| format!("its member `{}` is no model", member.id))?;
        of(traits, &member.values).map_err(|reason| format!("its member `{}`: {reason}", member.id))
    };
    let members = values.models("members");
    let first = members.first().ok_or("it has no members")?;
    let shared = tell(first)?;
    for member in members {
        let own = tell(member)?;
        if own != shared {
            let (one, other) = (&first.id, &member.id);
            return Err(format!("its members differ in {what}: `{one}` has {shared:?}, `{other}` has {own:?}"));
        }
    }
    Ok(shared)
}

fn input(values: &Values) -> Result<[usize; 3], String> {
    let blind = |member: &&Chosen| member.component.model().is_some_and(|traits| !traits.differentiable);
    if let Some(member) = values.models("members").iter().find(blind) {
        return Err(format!("its member `{}` has no gradients", member.id));
    }
    common(values, "the shape of images", |traits, values| (traits.input)(values))
}

fn is_randomised(values: &Values) -> bool {
    let random = |member: &Chosen| member.component.model().is_some_and(|traits| (traits.randomised)(&member.values));
    values.models("members").iter().any(random)
}

inventory::submit! {
    CombinedModelEntry {
        component: Component {
            id: "ensemble",
            revision: 2,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("ensemble.rs"),
            parameters: &[
                Parameter {
                    name: "members",
                    kind: ParameterKind::Models,
                    unit: "",
                    fallback: Fallback::Required,
                    documentation: "The models that answer together: ids of other models of the spec, or tables with `use`.",
                },
                Parameter {
                    name: "combine",
                    kind: ParameterKind::Choice(&["logits", "probabilities"]),
                    unit: "",
                    fallback: Fallback::Value("logits"),
                    documentation: "What is averaged: logits, or the probabilities that their softmax gives.",
                },
            ],
            example: "members = [\n    { use = \"digits-cnn\", weights = \"builtin:digits-standard\" },\n    { use = \"digits-cnn\", weights = \"builtin:digits-surrogate\" },\n]\ncombine = \"probabilities\"",
            traits: Traits::Model(ModelTraits {
                input: &input,
                classes: &|values| common(values, "the number of classes", |traits, values| (traits.classes)(values)),
                differentiable: true,
                randomised: &is_randomised,
            }),
        },
        build: |values, members| Ok(Box::new(Ensemble { members, combine: Combine::of(values) })),
    }
}
