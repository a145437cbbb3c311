//! The worker: a process with a plugin and nothing else.

use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Signal, getpid, kill_process};

use crate::aligned::Aligned;
use crate::gate::{Gate, Rights, guarded, nonsense};
use crate::load::load;
use crate::local::LocalInstance;
use crate::operation::Setting;
use crate::protocol::{Answer, Asking, Outcome, Question, Reply, Report, Request};
use crate::tables::Tables;
use crate::{Attack, BatchView, Failure, Interface, Problem, frame};

unsafe extern "C" {
    /// Of the C library: writes what was printed; all streams if the pointer is null.
    fn fflush(stream: *mut c_void) -> c_int;
}

/// Is a worker: serves the host at the other end of the standard input until that is closed. Nothing else may run in
/// this process, and nothing may be printed.
pub fn serve() -> ExitCode {
    match connect().and_then(Server::serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: this process is a worker without a host: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Takes the connection away from the standard input, where plugins would find it.
fn connect() -> io::Result<UnixStream> {
    let stream = UnixStream::from(rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3)?);
    rustix::stdio::dup2_stdin(OwnedFd::from(std::fs::File::open("/dev/null")?))?;
    let watched = stream.try_clone()?;
    std::thread::spawn(move || watch(&watched));
    Ok(stream)
}

/// Ends the process after its host, also while a plugin computes.
fn watch(stream: &UnixStream) {
    loop {
        // Nothing but the end is waited for.
        let mut descriptors = [PollFd::from_borrowed_fd(stream.as_fd(), PollFlags::empty())];
        let woken = poll(&mut descriptors, None);
        if woken.is_ok() && !descriptors[0].revents().is_empty() {
            // A process without work ends by itself.
            std::thread::sleep(Duration::from_secs(1));
            let _ = kill_process(getpid(), Signal::KILL);
        }
    }
}

struct Server {
    stream: UnixStream,
    tables: Arc<Tables>,
    instance: Option<(LocalInstance, Option<(Attack, Problem)>)>,
}

impl Server {
    fn serve(mut stream: UnixStream) -> io::Result<()> {
        frame::send(&mut stream, &Report::Ready, &[])?;
        let (Request::Load { path, expected }, _) = frame::receive(&mut stream)? else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it did not ask for a plugin"));
        };
        let tables = load(&path, expected);
        flush();
        let report =
            Report::Loaded(tables.as_ref().map(|tables| Box::new(tables.description.clone())).map_err(Clone::clone));
        frame::send(&mut stream, &report, &[])?;
        let Ok(tables) = tables else { return Ok(()) };
        let mut server = Self { stream, tables, instance: None };
        loop {
            let (request, arrays) = frame::receive(&mut server.stream)?;
            server.handle(request, arrays)?;
        }
    }

    fn handle(&mut self, request: Request, mut arrays: Vec<Aligned>) -> io::Result<()> {
        let rights = match (&request, &self.instance, arrays.get(1)) {
            (Request::Attack { .. }, Some((_, Some((attack, problem)))), Some(labels)) => {
                Rights::of_attack(attack, problem, labels.values::<u32>().len())
            }
            _ => Rights::none(),
        };
        let mut stream = self.stream.try_clone()?;
        let mut asking = Asking(|question: &Question, arrays: &[&[u8]]| exchange(&mut stream, question, arrays));
        let (result, _) = guarded(&mut asking, rights, |gate| self.perform(request, &mut arrays, gate));
        flush();
        let (result, outputs) = match result {
            Ok((outcome, outputs)) => (Ok(outcome), outputs),
            Err(failure) => (Err(failure), Vec::new()),
        };
        let outputs: Vec<_> = outputs.iter().map(Aligned::bytes).collect();
        frame::send(&mut self.stream, &Report::Done(result), &outputs)
    }

    fn perform(
        &mut self,
        request: Request,
        arrays: &mut Vec<Aligned>,
        gate: &mut Gate<'_>,
    ) -> Result<(Outcome, Vec<Aligned>), Failure> {
        let alone = |outcome| Ok((outcome, Vec::new()));
        match request {
            Request::Load { .. } => Err(nonsense("a worker loads one plugin only")),
            Request::Plan { component, arguments } => {
                alone(Outcome::Plan(self.tables.plan(component, &arguments, gate)?))
            }
            Request::Shape { component, arguments } => {
                alone(Outcome::Shape(self.tables.shape(component, &arguments, gate)?))
            }
            Request::Create { component, setting, arguments } => {
                self.instance = None;
                let created = LocalInstance::create(&self.tables, component, &setting, &arguments, gate)?;
                let state_bytes = created.state_bytes();
                let interface = self.tables.description.components.get(component).map(|component| component.interface);
                let attack = match (interface, setting) {
                    (Some(Interface::Attack(attack)), Setting::Attack(problem)) => Some((attack, problem)),
                    _ => None,
                };
                self.instance = Some((created, attack));
                alone(Outcome::Created { state_bytes })
            }
            Request::Destroy => {
                self.instance = None;
                alone(Outcome::Nothing)
            }
            Request::Attack { phase, restart, step } => {
                let [images, labels, targets, eps, samples, iterates, state] = arrays.as_mut_slice() else {
                    return Err(nonsense("the host sent a batch that is not complete"));
                };
                let batch = BatchView {
                    images: images.values(),
                    labels: labels.values(),
                    targets: targets.values(),
                    eps: eps.values(),
                    samples: samples.values(),
                    restart,
                    step,
                };
                self.instance()?.attack(phase, &batch, iterates.values_mut(), state.bytes_mut(), gate)?;
                Ok((Outcome::Nothing, arrays.split_off(5)))
            }
            Request::Compute(operation) => {
                let inputs: Vec<_> = arrays.iter().map(Aligned::bytes).collect();
                Ok((Outcome::Nothing, self.instance()?.compute(operation, &inputs, gate)?))
            }
        }
    }

    fn instance(&mut self) -> Result<&mut LocalInstance, Failure> {
        let instance = self.instance.as_mut().map(|(instance, _)| instance);
        instance.ok_or_else(|| nonsense("the worker process has no instance"))
    }
}

/// Writes what the plugin printed, so that the host can read it before the report.
fn flush() {
    // SAFETY: a null pointer means all streams.
    unsafe { fflush(std::ptr::null_mut()) };
}

/// Asks the host.
fn exchange(stream: &mut UnixStream, question: &Question, arrays: &[&[u8]]) -> Result<(Reply, Vec<Aligned>), Failure> {
    let lost = |error: io::Error| nonsense(format!("the host did not answer: {error}"));
    frame::send(stream, &Report::Question(question.clone()), arrays).map_err(lost)?;
    let (answer, arrays) = frame::receive::<Answer>(stream).map_err(lost)?;
    Ok((answer?, arrays))
}
