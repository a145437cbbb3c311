//! Instances of components, the same to their users wherever their code runs.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use bytemuck::cast_slice;

use crate::aligned::Aligned;
use crate::gate::{Gate, Rights, guarded, nonsense};
use crate::local::LocalInstance;
use crate::operation::{Operation, Phase, Setting};
use crate::remote::RemoteInstance;
use crate::{Argument, Attack, BatchView, Callbacks, Failure, FailureKind, NoCallbacks, Plugin, Problem, Shape};

/// An instance in this process or in another one.
pub(crate) enum Instance {
    Local(LocalInstance),
    Remote(RemoteInstance),
}

impl Instance {
    fn compute(
        &mut self,
        operation: Operation,
        inputs: &[&[u8]],
        gate: &mut Gate<'_>,
    ) -> Result<Vec<Aligned>, Failure> {
        match self {
            Self::Local(instance) => instance.compute(operation, inputs, gate),
            Self::Remote(instance) => instance.compute(operation, inputs, gate),
        }
    }

    /// Whether it can be used again.
    fn healthy(&self) -> bool {
        match self {
            Self::Local(_) => true,
            Self::Remote(instance) => instance.healthy(),
        }
    }

    /// What the plugin printed since the last time, as a warning; in this process nobody can tell.
    pub(crate) fn take_output(&mut self) -> Option<String> {
        match self {
            Self::Local(_) => None,
            Self::Remote(instance) => instance.take_output(),
        }
    }
}

/// An attack on a problem.
pub struct AttackInstance {
    instance: Instance,
    attack: Attack,
    problem: Problem,
    state_bytes: usize,
    warnings: Warnings,
}

impl AttackInstance {
    /// The most bytes that an attack may keep per row.
    const MOST_STATE: u64 = 1 << 30;

    pub(crate) fn new(
        instance: Instance,
        attack: Attack,
        problem: Problem,
        messages: Vec<String>,
    ) -> Result<Self, Failure> {
        let state_bytes = match &instance {
            Instance::Local(instance) => instance.state_bytes(),
            Instance::Remote(instance) => instance.state_bytes(),
        };
        if state_bytes > Self::MOST_STATE {
            return Err(nonsense(format!("the attack wants to keep {state_bytes} bytes per row")));
        }
        let mut warnings = Warnings::default();
        warnings.add(messages);
        Ok(Self { instance, attack, problem, state_bytes: state_bytes as usize, warnings })
    }

    /// How many bytes the host keeps for each row.
    pub fn state_bytes(&self) -> usize {
        self.state_bytes
    }

    /// Sets up all rows. Iterates are the clean images, the state is zero.
    ///
    /// # Errors
    /// The plugin fails, ends, takes too long or too much memory, or a question of its is refused or fails.
    pub fn start(
        &mut self,
        callbacks: &mut dyn Callbacks,
        batch: &BatchView<'_>,
        iterates: &mut [f32],
        state: &mut [u8],
    ) -> Result<(), Failure> {
        self.call(Phase::Start, callbacks, batch, iterates, state)
    }

    /// Makes one step on every row.
    ///
    /// # Errors
    /// Those of [`start`](Self::start).
    pub fn step(
        &mut self,
        callbacks: &mut dyn Callbacks,
        batch: &BatchView<'_>,
        iterates: &mut [f32],
        state: &mut [u8],
    ) -> Result<(), Failure> {
        self.call(Phase::Step, callbacks, batch, iterates, state)
    }

    /// What the plugin warned of so far, the tapes that it left behind, and what it wrote to the standard output of its
    /// worker; each thing once.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.0.clone()
    }

    fn call(
        &mut self,
        phase: Phase,
        callbacks: &mut dyn Callbacks,
        batch: &BatchView<'_>,
        iterates: &mut [f32],
        state: &mut [u8],
    ) -> Result<(), Failure> {
        if batch.labels.is_empty() {
            return Ok(());
        }
        let rights = Rights::of_attack(&self.attack, &self.problem, batch.labels.len());
        let (result, warnings) = guarded(callbacks, rights, |gate| match &mut self.instance {
            Instance::Local(instance) => instance.attack(phase, batch, iterates, state, gate),
            Instance::Remote(instance) => instance.attack(phase, batch, iterates, state, gate),
        });
        self.warnings.add(warnings);
        self.warnings.add(self.instance.take_output());
        result
    }
}

impl fmt::Debug for AttackInstance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("AttackInstance").field("problem", &self.problem).finish_non_exhaustive()
    }
}

/// Warnings, each once, and not endlessly many.
#[derive(Debug, Default)]
struct Warnings(Vec<String>);

impl Warnings {
    const MOST: usize = 100;

    fn add(&mut self, warnings: impl IntoIterator<Item = String>) {
        for warning in warnings {
            if self.0.len() < Self::MOST && !self.0.contains(&warning) {
                self.0.push(warning);
            }
        }
    }
}

/// Equal instances of a component, as many as threads use them at once.
#[derive(Debug)]
pub(crate) struct Shared {
    plugin: Plugin,
    component: usize,
    setting: Setting,
    arguments: Vec<Argument>,
    idle: Mutex<Vec<Instance>>,
    warnings: Mutex<Warnings>,
}

impl Shared {
    pub(crate) fn new(
        plugin: &Plugin,
        component: usize,
        setting: Setting,
        arguments: &[Argument],
    ) -> Result<Self, Failure> {
        let (instance, messages) = plugin.create(component, &setting, arguments)?;
        let mut warnings = Warnings::default();
        warnings.add(messages);
        Ok(Self {
            plugin: plugin.clone(),
            component,
            setting,
            arguments: arguments.to_vec(),
            idle: Mutex::new(vec![instance]),
            warnings: Mutex::new(warnings),
        })
    }

    fn compute(&self, operation: Operation, inputs: &[&[u8]]) -> Result<Vec<Aligned>, Failure> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = idle().pop();
        let (mut instance, created) = match waiting {
            Some(instance) => (instance, Vec::new()),
            None => self.plugin.create(self.component, &self.setting, &self.arguments)?,
        };
        let (result, messages) =
            guarded(&mut NoCallbacks, Rights::none(), |gate| instance.compute(operation, inputs, gate));
        let printed = instance.take_output();
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        warnings.add(created.into_iter().chain(messages).chain(printed));
        drop(warnings);
        if instance.healthy() {
            idle().push(instance);
        }
        result
    }

    fn warnings(&self) -> Vec<String> {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Local(_) => "an instance in this process",
            Self::Remote(_) => "an instance in a worker process",
        })
    }
}

/// The only output of an operation.
fn only(outputs: Vec<Aligned>) -> Vec<f32> {
    outputs.into_iter().flat_map(|output| output.values::<f32>().to_vec()).collect()
}

/// A defense. Several threads may use it at once.
#[derive(Debug)]
pub struct DefenseInstance(pub(crate) Shared);

impl DefenseInstance {
    /// What the model gets to see of images.
    ///
    /// # Errors
    /// The plugin fails, ends, or takes too long or too much memory.
    pub fn forward(&self, shape: Shape, images: &[f32]) -> Result<Vec<f32>, Failure> {
        self.0.compute(Operation::Forward(shape), &[cast_slice(images)]).map(only)
    }

    /// The vector-Jacobian product of [`forward`](Self::forward) at images.
    ///
    /// # Errors
    /// The defense has none; or those of [`forward`](Self::forward).
    pub fn pull(&self, shape: Shape, images: &[f32], cotangents: &[f32]) -> Result<Vec<f32>, Failure> {
        self.0.compute(Operation::DefensePull(shape), &[cast_slice(images), cast_slice(cotangents)]).map(only)
    }

    /// What the plugin warned of so far, and what it wrote to the standard output of its worker; each thing once.
    pub fn warnings(&self) -> Vec<String> {
        self.0.warnings()
    }
}

/// A model. Several threads may use it at once.
#[derive(Debug)]
pub struct ModelInstance {
    pub(crate) shared: Shared,
    pub(crate) shape: Shape,
}

impl ModelInstance {
    /// The shape that it takes, and the number of its classes.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The logits of images.
    ///
    /// # Errors
    /// The plugin fails, ends, or takes too long or too much memory.
    pub fn logits(&self, images: &[f32]) -> Result<Vec<f32>, Failure> {
        self.shared.compute(Operation::Logits(self.shape), &[cast_slice(images)]).map(only)
    }

    /// The vector-Jacobian product of [`logits`](Self::logits) at images.
    ///
    /// # Errors
    /// The model has none; or those of [`logits`](Self::logits).
    pub fn pull(&self, images: &[f32], cotangents: &[f32]) -> Result<Vec<f32>, Failure> {
        let inputs = [cast_slice(images), cast_slice(cotangents)];
        self.shared.compute(Operation::ModelPull(self.shape), &inputs).map(only)
    }

    /// What the plugin warned of so far, and what it wrote to the standard output of its worker; each thing once.
    pub fn warnings(&self) -> Vec<String> {
        self.shared.warnings()
    }
}

/// A loss. Several threads may use it at once.
#[derive(Debug)]
pub struct LossInstance(pub(crate) Shared);

impl LossInstance {
    /// The objective of each row, and its derivatives with respect to the row's logits.
    ///
    /// # Errors
    /// The plugin fails, ends, or takes too long or too much memory.
    pub fn evaluate(
        &self,
        classes: u32,
        logits: &[f32],
        labels: &[u32],
        targets: &[u32],
    ) -> Result<(Vec<f32>, Vec<f32>), Failure> {
        let inputs = [cast_slice(logits), cast_slice(labels), cast_slice(targets)];
        let outputs = self.0.compute(Operation::Evaluate { classes }, &inputs)?;
        let [objectives, derivatives] = outputs.as_slice() else {
            return Err(Failure::new(FailureKind::Failed, "the loss gave no derivatives"));
        };
        Ok((objectives.values().to_vec(), derivatives.values().to_vec()))
    }

    /// What the plugin warned of so far, and what it wrote to the standard output of its worker; each thing once.
    pub fn warnings(&self) -> Vec<String> {
        self.0.warnings()
    }
}
