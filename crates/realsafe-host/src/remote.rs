//! A plugin in worker processes, as their parent sees it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytemuck::{cast_slice, cast_slice_mut};

use crate::aligned::Aligned;
use crate::gate::{Gate, expect, nonsense};
use crate::operation::{Operation, Phase, Setting};
use crate::process::Process;
use crate::protocol::{Answer, Outcome, Report, Request};
use crate::{Argument, BatchView, Description, Digest, Failure, LoadError, Plan, Shape, Workers};

/// The workers of a plugin that have nothing to do, and how to start more.
#[derive(Clone, Debug)]
pub(crate) struct Pool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    expected: Digest,
    workers: Workers,
    idle: Mutex<Vec<Process>>,
}

impl Pool {
    /// Starts a first worker, which tells what the plugin is.
    pub(crate) fn start(path: &Path, expected: Digest, workers: Workers) -> Result<(Self, Description), LoadError> {
        let path = fs_err::canonicalize(path).map_err(|error| LoadError::Read { reason: error.to_string() })?;
        let pool = Self(Arc::new(Inner { path, expected, workers, idle: Mutex::default() }));
        let (process, description) = pool.load()?;
        pool.give_back(process);
        Ok((pool, description))
    }

    fn load(&self) -> Result<(Process, Description), LoadError> {
        let Inner { path, expected, workers, .. } = &*self.0;
        let worker = |failure| LoadError::Worker { plugin: path.display().to_string(), failure };
        let mut process = Process::start(workers).map_err(worker)?;
        match process.receive().map_err(worker)?.0 {
            Report::Ready => {}
            _ => return Err(worker(nonsense("the worker process did not begin as one"))),
        }
        // What a worker prints before it has a plugin is not the plugin's.
        process.take_output();
        process.restart_clock();
        process.send(&Request::Load { path: path.clone(), expected: *expected }, &[]).map_err(worker)?;
        match process.receive().map_err(worker)?.0 {
            Report::Loaded(description) => Ok((process, *description?)),
            _ => Err(worker(nonsense("the worker process gave no description of the plugin"))),
        }
    }

    fn take(&self) -> Result<Process, Failure> {
        let waiting = || self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        // One that ended while it had nothing to do costs nobody anything.
        match std::iter::from_fn(waiting).find_map(|mut process| process.is_running().then_some(process)) {
            Some(process) => Ok(process),
            None => self.load().map(|(process, _)| process).map_err(|error| match error {
                LoadError::Worker { failure, .. } => failure,
                other => nonsense(other.to_string()),
            }),
        }
    }

    fn give_back(&self, process: Process) {
        if process.healthy() {
            self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).push(process);
        }
    }

    fn once(&self, request: &Request, gate: &mut Gate<'_>) -> Result<Outcome, Failure> {
        let mut process = self.take()?;
        let result = ask(&mut process, request, &[], gate).map(|(outcome, _)| outcome);
        self.give_back(process);
        result
    }

    pub(crate) fn plan(
        &self,
        component: usize,
        arguments: Vec<Argument>,
        gate: &mut Gate<'_>,
    ) -> Result<Plan, Failure> {
        match self.once(&Request::Plan { component, arguments }, gate)? {
            Outcome::Plan(plan) => Ok(plan),
            _ => Err(mixed_up()),
        }
    }

    pub(crate) fn shape(
        &self,
        component: usize,
        arguments: Vec<Argument>,
        gate: &mut Gate<'_>,
    ) -> Result<Shape, Failure> {
        match self.once(&Request::Shape { component, arguments }, gate)? {
            Outcome::Shape(shape) => Ok(shape),
            _ => Err(mixed_up()),
        }
    }
}

fn mixed_up() -> Failure {
    nonsense("the worker process gave an answer that does not fit the request")
}

/// Makes a request, and answers the questions that the plugin has meanwhile.
fn ask(
    process: &mut Process,
    request: &Request,
    arrays: &[&[u8]],
    gate: &mut Gate<'_>,
) -> Result<(Outcome, Vec<Aligned>), Failure> {
    process.restart_clock();
    process.send(request, arrays)?;
    loop {
        let (report, mut arrays) = process.receive()?;
        match report {
            Report::Done(result) => return result.map(|outcome| (outcome, arrays)),
            Report::Question(question) => {
                let asked = Instant::now();
                let (answer, arrays): (Answer, _) = match question.answer(&mut arrays, gate) {
                    Ok((reply, arrays)) => (Ok(reply), arrays),
                    Err(failure) => (Err(failure), Vec::new()),
                };
                if question.advances() {
                    process.restart_clock();
                } else {
                    process.pause_clock(asked);
                }
                let arrays: Vec<_> = arrays.iter().map(Aligned::bytes).collect();
                process.send(&answer, &arrays)?;
            }
            Report::Ready | Report::Loaded(_) => {
                let error = std::io::Error::new(std::io::ErrorKind::InvalidData, "a report out of turn");
                return Err(process.fail(error));
            }
        }
    }
}

/// An instance of a component in a worker, which is its own until it is dropped.
pub(crate) struct RemoteInstance {
    pool: Pool,
    /// Taken out only when this is dropped.
    process: Option<Process>,
    state_bytes: u64,
}

impl RemoteInstance {
    pub(crate) fn create(
        pool: &Pool,
        component: usize,
        setting: &Setting,
        arguments: &[Argument],
        gate: &mut Gate<'_>,
    ) -> Result<Self, Failure> {
        let process = pool.take()?;
        let mut created = Self { pool: pool.clone(), process: Some(process), state_bytes: 0 };
        let request = Request::Create { component, setting: *setting, arguments: arguments.to_vec() };
        match created.ask(&request, &[], gate)?.0 {
            Outcome::Created { state_bytes } => created.state_bytes = state_bytes,
            _ => return Err(mixed_up()),
        }
        Ok(created)
    }

    pub(crate) fn state_bytes(&self) -> u64 {
        self.state_bytes
    }

    pub(crate) fn healthy(&self) -> bool {
        self.process.as_ref().is_some_and(Process::healthy)
    }

    pub(crate) fn take_output(&mut self) -> Option<String> {
        self.process.as_mut().and_then(Process::take_output)
    }

    fn ask(
        &mut self,
        request: &Request,
        arrays: &[&[u8]],
        gate: &mut Gate<'_>,
    ) -> Result<(Outcome, Vec<Aligned>), Failure> {
        match &mut self.process {
            Some(process) => ask(process, request, arrays, gate),
            None => Err(mixed_up()),
        }
    }

    pub(crate) fn attack(
        &mut self,
        phase: Phase,
        batch: &BatchView<'_>,
        iterates: &mut [f32],
        state: &mut [u8],
        gate: &mut Gate<'_>,
    ) -> Result<(), Failure> {
        let inputs = [
            cast_slice(batch.images),
            cast_slice(batch.labels),
            cast_slice(batch.targets),
            cast_slice(batch.eps),
            cast_slice(batch.samples),
            cast_slice(iterates),
            state,
        ];
        let request = Request::Attack { phase, restart: batch.restart, step: batch.step };
        let (_, outputs) = self.ask(&request, &inputs, gate)?;
        let [new_iterates, new_state] = outputs.as_slice() else { return Err(mixed_up()) };
        expect(new_iterates.values::<f32>(), iterates.len(), "iterates")?;
        expect(new_state.bytes(), state.len(), "bytes of the state")?;
        cast_slice_mut(iterates).copy_from_slice(new_iterates.bytes());
        state.copy_from_slice(new_state.bytes());
        Ok(())
    }

    pub(crate) fn compute(
        &mut self,
        operation: Operation,
        inputs: &[&[u8]],
        gate: &mut Gate<'_>,
    ) -> Result<Vec<Aligned>, Failure> {
        let rows = operation.rows(inputs)? as usize;
        let (_, outputs) = self.ask(&Request::Compute(operation), inputs, gate)?;
        let (_, widths) = operation.widths();
        if outputs.len() != widths.len() {
            return Err(mixed_up());
        }
        for (output, width) in outputs.iter().zip(widths) {
            expect(output.values::<f32>(), rows * width, "outputs")?;
        }
        Ok(outputs)
    }
}

impl Drop for RemoteInstance {
    fn drop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        if process.healthy() {
            let (_, _) = crate::gate::guarded(&mut crate::NoCallbacks, crate::gate::Rights::none(), |gate| {
                ask(&mut process, &Request::Destroy, &[], gate)
            });
        }
        self.pool.give_back(process);
    }
}
