//! Attacks of plugins: machines over rows whose iterates and state lie on the host.

use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::Tensor;
use realsafe_core::{Attack, AttackContext, Batch, Built, HostRows, Loss, Oracle, Run, Stop, read, state};
use realsafe_host::{Argument, AttackInstance, BatchView, Failure, Plan, Problem, Shape};
use realsafe_plan::{Cost, Value, Values};

use super::component::{GOALS, NORMS};
use super::oracle::{FIRST_LOSS, Questions};
use super::parts::numbers;
use super::{Part, cost, stop};

struct PluginAttack {
    id: String,
    plan: Plan,
    losses: Vec<Arc<dyn Loss>>,
    instance: Mutex<AttackInstance>,
}

state! {
    struct Rows {
        clean: HostRows<f32>,
        iterates: HostRows<f32>,
        own: HostRows<u8>,
    }
}

/// Which function of the attack is called.
type Function = fn(
    &mut AttackInstance,
    &mut dyn realsafe_host::Callbacks,
    &BatchView<'_>,
    &mut [f32],
    &mut [u8],
) -> Result<(), Failure>;

pub(super) fn build(part: &Part, values: &Values, context: &AttackContext) -> Built<dyn Run> {
    let mut arguments = part.arguments(values, &context.locations)?;
    let mut losses: Vec<Arc<dyn Loss>> = Vec::new();
    let parameters = &part.plugin.description().components[part.index].parameters;
    for (parameter, argument) in parameters.iter().zip(&mut arguments) {
        if let Some(Value::Component(_)) = values.get(&parameter.name) {
            *argument = Argument::Loss(FIRST_LOSS + losses.len() as u64);
            losses.push(context.loss(values, &parameter.name)?);
        }
    }
    let [channels, height, width] = context.shape;
    let [channels, height, width, classes, surrogates] = [channels, height, width, context.classes, context.surrogates]
        .map(|size| u32::try_from(size).unwrap_or(u32::MAX));
    let problem = Problem {
        norm: number(&NORMS, context.norm),
        goal: number(&GOALS, context.goal),
        surrogates,
        shape: Shape { channels, height, width, classes },
    };
    let plan = part.plan(values)?;
    let instance = part.plugin.attack(part.index, &problem, &arguments).map_err(|failure| failure.message)?;
    Ok(Box::new(PluginAttack { id: part.id().to_owned(), plan, losses, instance: Mutex::new(instance) }))
}

/// The number of something in the ABI.
fn number<T: PartialEq>(numbers: &[(u32, T)], wanted: T) -> u32 {
    numbers.iter().find(|(_, known)| *known == wanted).map_or(0, |(number, _)| *number)
}

impl PluginAttack {
    fn call(&self, function: Function, oracle: &mut Oracle, batch: &Batch, rows: &mut Rows) -> Result<(), Stop> {
        let view = BatchView {
            images: &rows.clean.values,
            labels: &batch.labels,
            targets: &numbers(&batch.targets),
            eps: &batch.eps,
            samples: &batch.samples,
            restart: batch.restart(),
            step: batch.step,
        };
        let mut questions = Questions::new(oracle, batch, &self.losses);
        let mut instance = self.instance.lock().unwrap_or_else(PoisonError::into_inner);
        function(&mut instance, &mut questions, &view, &mut rows.iterates.values, &mut rows.own.values)
            // What stopped an answer is told better by the one who gave it.
            .map_err(|failure| questions.into_stop().unwrap_or_else(|| stop(&self.id, failure)))
    }
}

impl Attack for PluginAttack {
    type Door = Oracle;
    type State = Rows;

    fn steps(&self) -> u32 {
        self.plan.steps
    }

    fn start_cost(&self) -> Cost {
        cost(self.plan.start)
    }

    fn step_cost(&self) -> Cost {
        cost(self.plan.step)
    }

    fn start(&self, oracle: &mut Oracle, batch: &Batch) -> Result<Rows, Stop> {
        let width = batch.shape().iter().product();
        let clean = HostRows { width, values: read(batch.images.clone())? };
        let state_bytes = self.instance.lock().unwrap_or_else(PoisonError::into_inner).state_bytes();
        let own = HostRows { width: state_bytes, values: vec![0; state_bytes * batch.len()] };
        let mut rows = Rows { iterates: clean.clone(), clean, own };
        self.call(AttackInstance::start, oracle, batch, &mut rows)?;
        Ok(rows)
    }

    fn step(&self, oracle: &mut Oracle, batch: &Batch, rows: &mut Rows) -> Result<(), Stop> {
        self.call(AttackInstance::step, oracle, batch, rows)
    }

    fn iterates(&self, batch: &Batch, rows: &Rows) -> Tensor<4> {
        batch.upload(rows.iterates.values.clone())
    }

    fn warnings(&self) -> Vec<String> {
        self.instance.lock().unwrap_or_else(PoisonError::into_inner).warnings()
    }
}
