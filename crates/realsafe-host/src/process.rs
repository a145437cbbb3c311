//! A worker process, as its parent sees it: started, watched, and ended.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::aligned::Aligned;
use crate::{Failure, FailureKind, frame};

/// How worker processes are started and watched.
#[derive(Clone)]
pub struct Workers {
    /// Makes the command of a process that calls [`serve`](crate::serve) and nothing else. Its standard input and output
    /// are set here.
    pub command: Arc<dyn Fn() -> Command + Send + Sync>,
    /// What a worker may take.
    pub limits: Limits,
    /// Set when the user stops the run: calls end, and their workers with them.
    pub cancelled: Arc<AtomicBool>,
}

impl fmt::Debug for Workers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Workers").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// What a worker may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long an answer may take. The clock stands still while the host answers a question, and starts again after
    /// questions to a network.
    pub deadline: Duration,
    /// Resident memory of a worker in bytes. Enforced where `/proc` tells it.
    pub memory: Option<u64>,
}

/// How often a worker is looked at.
const INTERVAL: Duration = Duration::from_millis(20);
/// How long a worker may take to end by itself.
const GRACE: Duration = Duration::from_secs(2);
/// How many bytes of a worker's standard output are kept.
const OUTPUT_KEPT: usize = 1000;

/// A worker process. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    stream: UnixStream,
    output: Option<ChildStdout>,
    printed: Vec<u8>,
    limits: Limits,
    cancelled: Arc<AtomicBool>,
    until: Instant,
    looked: Instant,
    ended: Option<Failure>,
}

impl Process {
    pub(crate) fn start(workers: &Workers) -> Result<Self, Failure> {
        Self::spawn(workers)
            .map_err(|error| Failure::new(FailureKind::Crashed, format!("no worker process can be started: {error}")))
    }

    fn spawn(workers: &Workers) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut child = (workers.command)()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::piped())
            // Signals of the terminal are for the parent.
            .process_group(0)
            .spawn()?;
        let output = child.stdout.take();
        if let Some(output) = &output {
            rustix::io::ioctl_fionbio(output, true)?;
        }
        let now = Instant::now();
        Ok(Self {
            child,
            stream: ours,
            output,
            printed: Vec::new(),
            limits: workers.limits,
            cancelled: Arc::clone(&workers.cancelled),
            until: now + workers.limits.deadline,
            looked: now,
            ended: None,
        })
    }

    /// Whether it can be asked something.
    pub(crate) fn healthy(&self) -> bool {
        self.ended.is_none()
    }

    /// Whether the process is there.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Starts the clock.
    pub(crate) fn restart_clock(&mut self) {
        self.until = Instant::now() + self.limits.deadline;
    }

    /// Leaves the time since `since` out of account.
    pub(crate) fn pause_clock(&mut self, since: Instant) {
        self.until += since.elapsed();
    }

    pub(crate) fn send(&mut self, message: &impl Serialize, data: &[&[u8]]) -> Result<(), Failure> {
        self.alive()?;
        frame::send(self, message, data).map_err(|error| self.fail(error))
    }

    pub(crate) fn receive<T: DeserializeOwned>(&mut self) -> Result<(T, Vec<Aligned>), Failure> {
        self.alive()?;
        let received = frame::receive(self).map_err(|error| self.fail(error))?;
        self.drain();
        Ok(received)
    }

    /// What the worker wrote to its standard output since the last time, as a warning.
    pub(crate) fn take_output(&mut self) -> Option<String> {
        self.drain();
        let printed = std::mem::take(&mut self.printed);
        let text = String::from_utf8_lossy(&printed[..printed.len().min(OUTPUT_KEPT)]).into_owned();
        let rest = if printed.len() > OUTPUT_KEPT { " and more" } else { "" };
        (!text.is_empty()).then(|| format!("the plugin wrote to standard output: {text:?}{rest}"))
    }

    fn alive(&self) -> Result<(), Failure> {
        self.ended.clone().map_or(Ok(()), Err)
    }

    /// Ends the worker after a failed transfer, and says why it failed.
    pub(crate) fn fail(&mut self, error: io::Error) -> Failure {
        let failure = match error.downcast::<Failure>() {
            Ok(failure) => failure,
            Err(error) if gone(&error) => Failure::new(FailureKind::Crashed, self.obituary()),
            Err(error) => Failure::new(FailureKind::Failed, format!("the worker process sent nonsense: {error}")),
        };
        self.kill();
        self.ended = Some(failure.clone());
        failure
    }

    /// How a worker ended that closed its connection.
    fn obituary(&mut self) -> String {
        match self.wait() {
            Some(status) => format!("the worker process {}", describe(status)),
            None => "the worker process closed the connection to its host and went on".to_owned(),
        }
    }

    /// Waits for the end of the process, not for ever.
    fn wait(&mut self) -> Option<ExitStatus> {
        let start = Instant::now();
        while start.elapsed() < GRACE {
            self.drain();
            match self.child.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(1)),
                Ok(status) => return status,
                Err(_) => return None,
            }
        }
        None
    }

    /// Ends the process with everything that it started.
    fn kill(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }

    /// Reads what lies in the pipe of the standard output.
    fn drain(&mut self) {
        let mut buffer = [0; 4096];
        while let Some(output) = &mut self.output {
            match output.read(&mut buffer) {
                Ok(0) => self.output = None,
                Ok(count) => {
                    let room = (OUTPUT_KEPT + 1).saturating_sub(self.printed.len());
                    self.printed.extend_from_slice(&buffer[..count.min(room)]);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.output = None,
            }
        }
    }

    /// Waits until the stream is ready, and looks after the limits meanwhile.
    fn ready(&mut self, flags: PollFlags) -> io::Result<()> {
        loop {
            self.check().map_err(io::Error::other)?;
            let mut descriptors = vec![PollFd::from_borrowed_fd(self.stream.as_fd(), flags)];
            descriptors
                .extend(self.output.as_ref().map(|output| PollFd::from_borrowed_fd(output.as_fd(), PollFlags::IN)));
            let interval = Timespec { tv_sec: 0, tv_nsec: INTERVAL.as_nanos() as i64 };
            // What a process forks may hold its end of the stream open.
            let ended = matches!(self.child.try_wait(), Ok(Some(_)));
            match poll(&mut descriptors, Some(&interval)) {
                Ok(0) if ended => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(0) | Err(Errno::INTR) => continue,
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
            let stream_ready = !descriptors[0].revents().is_empty();
            self.drain();
            if stream_ready {
                return Ok(());
            }
        }
    }

    fn check(&mut self) -> Result<(), Failure> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(Failure::new(FailureKind::Cancelled, "the run was stopped while the plugin worked"));
        }
        let now = Instant::now();
        let overdue = now >= self.until;
        if !overdue && now < self.looked + INTERVAL {
            return Ok(());
        }
        self.looked = now;
        // What is busy taking memory may be late as well; the memory says more.
        match (self.limits.memory, resident(self.child.id())) {
            (Some(limit), Some(bytes)) if bytes > limit => Err(Failure::new(
                FailureKind::OutOfMemory,
                format!(
                    "the worker process took {} MiB of memory, but may take {} MiB",
                    bytes.div_ceil(1 << 20),
                    limit >> 20
                ),
            )),
            _ if overdue => {
                let seconds = self.limits.deadline.as_secs_f64();
                Err(Failure::new(FailureKind::TimedOut, format!("the plugin gave no answer within {seconds} s")))
            }
            _ => Ok(()),
        }
    }
}

impl Read for Process {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.stream.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.ready(PollFlags::IN)?,
                result => return result,
            }
        }
    }
}

impl Write for Process {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        loop {
            match self.stream.write(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.ready(PollFlags::OUT)?,
                result => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.healthy() && self.stream.shutdown(std::net::Shutdown::Both).is_ok() {
            self.wait();
        }
        self.kill();
    }
}

/// Whether the other end of a connection is not there any more.
fn gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

/// The resident memory of a process in bytes.
fn resident(process: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/statm")).ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

fn describe(status: ExitStatus) -> String {
    let Some(signal) = status.signal() else {
        return format!("ended with exit code {}", status.code().unwrap_or_default());
    };
    let known = [
        (Signal::ILL, "illegal instruction"),
        (Signal::ABORT, "abort"),
        (Signal::BUS, "bus error"),
        (Signal::FPE, "arithmetic error"),
        (Signal::KILL, "kill; perhaps the machine ran out of memory"),
        (Signal::SEGV, "segmentation fault"),
        (Signal::TERM, "termination"),
        (Signal::SYS, "forbidden system call"),
    ];
    let name = known.iter().find(|(known, _)| known.as_raw() == signal).map_or("unnamed", |(_, name)| name);
    format!("was killed by signal {signal} ({name})")
}
