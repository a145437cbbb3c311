//! The registry of components: those that are linked in, which register with [`inventory`], and those that are added
//! while the program runs.
//!
//! A linked component's file ends in `inventory::submit!` of its entry; nothing else has to change.

use std::path::PathBuf;
use std::sync::Arc;

use burn::tensor::Device;
use realsafe_plan::{Catalogue, Chosen, Component, Values};

use crate::{AttackContext, Dataset, Defense, Loss, Model, Recipe, Run};

/// A component, or what is wrong with the values of its parameters or the files that it reads.
pub type Built<T> = Result<Box<T>, String>;

/// Builds an attack for a threat model.
pub(crate) type BuildAttack = &'static (dyn Fn(&Values, &AttackContext) -> Built<dyn Run> + Send + Sync);
/// Builds a defense.
pub(crate) type BuildDefense = &'static (dyn Fn(&Values, &Locations) -> Built<dyn Defense> + Send + Sync);
/// Builds a model in evaluation state on a device, with the weights that the parameters name.
pub(crate) type BuildModel = &'static (dyn Fn(&Values, &Locations, &Device) -> Built<dyn Model> + Send + Sync);
/// Builds a model of its members.
pub(crate) type BuildCombined = fn(&Values, Vec<Arc<dyn Model>>) -> Built<dyn Model>;
/// Finds a member of a model, or says what is wrong with it.
pub(crate) type FindMember<'a> = &'a dyn Fn(&Chosen) -> Result<Arc<dyn Model>, String>;
/// Builds a loss.
pub(crate) type BuildLoss = &'static (dyn Fn(&Values, &Locations) -> Built<dyn Loss> + Send + Sync);

/// A registered attack.
pub struct AttackEntry {
    /// Its description.
    pub component: Component,
    /// Builds it.
    pub build: BuildAttack,
}

/// A registered chain of attacks, which the plan takes apart into its members.
pub struct ChainEntry {
    /// Its description.
    pub component: Component,
}

/// A registered certificate, for which the victim is asked.
pub struct CertificateEntry {
    /// Its description.
    pub component: Component,
}

/// A registered defense.
pub struct DefenseEntry {
    /// Its description.
    pub component: Component,
    /// Builds it.
    pub build: BuildDefense,
}

/// A registered model.
pub struct ModelEntry {
    /// Its description.
    pub component: Component,
    /// Builds it.
    pub build: BuildModel,
}

/// A registered model that is made of other models, its parameter `members`.
pub struct CombinedModelEntry {
    /// Its description.
    pub component: Component,
    /// Builds it of its members.
    pub build: BuildCombined,
}

/// A registered dataset.
pub struct DatasetEntry {
    /// Its description.
    pub component: Component,
    /// Opens it.
    pub build: fn(&Values, &Locations) -> Built<dyn Dataset>,
}

impl DatasetEntry {
    /// Opens a dataset that a component has among its parameters.
    ///
    /// # Errors
    /// What is wrong with its files.
    pub fn open(chosen: &Chosen, locations: &Locations) -> Built<dyn Dataset> {
        let entry = inventory::iter::<Self>().find(|entry| entry.component == *chosen.component);
        let entry = entry.ok_or_else(|| format!("the dataset `{}` is not linked into this program", chosen.id))?;
        (entry.build)(&chosen.values, locations)
    }
}

/// A registered training recipe.
pub struct RecipeEntry {
    /// Its description; among its parameters are those that the trainer reads.
    pub component: Component,
    /// Builds it.
    pub build: fn(&Values) -> Box<dyn Recipe>,
}

/// A registered loss.
pub struct LossEntry {
    /// Its description.
    pub component: Component,
    /// Builds it.
    pub build: BuildLoss,
}

inventory::collect!(AttackEntry);
inventory::collect!(ChainEntry);
inventory::collect!(CertificateEntry);
inventory::collect!(DefenseEntry);
inventory::collect!(ModelEntry);
inventory::collect!(CombinedModelEntry);
inventory::collect!(DatasetEntry);
inventory::collect!(RecipeEntry);
inventory::collect!(LossEntry);

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

/// All components that a program has.
#[derive(Clone)]
pub struct Registry {
    attacks: Vec<&'static AttackEntry>,
    defenses: Vec<&'static DefenseEntry>,
    models: Vec<&'static ModelEntry>,
    datasets: Vec<&'static DatasetEntry>,
    recipes: Vec<&'static RecipeEntry>,
    losses: Vec<&'static LossEntry>,
}

/// An entry that can be added to a registry. What a program knows it never forgets, and so entries live as long as it.
#[derive(Clone, Copy)]
pub enum Entry {
    /// An attack.
    Attack(&'static AttackEntry),
    /// A defense.
    Defense(&'static DefenseEntry),
    /// A model.
    Model(&'static ModelEntry),
    /// A loss.
    Loss(&'static LossEntry),
}

impl Entry {
    /// The description of the component.
    pub fn component(&self) -> &'static Component {
        match self {
            Self::Attack(entry) => &entry.component,
            Self::Defense(entry) => &entry.component,
            Self::Model(entry) => &entry.component,
            Self::Loss(entry) => &entry.component,
        }
    }
}

impl Registry {
    /// What is linked into this program.
    pub fn linked() -> Self {
        Self {
            attacks: inventory::iter::<AttackEntry>().collect(),
            defenses: inventory::iter::<DefenseEntry>().collect(),
            models: inventory::iter::<ModelEntry>().collect(),
            datasets: inventory::iter::<DatasetEntry>().collect(),
            recipes: inventory::iter::<RecipeEntry>().collect(),
            losses: inventory::iter::<LossEntry>().collect(),
        }
    }

    /// Adds a component.
    pub fn add(&mut self, entry: Entry) {
        match entry {
            Entry::Attack(entry) => self.attacks.push(entry),
            Entry::Defense(entry) => self.defenses.push(entry),
            Entry::Model(entry) => self.models.push(entry),
            Entry::Loss(entry) => self.losses.push(entry),
        }
    }

    /// The descriptions of all components.
    ///
    /// # Errors
    /// Names two components of one kind that have the same name, and where they come from.
    pub fn catalogue(&self) -> Result<Catalogue, String> {
        let attacks = self.attacks.iter().map(|entry| &entry.component);
        let chains = inventory::iter::<ChainEntry>().map(|entry| &entry.component);
        let certificates = inventory::iter::<CertificateEntry>().map(|entry| &entry.component);
        let defenses = self.defenses.iter().map(|entry| &entry.component);
        let models = self.models.iter().map(|entry| &entry.component);
        let datasets = self.datasets.iter().map(|entry| &entry.component);
        let recipes = self.recipes.iter().map(|entry| &entry.component);
        let losses = self.losses.iter().map(|entry| &entry.component);
        let combined = inventory::iter::<CombinedModelEntry>().map(|entry| &entry.component);
        let models = models.chain(combined);
        let attacks = attacks.chain(chains).chain(certificates);
        Catalogue::new(attacks.chain(defenses).chain(models).chain(datasets).chain(recipes).chain(losses))
    }

    /// Builds an attack.
    ///
    /// # Errors
    /// What is wrong with its values or files.
    pub fn attack(&self, chosen: &Chosen, context: &AttackContext) -> Built<dyn Run> {
        (entry(&self.attacks, chosen, |entry| &entry.component).build)(&chosen.values, context)
    }

    /// Builds a defense.
    ///
    /// # Errors
    /// What is wrong with its values or files.
    pub fn defense(&self, chosen: &Chosen, locations: &Locations) -> Built<dyn Defense> {
        (entry(&self.defenses, chosen, |entry| &entry.component).build)(&chosen.values, locations)
    }

    /// Builds a model.
    ///
    /// # Errors
    /// What is wrong with its values or files.
    pub fn model(&self, chosen: &Chosen, locations: &Locations, device: &Device) -> Built<dyn Model> {
        let member = |member: &Chosen| {
            let model = self.model(member, locations, device).map(Arc::from);
            model.map_err(|reason| format!("its member `{}`: {reason}", member.id))
        };
        self.model_with(chosen, locations, device, &member)
    }

    /// Builds a model whose members, if it has any, come from somewhere else.
    ///
    /// # Errors
    /// What is wrong with its values or files, or with a member.
    pub fn model_with(
        &self,
        chosen: &Chosen,
        locations: &Locations,
        device: &Device,
        member: FindMember<'_>,
    ) -> Built<dyn Model> {
        let combined = inventory::iter::<CombinedModelEntry>().find(|entry| entry.component == *chosen.component);
        if let Some(combined) = combined {
            let members: Vec<_> = chosen.values.models("members").iter().map(member).collect::<Result<_, _>>()?;
            return (combined.build)(&chosen.values, members);
        }
        (entry(&self.models, chosen, |entry| &entry.component).build)(&chosen.values, locations, device)
    }

    /// Opens a dataset.
    ///
    /// # Errors
    /// What is wrong with its files.
    pub fn dataset(&self, chosen: &Chosen, locations: &Locations) -> Built<dyn Dataset> {
        (entry(&self.datasets, chosen, |entry| &entry.component).build)(&chosen.values, locations)
    }

    /// Builds a loss.
    ///
    /// # Errors
    /// What is wrong with its values or files.
    pub fn loss(&self, chosen: &Chosen, locations: &Locations) -> Built<dyn Loss> {
        (entry(&self.losses, chosen, |entry| &entry.component).build)(&chosen.values, locations)
    }
}

fn entry<E>(entries: &[&'static E], chosen: &Chosen, of: fn(&E) -> &Component) -> &'static E {
    entries.iter().find(|entry| of(entry) == chosen.component).expect("the catalogue holds what the registry has")
}
