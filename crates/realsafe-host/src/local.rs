//! Calling a plugin's functions in this process.

use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::Arc;

use realsafe_abi::{RealsafeBatch, RealsafeCost, RealsafePlan, RealsafeProblem, RealsafeShape};

use crate::aligned::{Aligned, Lent, LentMut};
use crate::arguments::Values;
use crate::call::call;
use crate::gate::{Gate, expect, nonsense};
use crate::operation::{Operation, Phase, Setting};
use crate::tables::{Functions, Tables};
use crate::{Argument, BatchView, Component, Failure, FailureKind, Plan, Problem, Shape, Work};

// SAFETY of the calls in this file: the functions come from a table that the plugin's entry returned, so they are what
// the ABI says; all pointers point to as much as the ABI says, and outlive the calls.

impl Tables {
    fn component(&self, component: usize) -> Result<(&Component, Functions), Failure> {
        match (self.description.components.get(component), self.functions.get(component)) {
            (Some(description), Some(functions)) => Ok((description, *functions)),
            _ => Err(nonsense(format!("plugin `{}` has no component {component}", self.description.name))),
        }
    }

    pub(crate) fn plan(&self, component: usize, arguments: &[Argument], gate: &mut Gate<'_>) -> Result<Plan, Failure> {
        let (component, functions) = self.component(component)?;
        let Functions::Attack(attack) = functions else { return Err(missing(component, "plan")) };
        let function = attack.plan.ok_or_else(|| missing(component, "plan"))?;
        let values = Values::new(component, arguments)?;
        let nothing = RealsafeCost::default();
        let mut plan = RealsafePlan { size: size_of::<RealsafePlan>() as u32, steps: 0, start: nothing, step: nothing };
        call(&component.id, gate, |host| {
            // SAFETY: see above.
            unsafe { function(host, values.pointer(), values.count(), &mut plan) }
        })?;
        Ok(Plan { steps: plan.steps, start: work(plan.start), step: work(plan.step) })
    }

    pub(crate) fn shape(
        &self,
        component: usize,
        arguments: &[Argument],
        gate: &mut Gate<'_>,
    ) -> Result<Shape, Failure> {
        let (component, functions) = self.component(component)?;
        let Functions::Model(model) = functions else { return Err(missing(component, "shape")) };
        let function = model.shape.ok_or_else(|| missing(component, "shape"))?;
        let values = Values::new(component, arguments)?;
        let mut raw = raw_shape(&Shape { channels: 0, height: 0, width: 0, classes: 0 });
        call(&component.id, gate, |host| {
            // SAFETY: see above.
            unsafe { function(host, values.pointer(), values.count(), &mut raw) }
        })?;
        Ok(Shape { channels: raw.channels, height: raw.height, width: raw.width, classes: raw.classes })
    }
}

/// An instance of a component in this process.
pub(crate) struct LocalInstance {
    tables: Arc<Tables>,
    component: usize,
    problem: Option<Problem>,
    instance: *mut c_void,
    state_bytes: u64,
}

// SAFETY: the ABI says that an instance is used by one thread at a time, not always the same one.
unsafe impl Send for LocalInstance {}

impl LocalInstance {
    pub(crate) fn create(
        tables: &Arc<Tables>,
        component: usize,
        setting: &Setting,
        arguments: &[Argument],
        gate: &mut Gate<'_>,
    ) -> Result<Self, Failure> {
        let (description, functions) = tables.component(component)?;
        let values = Values::new(description, arguments)?;
        let mut instance = null_mut();
        let problem = match setting {
            Setting::Attack(problem) => Some(*problem),
            Setting::Plain => None,
        };
        let create = match (functions, problem) {
            (Functions::Attack(attack), Some(problem)) => {
                let raw = RealsafeProblem {
                    size: size_of::<RealsafeProblem>() as u32,
                    norm: problem.norm,
                    goal: problem.goal,
                    surrogates: problem.surrogates,
                    shape: raw_shape(&problem.shape),
                };
                let function = attack.create.ok_or_else(|| missing(description, "create"))?;
                call(&description.id, gate, |host| {
                    // SAFETY: see above.
                    unsafe { function(host, &raw, values.pointer(), values.count(), &mut instance) }
                })?;
                None
            }
            (Functions::Defense(defense), None) => defense.create,
            (Functions::Model(model), None) => model.create,
            (Functions::Loss(loss), None) => loss.create,
            _ => return Err(missing(description, "create")),
        };
        if let Some(function) = create {
            call(&description.id, gate, |host| {
                // SAFETY: see above.
                unsafe { function(host, values.pointer(), values.count(), &mut instance) }
            })?;
        }
        let mut created = Self { tables: Arc::clone(tables), component, problem, instance, state_bytes: 0 };
        if let Functions::Attack(attack) = functions {
            let function = attack.state_bytes.ok_or_else(|| missing(description, "state_bytes"))?;
            // SAFETY: see above.
            created.state_bytes = unsafe { function(instance) };
        }
        Ok(created)
    }

    /// The number of bytes that an attack keeps per row.
    pub(crate) fn state_bytes(&self) -> u64 {
        self.state_bytes
    }

    pub(crate) fn attack(
        &mut self,
        phase: Phase,
        batch: &BatchView<'_>,
        iterates: &mut [f32],
        state: &mut [u8],
        gate: &mut Gate<'_>,
    ) -> Result<(), Failure> {
        let (component, functions) = self.tables.component(self.component)?;
        let (Functions::Attack(attack), Some(problem)) = (functions, self.problem) else {
            return Err(missing(component, "start"));
        };
        let (function, name) = match phase {
            Phase::Start => (attack.start, "start"),
            Phase::Step => (attack.step, "step"),
        };
        let function = function.ok_or_else(|| missing(component, name))?;
        let rows = batch.labels.len();
        expect(batch.images, rows * problem.shape.values(), "images of the batch")?;
        expect(batch.targets, rows, "targets of the batch")?;
        expect(batch.eps, rows, "radii of the batch")?;
        expect(batch.samples, rows, "samples of the batch")?;
        expect(iterates, batch.images.len(), "iterates")?;
        expect(state, rows.saturating_mul(self.state_bytes as usize), "bytes of the state")?;
        let (images, labels, targets) = (Lent::new(batch.images), Lent::new(batch.labels), Lent::new(batch.targets));
        let (eps, samples) = (Lent::new(batch.eps), Lent::new(batch.samples));
        let (mut iterates, mut state) = (LentMut::new(iterates), LentMut::new(state));
        let raw = RealsafeBatch {
            size: size_of::<RealsafeBatch>() as u32,
            rows: u32::try_from(rows).map_err(|_| nonsense("the batch has too many rows"))?,
            images: images.pointer(),
            labels: labels.pointer(),
            targets: targets.pointer(),
            eps: eps.pointer(),
            samples: samples.pointer(),
            restart: batch.restart,
            step: batch.step,
        };
        call(&component.id, gate, |host| {
            // SAFETY: see above.
            unsafe { function(self.instance, host, &raw, iterates.pointer(), state.pointer()) }
        })
    }

    /// Calls a function of a defense, model or loss.
    pub(crate) fn compute(
        &mut self,
        operation: Operation,
        inputs: &[&[u8]],
        gate: &mut Gate<'_>,
    ) -> Result<Vec<Aligned>, Failure> {
        let (component, functions) = self.tables.component(self.component)?;
        let rows = operation.rows(inputs)?;
        let (_, widths) = operation.widths();
        let mut outputs: Vec<_> =
            widths.iter().map(|width| Aligned::zeroed(width * rows as usize * size_of::<f32>())).collect();
        let lent: Vec<_> = inputs.iter().map(|input| Lent::new(input)).collect();
        let input = |index: usize| lent.get(index).map_or(std::ptr::null(), |lent| lent.pointer().cast::<f32>());
        let mut pointers = outputs.iter_mut().map(|output| output.bytes_mut().as_mut_ptr().cast::<f32>());
        let (output, second) = (pointers.next().unwrap_or(null_mut()), pointers.next().unwrap_or(null_mut()));
        let this = self.instance;
        // SAFETY of all calls: see above.
        match (operation, functions) {
            (Operation::Forward(shape), Functions::Defense(defense)) => {
                let function = defense.forward.ok_or_else(|| missing(component, "forward"))?;
                let shape = raw_shape(&shape);
                // SAFETY: see above.
                call(&component.id, gate, |host| unsafe { function(this, host, &shape, rows, input(0), output) })?;
            }
            (Operation::DefensePull(shape), Functions::Defense(defense)) => {
                let function = defense.pull.ok_or_else(|| missing(component, "pull"))?;
                let shape = raw_shape(&shape);
                // SAFETY: see above.
                call(&component.id, gate, |host| unsafe {
                    function(this, host, &shape, rows, input(0), input(1), output)
                })?;
            }
            (Operation::Logits(_), Functions::Model(model)) => {
                let function = model.logits.ok_or_else(|| missing(component, "logits"))?;
                // SAFETY: see above.
                call(&component.id, gate, |host| unsafe { function(this, host, rows, input(0), output) })?;
            }
            (Operation::ModelPull(_), Functions::Model(model)) => {
                let function = model.pull.ok_or_else(|| missing(component, "pull"))?;
                // SAFETY: see above.
                call(&component.id, gate, |host| unsafe { function(this, host, rows, input(0), input(1), output) })?;
            }
            (Operation::Evaluate { classes }, Functions::Loss(loss)) => {
                let function = loss.evaluate.ok_or_else(|| missing(component, "evaluate"))?;
                let (labels, targets) = (input(1).cast::<u32>(), input(2).cast::<u32>());
                // SAFETY: see above.
                call(&component.id, gate, |host| unsafe {
                    function(this, host, rows, classes, input(0), labels, targets, output, second)
                })?;
            }
            _ => return Err(missing(component, "that function")),
        }
        Ok(outputs)
    }
}

impl Drop for LocalInstance {
    fn drop(&mut self) {
        let destroy = match self.tables.functions[self.component] {
            Functions::Attack(attack) => attack.destroy,
            Functions::Defense(defense) => defense.destroy,
            Functions::Model(model) => model.destroy,
            Functions::Loss(loss) => loss.destroy,
        };
        if let Some(destroy) = destroy {
            // SAFETY: see above; the instance is not used afterwards.
            unsafe { destroy(self.instance) };
        }
    }
}

fn missing(component: &Component, function: &str) -> Failure {
    let kind = component.interface.kind();
    Failure::new(FailureKind::Unsupported, format!("the {kind} `{}` does not have `{function}`", component.id))
}

fn raw_shape(shape: &Shape) -> RealsafeShape {
    RealsafeShape {
        size: size_of::<RealsafeShape>() as u32,
        channels: shape.channels,
        height: shape.height,
        width: shape.width,
        classes: shape.classes,
    }
}

fn work(cost: RealsafeCost) -> Work {
    Work { queries: cost.queries, forwards: cost.forwards, backwards: cost.backwards }
}
