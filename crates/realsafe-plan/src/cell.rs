//! The unit of work: one attack on one chunk of samples of one defended model.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use crate::{
    Access, Budget, Component, Ensemble, GradientMode, Parameter, Search, Success, Surrogates, Threat, VARIABLES,
    Values,
};

/// A component as a spec uses it.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// The name that the spec gives it.
    pub id: String,
    /// What it is.
    pub component: &'static Component,
    /// Its parameters, defaults included.
    pub values: Values,
    /// The files that it reads: by parameter name (or by path, for datasets), where they lie and their BLAKE3.
    pub files: BTreeMap<String, ResolvedFile>,
}

impl Chosen {
    /// Whether it is an attack on the codes of a defense that projects; see [`VARIABLES`].
    pub(crate) fn varies_codes(&self) -> bool {
        let varies = |parameter: &Parameter| parameter.name == VARIABLES.name;
        self.component.parameters.iter().any(varies) && self.values.text(VARIABLES.name) == "codes"
    }
}

/// A file that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedFile {
    /// Where it lies; none for `builtin:` files.
    pub path: Option<PathBuf>,
    /// BLAKE3 of its bytes, hexadecimal; for `builtin:` files, of the embedded bytes.
    pub blake3: String,
}

/// One defense of a stack, with the gradient that this attack sees.
#[derive(Clone, Debug)]
pub struct StackLayer {
    /// The defense.
    pub defense: Arc<Chosen>,
    /// The gradient given to the attacker.
    pub gradient: GradientMode,
}

/// An attack with everything around it that a cell fixes.
#[derive(Clone, Debug)]
pub struct AttackChoice {
    /// The attack.
    pub chosen: Arc<Chosen>,
    /// Which images decide.
    pub success: Success,
    /// How often the attack starts anew on what it has not broken.
    pub restarts: u32,
    /// How many draws of a randomised victim an answer is the mean of.
    pub eot: u32,
    /// How the smallest radius is looked for; none where the threat model gives it.
    pub search: Option<Search>,
    /// The attacks of a chain, in order; none for a single attack.
    pub members: Vec<Member>,
    /// Hard limits per sample.
    pub budget: Budget,
    /// Steps after which every sample's iterate is judged and recorded.
    pub record: Vec<u32>,
    /// The networks whose gradients the attack uses beside what it sees of the victim.
    pub surrogates: Vec<Arc<Chosen>>,
    /// How those are combined.
    pub ensemble: Ensemble,
}

impl AttackChoice {
    /// What the attack may ask of the victim: nothing where surrogates stand in for it.
    pub fn access(&self) -> Access {
        if let Some(most) =
            self.members.iter().filter_map(|member| member.chosen.component.attack()).map(|traits| traits.access).max()
        {
            return most;
        }
        match self.chosen.component.attack() {
            Some(traits) if traits.surrogates == Surrogates::Transfer && !self.surrogates.is_empty() => Access::Nothing,
            Some(traits) => traits.access,
            None => Access::Nothing,
        }
    }
}

/// An attack of a chain.
#[derive(Clone, Debug)]
pub struct Member {
    /// The attack.
    pub chosen: Arc<Chosen>,
    /// How often it starts anew on what it has not broken.
    pub restarts: u32,
    /// How many draws of a randomised victim an answer is the mean of.
    pub eot: u32,
}

/// The unit of work.
#[derive(Clone, Debug)]
pub struct Cell {
    /// BLAKE3 of everything that can change the cell's numbers.
    pub key: Key,
    /// The experiment it belongs to.
    pub experiment: String,
    /// The images.
    pub data: Arc<Chosen>,
    /// Which images, as indices into the dataset, ascending.
    pub samples: Vec<u32>,
    /// The network.
    pub model: Arc<Chosen>,
    /// What stands in front of it, outermost first.
    pub stack: Vec<StackLayer>,
    /// The attack.
    pub attack: AttackChoice,
    /// The threat model.
    pub threat: Threat,
    /// The seed of every random stream.
    pub seed: u64,
    /// How many draws verdicts are the mean of; none where the victim draws nothing.
    pub draws: Option<u32>,
    /// The most that all samples of the cell together can cost.
    pub cost: crate::Cost,
}

impl Cell {
    /// The name of the defense stack: ids joined by `+`, or `none`.
    pub fn stack_name(&self) -> String {
        stack_name(&self.stack)
    }

    /// Whether the victim may reject images.
    pub fn rejects(&self) -> bool {
        let rejects = |layer: &StackLayer| layer.defense.component.defense().is_some_and(|traits| traits.rejects);
        self.stack.iter().any(rejects)
    }
}

/// Whether a model or something in front of it draws random numbers, so that one image gets different answers.
pub(crate) fn is_randomised(model: &Chosen, stack: &[StackLayer]) -> bool {
    let draws = |layer: &StackLayer| layer.defense.component.defense().is_some_and(|traits| traits.randomised);
    model.component.model().is_some_and(|traits| (traits.randomised)(&model.values)) || stack.iter().any(draws)
}

/// The ids of defenses joined by `+`, or `none`.
pub(crate) fn stack_name(layers: &[StackLayer]) -> String {
    if layers.is_empty() {
        return "none".to_owned();
    }
    let names: Vec<&str> = layers.iter().map(|layer| layer.defense.id.as_str()).collect();
    names.join("+")
}

/// The key of a cell: 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub(crate) String);

impl Key {
    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Key {
    type Err = String;

    /// Reads a key as [`Key::as_str`] writes it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hexadecimal = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() == 64 && hexadecimal {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("`{text}` is not the key of a cell: 64 lower-case hexadecimal digits"))
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
