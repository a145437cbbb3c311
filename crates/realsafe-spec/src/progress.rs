//! Progress of a run on standard error: bars on a terminal, a line now and then elsewhere.

use std::io::{self, IsTerminal};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use realsafe_plan::Cell;
use realsafe_runner::Event;

use crate::terminal;

/// How often there is a line.
const INTERVAL: Duration = Duration::from_secs(15);

/// Shows what happens during a run.
pub(crate) struct Progress {
    bars: Option<Bars>,
    lines: Mutex<Lines>,
}

struct Bars {
    all: MultiProgress,
    cells: ProgressBar,
    steps: ProgressBar,
}

/// How far the run is, and when it was told last.
struct Lines {
    cells: usize,
    done: usize,
    told: Instant,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let bars = io::stderr().is_terminal().then(Bars::new);
        Self { bars, lines: Mutex::new(Lines { cells: 0, done: 0, told: Instant::now() }) }
    }

    /// Shows an event.
    pub(crate) fn observe(&self, event: Event<'_>) {
        if let Some(bars) = &self.bars {
            bars.observe(event);
        } else {
            self.lines.lock().unwrap_or_else(PoisonError::into_inner).observe(event);
        }
        match event {
            Event::Failed { cell, reason } => self.warn(cell, reason),
            Event::Finished { cell, record, .. } => record.warnings.iter().for_each(|warning| self.warn(cell, warning)),
            _ => {}
        }
    }

    fn warn(&self, cell: &Cell, warning: &str) {
        let message = format!("{}: {warning}", describe(cell));
        match &self.bars {
            Some(bars) => bars.all.suspend(|| terminal::warning(&message)),
            None => terminal::warning(&message),
        }
    }

    /// Takes the bars away.
    pub(crate) fn finish(&self) {
        if let Some(bars) = &self.bars {
            bars.cells.finish_and_clear();
            bars.steps.finish_and_clear();
        }
    }
}

impl Bars {
    fn new() -> Self {
        let all = MultiProgress::new();
        let style = |template| ProgressStyle::with_template(template).expect("the template is fixed");
        let cells = ProgressBar::new(0).with_style(style("{bar:30} {pos} of {len} cells, {eta} left  {wide_msg}"));
        let steps = ProgressBar::no_length().with_style(style("{human_pos} steps of samples, {per_sec}"));
        let (cells, steps) = (all.add(cells), all.add(steps));
        cells.enable_steady_tick(Duration::from_millis(200));
        Self { all, cells, steps }
    }

    fn observe(&self, event: Event<'_>) {
        match event {
            Event::Planned { cells, stored } => {
                self.cells.set_length(cells as u64);
                self.cells.set_position(stored as u64);
                // Stored cells took no time and say nothing about the others.
                self.cells.reset_eta();
            }
            Event::Started(cell) => self.cells.set_message(describe(cell)),
            Event::Stepped { rows } => self.steps.inc(rows as u64),
            Event::Finished { .. } | Event::Failed { .. } => self.cells.inc(1),
        }
    }
}

impl Lines {
    fn observe(&mut self, event: Event<'_>) {
        match event {
            Event::Planned { cells, stored } => {
                (self.cells, self.done) = (cells, stored);
                terminal::tell(&format!("{}, {stored} of them stored already\n", terminal::count(cells, "cell")));
            }
            Event::Finished { cell, .. } | Event::Failed { cell, .. } => {
                self.done += 1;
                if self.told.elapsed() >= INTERVAL || self.done == self.cells {
                    self.told = Instant::now();
                    terminal::tell(&format!("{} of {} cells done, last {}\n", self.done, self.cells, describe(cell)));
                }
            }
            Event::Started(_) | Event::Stepped { .. } => {}
        }
    }
}

/// A cell in words: its experiment, defended model, attack, threat model and first sample.
fn describe(cell: &Cell) -> String {
    let (model, stack) = (&cell.model.id, cell.stack_name());
    let eps = cell.threat.eps.as_ref().map_or(String::new(), |eps| format!(" {eps}"));
    let first = cell.samples.first().copied().unwrap_or_default();
    let defended = if cell.stack.is_empty() { model.clone() } else { format!("{model} behind {stack}") };
    format!(
        "{}: {} on {defended}, {}{eps}, from sample {first}",
        cell.experiment, cell.attack.chosen.id, cell.threat.id
    )
}
