//! `run`: computes what is not stored yet, and reports.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use realsafe_core::device;
use realsafe_plan::Partition;
use realsafe_results::{Error, Report, Store, Verdict, WORST_CASE, export_adversarials, render, write_report};
use realsafe_runner::{Options, Totals, Workshop, default_jobs};

use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::interruption;
use crate::progress::Progress;
use crate::selection::Selection;
use crate::terminal::{self, Format, colours_stdout, print};
use crate::work::{Work, open_store};

/// Run experiments: compute what is not stored yet, and report
#[derive(clap::Args)]
pub(crate) struct Run {
    #[command(flatten)]
    selection: Selection,
    /// Where results go
    #[arg(long, value_name = "DIR", default_value = "results")]
    out: PathBuf,
    /// How many cells run side by side [default: as many as the device takes]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Compute one share of the cells, as in slice:1/4 (every fourth) or hash:1/4 (stable when specs grow)
    #[arg(long, value_name = "SHARE")]
    partition: Option<Partition>,
    /// Keep the final images and write them to DIR/adversarials
    #[arg(long)]
    save_adversarials: bool,
    /// How the report is shown
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Run {
    pub(crate) fn execute(&self) -> Outcome {
        let work = Work::new(&self.selection)?;
        let store = open_store(&self.out)?;
        let totals = self.compute(&work, &store)?;
        for conflict in &totals.conflicts {
            terminal::warning(&conflict.to_string());
        }
        let report = write_report(&work.plan, &store, &self.out, &work.facts())?;
        if totals.interrupted {
            let here = work.plan.cells.len() - totals.elsewhere;
            let stored = totals.stored + totals.computed;
            let so_far = self.out.display();
            return Err(Failure::new(Exit::Interrupted, format!("interrupted: {stored} of {here} cells are stored"))
                .hint(format!("the same command goes on from there; what there is so far is reported in {so_far}")));
        }
        if self.save_adversarials {
            self.save(&work, &store)?;
        }
        show(&report, self.format)?;
        terminal::tell(&format!("the report is in {}\n", self.out.display()));
        Ok(verdict(&report, totals.failed))
    }

    fn compute(&self, work: &Work, store: &Store) -> Result<Totals, Failure> {
        let cancelled = interruption::listen()?;
        let progress = Progress::new();
        let mut all = Totals::default();
        for (device, plan) in work.by_device() {
            let options = Options {
                jobs: self.jobs.map_or_else(|| default_jobs(device), NonZeroUsize::get),
                save_adversarials: self.save_adversarials,
                partition: self.partition,
            };
            let locations = self.selection.overrides.data.locations();
            let observe = |event: realsafe_runner::Event<'_>| progress.observe(event);
            let workshop = Workshop::new(&device::open(device)?, &work.registry, &locations);
            let totals = realsafe_runner::run(&plan, store, device, &workshop, &options, &cancelled, &observe)?;
            all.computed += totals.computed;
            all.stored += totals.stored;
            all.failed += totals.failed;
            all.elsewhere += totals.elsewhere;
            all.conflicts.extend(totals.conflicts);
            all.interrupted |= totals.interrupted;
        }
        progress.finish();
        Ok(all)
    }

    fn save(&self, work: &Work, store: &Store) -> Result<(), Failure> {
        let folder = self.out.join("adversarials");
        fs_err::create_dir_all(&folder)?;
        match export_adversarials(&work.plan.cells, store, &folder) {
            Ok(files) => {
                terminal::tell(&format!("{} in {}\n", terminal::count(files.len(), "set of images"), folder.display()))
            }
            // This share of the plan may have none.
            Err(Error::Nothing(reason)) => terminal::warning(&reason),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// Prints a report.
pub(crate) fn show(report: &Report, format: Format) -> Result<(), Failure> {
    match format {
        Format::Text => print(&render(report, colours_stdout()))?,
        Format::Json => print(&(report.to_json()? + "\n"))?,
    }
    Ok(())
}

/// The exit code that a report deserves.
pub(crate) fn verdict(report: &Report, failed_cells: usize) -> Exit {
    let rows = report.experiments.iter().flat_map(|experiment| &experiment.summary);
    let attacks = rows.filter(|row| row.about.attack != WORST_CASE);
    let errors = attacks.filter_map(|row| row.values.errors).any(|errors| errors > 0);
    let failed = report.count(Verdict::Fail);
    if failed > 0 {
        terminal::error(&format!("{} failed", terminal::count(failed, "expectation")));
    }
    if errors {
        terminal::error("attacks ended in errors on some samples; rates are intervals there");
    }
    if failed_cells > 0 {
        terminal::error(&format!(
            "{} gave no result; the same command tries again",
            terminal::count(failed_cells, "cell")
        ));
    }
    if failed > 0 || errors || failed_cells > 0 { Exit::Failed } else { Exit::Done }
}
