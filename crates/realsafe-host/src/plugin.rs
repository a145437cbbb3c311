//! A plugin that can be used.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use realsafe_abi::RealsafePlugin;

use crate::gate::{Rights, guarded, nonsense};
use crate::instance::{Instance, Shared};
use crate::load::load;
use crate::local::LocalInstance;
use crate::operation::Setting;
use crate::remote::{Pool, RemoteInstance};
use crate::tables::Tables;
use crate::{
    Argument, AttackInstance, DefenseInstance, Description, Digest, Failure, FailureKind, Interface, LoadError,
    LossInstance, ModelInstance, NoCallbacks, Plan, Problem, Shape, Workers,
};

/// A plugin, linked, loaded into this process or used through worker processes. Clones are the same plugin.
///
/// Components are numbered as in [`Description::components`]. Arguments come in the order of a component's parameters.
#[derive(Clone, Debug)]
pub struct Plugin(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    description: Arc<Description>,
    file: Option<(PathBuf, Digest)>,
    home: Home,
}

/// Where a plugin's code runs.
#[derive(Debug)]
enum Home {
    Here(Arc<Tables>),
    Workers(Pool),
}

impl Plugin {
    /// A plugin that is part of this program.
    ///
    /// # Errors
    /// Its table is malformed.
    pub fn linked(table: &'static RealsafePlugin) -> Result<Self, LoadError> {
        // SAFETY: a reference to a table that lives as long as the process.
        let tables = unsafe { Tables::read("a linked plugin", table) }?;
        Ok(Self::here(Arc::new(tables), None))
    }

    /// Loads a library into this process, where it can do anything that this process can.
    ///
    /// # Errors
    /// The file is not a plugin, or not the one of that digest.
    pub fn in_process(path: &Path, expected: Digest) -> Result<Self, LoadError> {
        Ok(Self::here(load(path, expected)?, Some((path.to_owned(), expected))))
    }

    fn here(tables: Arc<Tables>, file: Option<(PathBuf, Digest)>) -> Self {
        let description = Arc::new(tables.description.clone());
        Self(Arc::new(Inner { description, file, home: Home::Here(tables) }))
    }

    /// Loads a library into a worker process, and into further ones as they are needed.
    ///
    /// # Errors
    /// The file is not a plugin, or not the one of that digest, or the worker ended.
    pub fn isolated(path: &Path, expected: Digest, workers: Workers) -> Result<Self, LoadError> {
        let (pool, description) = Pool::start(path, expected, workers)?;
        let description = Arc::new(description);
        Ok(Self(Arc::new(Inner { description, file: Some((path.to_owned(), expected)), home: Home::Workers(pool) })))
    }

    /// What the plugin says about itself.
    pub fn description(&self) -> &Arc<Description> {
        &self.0.description
    }

    /// The digest of the library; none of a linked plugin.
    pub fn digest(&self) -> Option<Digest> {
        self.0.file.as_ref().map(|(_, digest)| *digest)
    }

    /// The library; none of a linked plugin.
    pub fn path(&self) -> Option<&Path> {
        self.0.file.as_ref().map(|(path, _)| path.as_path())
    }

    /// What an attack is going to do with these arguments. Losses and files are passed as unset.
    ///
    /// # Errors
    /// The plugin fails, or does not take the arguments.
    pub fn plan(&self, component: usize, arguments: &[Argument]) -> Result<Plan, Failure> {
        let arguments = early(arguments);
        let (plan, _) = guarded(&mut NoCallbacks, Rights::none(), |gate| match &self.0.home {
            Home::Here(tables) => tables.plan(component, &arguments, gate),
            Home::Workers(pool) => pool.plan(component, arguments, gate),
        });
        plan
    }

    /// The shape that a model takes with these arguments. Files are passed as unset.
    ///
    /// # Errors
    /// The plugin fails, or does not take the arguments.
    pub fn shape(&self, component: usize, arguments: &[Argument]) -> Result<Shape, Failure> {
        let arguments = early(arguments);
        let (shape, _) = guarded(&mut NoCallbacks, Rights::none(), |gate| match &self.0.home {
            Home::Here(tables) => tables.shape(component, &arguments, gate),
            Home::Workers(pool) => pool.shape(component, arguments, gate),
        });
        shape.and_then(check_shape)
    }

    /// Creates an attack.
    ///
    /// # Errors
    /// The plugin fails, or does not take the arguments.
    pub fn attack(
        &self,
        component: usize,
        problem: &Problem,
        arguments: &[Argument],
    ) -> Result<AttackInstance, Failure> {
        let Some(Interface::Attack(attack)) = self.interface(component) else {
            return Err(wrong_kind(component, "an attack"));
        };
        let (instance, warnings) = self.create(component, &Setting::Attack(*problem), arguments)?;
        AttackInstance::new(instance, attack, *problem, warnings)
    }

    /// Creates a defense.
    ///
    /// # Errors
    /// The plugin fails, or does not take the arguments.
    pub fn defense(&self, component: usize, arguments: &[Argument]) -> Result<DefenseInstance, Failure> {
        let Some(Interface::Defense(_)) = self.interface(component) else {
            return Err(wrong_kind(component, "a defense"));
        };
        Shared::new(self, component, Setting::Plain, arguments).map(DefenseInstance)
    }

    /// Creates a model.
    ///
    /// # Errors
    /// The plugin fails, or does not take the arguments.
    pub fn model(&self, component: usize, arguments: &[Argument]) -> Result<ModelInstance, Failure> {
        let Some(Interface::Model(_)) = self.interface(component) else {
            return Err(wrong_kind(component, "a model"));
        };
        let shape = self.shape(component, arguments)?;
        let shared = Shared::new(self, component, Setting::Plain, arguments)?;
        Ok(ModelInstance { shared, shape })
    }

    /// Creates a loss.
    ///
    /// # Errors
    /// The plugin fails, or does not take the arguments.
    pub fn loss(&self, component: usize, arguments: &[Argument]) -> Result<LossInstance, Failure> {
        let Some(Interface::Loss) = self.interface(component) else {
            return Err(wrong_kind(component, "a loss"));
        };
        Shared::new(self, component, Setting::Plain, arguments).map(LossInstance)
    }

    fn interface(&self, component: usize) -> Option<Interface> {
        self.0.description.components.get(component).map(|component| component.interface)
    }

    /// Creates an instance, and says what the plugin warned of meanwhile.
    pub(crate) fn create(
        &self,
        component: usize,
        setting: &Setting,
        arguments: &[Argument],
    ) -> Result<(Instance, Vec<String>), Failure> {
        let (instance, mut warnings) = guarded(&mut NoCallbacks, Rights::none(), |gate| match &self.0.home {
            Home::Here(tables) => {
                LocalInstance::create(tables, component, setting, arguments, gate).map(Instance::Local)
            }
            Home::Workers(pool) => {
                RemoteInstance::create(pool, component, setting, arguments, gate).map(Instance::Remote)
            }
        });
        let mut instance = instance?;
        warnings.extend(instance.take_output());
        Ok((instance, warnings))
    }
}

/// The arguments before files are read and losses are made.
fn early(arguments: &[Argument]) -> Vec<Argument> {
    let blank = |argument: &Argument| match argument {
        Argument::File(..) | Argument::Loss(_) => Argument::Unset,
        other => other.clone(),
    };
    arguments.iter().map(blank).collect()
}

/// The most values of an image, and the most classes.
const MOST_VALUES: u64 = 1 << 28;

fn check_shape(shape: Shape) -> Result<Shape, Failure> {
    let Shape { channels, height, width, classes } = shape;
    let product =
        [height, width].iter().try_fold(u64::from(channels), |product, size| product.checked_mul((*size).into()));
    let fits = |size: u64| (1..=MOST_VALUES).contains(&size);
    if product.is_some_and(fits) && fits(classes.into()) {
        return Ok(shape);
    }
    Err(nonsense(format!(
        "the model says that it takes images of {channels} x {height} x {width} with {classes} classes"
    )))
}

fn wrong_kind(component: usize, kind: &str) -> Failure {
    Failure::new(FailureKind::Unsupported, format!("component {component} of the plugin is not {kind}"))
}
