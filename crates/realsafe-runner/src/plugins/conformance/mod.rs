//! The conformance battery: whether components of a plugin keep what the host builds on.
//!
//! Every check uses the component as a spec would, with the parameters of its own example. What a plugin does to itself
//! is a failed check; the next one starts a new worker process.

mod attacks;
mod parts;
mod victim;

use realsafe_core::{Entry, Locations, Registry, Stop};
use realsafe_host::Plugin;
use realsafe_plan::{Catalogue, Environment, parse_component};

use super::entries;

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The component.
    pub component: String,
    /// What was checked, in a few words.
    pub check: String,
    /// What is wrong, if anything is.
    pub problem: Option<String>,
}

/// Runs the battery on all components of a plugin, which the catalogue describes, too.
///
/// `report` is told of every finding at once. The data directory of the environment is where files of examples are.
pub fn conformance(
    plugin: &Plugin,
    registry: &Registry,
    catalogue: &Catalogue,
    environment: &Environment<'_>,
    report: &mut dyn FnMut(Finding),
) {
    for entry in entries(plugin) {
        let component = entry.component();
        let mut bench = Bench { component: component.id, registry, report };
        let chosen = parse_component(component, component.example, catalogue, environment);
        let chosen = chosen.map_err(|mistakes| mistakes.render(false));
        let Some(chosen) = bench.require("its example is right", chosen) else { continue };
        let locations = Locations { data: environment.data.clone() };
        match entry {
            Entry::Attack(entry) => attacks::check(&mut bench, entry, &chosen, &locations),
            Entry::Defense(entry) => parts::defense(&mut bench, entry, &chosen, &locations),
            Entry::Model(entry) => parts::model(&mut bench, entry, &chosen, &locations),
            Entry::Loss(entry) => parts::loss(&mut bench, entry, &chosen, &locations),
        }
    }
}

/// A component on the bench.
struct Bench<'a> {
    component: &'static str,
    registry: &'a Registry,
    report: &'a mut dyn FnMut(Finding),
}

impl Bench<'_> {
    /// Reports a check, and says whether it was passed.
    fn note(&mut self, check: &str, result: Result<(), String>) -> bool {
        let problem = result.err();
        let passed = problem.is_none();
        (self.report)(Finding { component: self.component.to_owned(), check: check.to_owned(), problem });
        passed
    }

    /// Reports a check, and gives what it was passed with.
    fn require<T>(&mut self, check: &str, result: Result<T, String>) -> Option<T> {
        let (value, result) = match result {
            Ok(value) => (Some(value), Ok(())),
            Err(problem) => (None, Err(problem)),
        };
        self.note(check, result);
        value
    }
}

/// What stopped a component, in words.
fn told(stop: &Stop) -> String {
    stop.to_string()
}

/// That something holds, or what is wrong.
fn ensure(holds: bool, problem: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(problem()) }
}
