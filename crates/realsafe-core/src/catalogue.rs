//! The static catalogue: what components register with [`inventory`].
//!
//! A component's file ends in `inventory::submit!` of its entry; nothing else has to change.

use std::path::PathBuf;

use burn::tensor::Device;
use realsafe_plan::{Catalogue, Component, Values};

use crate::{AttackContext, Dataset, Defense, Model, Recipe, Run};

/// A component, or what is wrong with the files that it reads.
pub type Built<T> = Result<Box<T>, String>;

/// A registered attack.
pub struct AttackEntry {
    /// Its description.
    pub component: Component,
    /// Builds it for a threat model.
    pub build: fn(&Values, &AttackContext) -> Box<dyn Run>,
}

/// A registered defense.
pub struct DefenseEntry {
    /// Its description.
    pub component: Component,
    /// Builds it.
    pub build: fn(&Values) -> Box<dyn Defense>,
}

/// A registered model.
pub struct ModelEntry {
    /// Its description.
    pub component: Component,
    /// Builds it in evaluation state on a device, with the weights that the parameters name.
    pub build: fn(&Values, &Locations, &Device) -> Built<dyn Model>,
}

/// A registered dataset.
pub struct DatasetEntry {
    /// Its description.
    pub component: Component,
    /// Opens it.
    pub build: fn(&Values, &Locations) -> Built<dyn Dataset>,
}

/// A registered training recipe.
pub struct RecipeEntry {
    /// Its description; among its parameters are those that the trainer reads.
    pub component: Component,
    /// Builds it.
    pub build: fn(&Values) -> Box<dyn Recipe>,
}

inventory::collect!(AttackEntry);
inventory::collect!(DefenseEntry);
inventory::collect!(ModelEntry);
inventory::collect!(DatasetEntry);
inventory::collect!(RecipeEntry);

/// Where files are looked for.
#[derive(Clone, Debug)]
pub struct Locations {
    /// The data directory: `--data`, then `REALSAFE_DATA`, then the platform's cache directory.
    pub data: PathBuf,
}

impl Locations {
    /// The path of a file that a spec names: absolute paths as they are, others relative to the data directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.data.join(name)
    }
}

/// Every component that is linked into this program.
///
/// # Errors
/// Names two components of one kind that have the same name.
pub fn catalogue() -> Result<Catalogue, String> {
    let attacks = inventory::iter::<AttackEntry>().map(|entry| &entry.component);
    let defenses = inventory::iter::<DefenseEntry>().map(|entry| &entry.component);
    let models = inventory::iter::<ModelEntry>().map(|entry| &entry.component);
    let datasets = inventory::iter::<DatasetEntry>().map(|entry| &entry.component);
    let recipes = inventory::iter::<RecipeEntry>().map(|entry| &entry.component);
    Catalogue::new(attacks.chain(defenses).chain(models).chain(datasets).chain(recipes))
}
