//! Runs what a plan still lacks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use realsafe_core::{Control, Stop, panic_message};
use realsafe_plan::{Cell, Partition, Plan};
use realsafe_results::{CellRecord, Conflict, Journal, Put, Status, Store};

use crate::cell::{compute, failed};
use crate::certificate;
use crate::prepared::CellError;
use crate::workshop::{BuildError, Workshop};

/// How a plan is run; nothing here changes a number.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many cells run side by side; the processor's cores are shared among them.
    pub jobs: usize,
    /// Whether final images are kept.
    pub save_adversarials: bool,
    /// The share of the plan to run.
    pub partition: Option<Partition>,
}

/// What happens during a run, for whoever shows it.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// What there is to do: cells of this partition, and how many of them are stored already.
    Planned {
        /// Cells of this partition.
        cells: usize,
        /// Cells that are stored already.
        stored: usize,
    },
    /// A cell starts.
    Started(&'a Cell),
    /// Rows of a running cell made a step.
    Stepped {
        /// How many.
        rows: usize,
    },
    /// A cell is stored.
    Finished {
        /// The cell.
        cell: &'a Cell,
        /// What it gave.
        record: &'a CellRecord,
        /// How long it took.
        seconds: f64,
    },
    /// A cell gave nothing, for a reason that may be gone next time; it is not stored.
    Failed {
        /// The cell.
        cell: &'a Cell,
        /// Why.
        reason: &'a str,
    },
}

/// What a run did.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Cells that were computed.
    pub computed: usize,
    /// Cells that were stored before.
    pub stored: usize,
    /// Cells that failed.
    pub failed: usize,
    /// Cells that other partitions run.
    pub elsewhere: usize,
    /// Cells that came out differently than another run had stored them meanwhile.
    pub conflicts: Vec<Conflict>,
    /// Whether the run was interrupted.
    pub interrupted: bool,
}

/// Why a run cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A component cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The store fails.
    #[error(transparent)]
    Store(#[from] realsafe_results::Error),
    /// A set of images does not fit the experiment.
    #[error("{0}")]
    Images(String),
    /// The device fails.
    #[error(transparent)]
    Stop(#[from] Stop),
    /// Threads cannot be started.
    #[error("cannot start worker threads: {0}")]
    Threads(String),
}

/// How many cells run side by side by default: one per core where the device is the processor itself, which small
/// tensor operations share badly, else one.
pub fn default_jobs(device_name: &str) -> usize {
    if matches!(device_name, "flex" | "tch") { cores() } else { 1 }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Computes the cells of a plan that the store lacks. `device_name` is that of the workshop's device, for the journal.
///
/// Setting `cancelled` abandons the running cells at their next step; everything stored stays.
///
/// # Errors
/// See [`RunError`]. Cells that fail one by one are counted and shown instead.
pub fn run(
    plan: &Plan,
    store: &Store,
    device_name: &str,
    workshop: &Workshop,
    options: &Options,
    cancelled: &Arc<AtomicBool>,
    observe: &(dyn Fn(Event<'_>) + Send + Sync),
) -> Result<Totals, RunError> {
    let ours = plan.cells.iter().enumerate();
    let ours =
        ours.filter(|(index, cell)| options.partition.is_none_or(|partition| partition.keeps(*index, &cell.key)));
    let ours: Vec<&Cell> = ours.map(|(_, cell)| cell).collect();
    // Proofs make no images.
    let lacks_images = |cell: &Cell| !cell.attack.chosen.component.is_certificate() && !has_images(store, cell);
    let lacks = |cell: &&Cell| !store.is_done(&cell.key) || options.save_adversarials && lacks_images(cell);
    let pending: Vec<&Cell> = ours.iter().copied().filter(lacks).collect();
    let stored = ours.len() - pending.len();
    observe(Event::Planned { cells: ours.len(), stored });
    for experiment in &plan.experiments {
        if pending.iter().any(|cell| cell.experiment == experiment.id) {
            workshop.prepare(experiment)?;
        }
    }
    certificate::check(pending.iter().copied(), workshop)?;
    let shift = Shift {
        workshop,
        store,
        device_name,
        options,
        cancelled: Arc::clone(cancelled),
        observe,
        pending,
        next: AtomicUsize::new(0),
        totals: Mutex::new(Totals { stored, elsewhere: plan.cells.len() - ours.len(), ..Totals::default() }),
    };
    shift.work()?;
    Ok(shift.totals.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn has_images(store: &Store, cell: &Cell) -> bool {
    matches!(store.get(&cell.key), Ok(Some(record)) if record.adversarials.is_some())
}

/// The workers of a run and what they share.
struct Shift<'a> {
    workshop: &'a Workshop,
    store: &'a Store,
    device_name: &'a str,
    options: &'a Options,
    cancelled: Arc<AtomicBool>,
    observe: &'a (dyn Fn(Event<'_>) + Send + Sync),
    pending: Vec<&'a Cell>,
    next: AtomicUsize,
    totals: Mutex<Totals>,
}

impl Shift<'_> {
    fn work(&self) -> Result<(), RunError> {
        let jobs = self.options.jobs.clamp(1, self.pending.len().max(1));
        let threads = (cores() / jobs).max(1);
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..jobs).map(|worker| scope.spawn(move || self.worker(worker, threads))).collect();
            workers.into_iter().try_for_each(|worker| {
                worker.join().unwrap_or_else(|panic| Err(RunError::Threads(panic_message(&*panic))))
            })
        })
    }

    /// Takes cells until none is left. Each worker's tensors compute on threads of its own.
    fn worker(&self, worker: usize, threads: usize) -> Result<(), RunError> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|error| RunError::Threads(error.to_string()))?;
        let name = format!("{}-{worker}", std::process::id());
        let mut journal = Journal::open(self.store, &name, &host(), self.device_name)?;
        while let Some(cell) = self.pending.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            if self.cancelled.load(Ordering::Relaxed) {
                self.total(|totals| totals.interrupted = true);
                break;
            }
            pool.install(|| self.cell(cell, &mut journal))?;
        }
        Ok(())
    }

    fn cell(&self, cell: &Cell, journal: &mut Journal) -> Result<(), RunError> {
        (self.observe)(Event::Started(cell));
        journal.note(realsafe_results::Event::Started, &cell.key, 0.0)?;
        let clock = Instant::now();
        let record = match self.attempt(cell) {
            Ok(record) => record,
            Err(CellError::Stop(Stop::Cancelled)) => {
                self.total(|totals| totals.interrupted = true);
                return Ok(());
            }
            Err(error) => {
                (self.observe)(Event::Failed { cell, reason: &error.to_string() });
                self.total(|totals| totals.failed += 1);
                return Ok(journal.note(realsafe_results::Event::Failed, &cell.key, clock.elapsed().as_secs_f64())?);
            }
        };
        let put = self.store.put(cell, &record)?;
        let seconds = clock.elapsed().as_secs_f64();
        journal.note(realsafe_results::Event::Finished, &cell.key, seconds)?;
        (self.observe)(Event::Finished { cell, record: &record, seconds });
        self.total(|totals| {
            totals.computed += 1;
            if let Put::Conflicting(conflict) = put {
                totals.conflicts.push(conflict);
            }
        });
        Ok(())
    }

    /// Computes a cell; an attack or plugin that misbehaves becomes a record of failures.
    fn attempt(&self, cell: &Cell) -> Result<CellRecord, CellError> {
        let stepped = |rows| (self.observe)(Event::Stepped { rows });
        let control = Control { cancelled: &self.cancelled, stepped: &stepped };
        let computed =
            catch_unwind(AssertUnwindSafe(|| compute(cell, self.workshop, control, self.options.save_adversarials)));
        match computed {
            Ok(Err(error)) => match error.status() {
                Some(status) => failed(cell, self.workshop, status, &error.to_string()),
                None => Err(error),
            },
            Ok(result) => result,
            Err(panic) => {
                let reason = format!("the attack panicked: {}", panic_message(&*panic));
                failed(cell, self.workshop, Status::Failed, &reason)
            }
        }
    }

    fn total(&self, change: impl FnOnce(&mut Totals)) {
        change(&mut self.totals.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The name of this machine, for journals and manifests.
pub fn host() -> String {
    let name = std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty());
    name.or_else(|| std::fs::read_to_string("/etc/hostname").ok().map(|name| name.trim().to_owned()))
        .unwrap_or_else(|| "unknown".to_owned())
}
