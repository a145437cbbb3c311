//! Plugins as components: what a plugin describes becomes entries of the registry, whose instances call it.

mod attack;
mod component;
mod conformance;
mod oracle;
mod parts;

use realsafe_core::{AttackEntry, ComponentFailure, DefenseEntry, Entry, LossEntry, ModelEntry, Registry, Stop};
use realsafe_host::{Failure, FailureKind, Interface, Plugin};
use realsafe_plan::{Component, Cost, LossTraits, Traits, Values, check_component};

pub use conformance::{Finding, conformance};

use component::{arguments, attack_traits, component, defense_traits, model_traits};

/// Adds all components of a plugin to a registry. They stay for as long as the program runs, as libraries do.
///
/// # Errors
/// A component that no spec could use.
pub fn register(plugin: &Plugin, registry: &mut Registry) -> Result<(), String> {
    for entry in entries(plugin) {
        check_component(entry.component())?;
        registry.add(entry);
    }
    Ok(())
}

/// The descriptions of all components of a plugin, as specs see them.
pub fn components(plugin: &Plugin) -> Vec<&'static Component> {
    entries(plugin).map(|entry| entry.component()).collect()
}

fn entries(plugin: &Plugin) -> impl Iterator<Item = Entry> {
    (0..plugin.description().components.len()).map(|index| entry(plugin, index))
}

/// A component of a plugin as an entry of the registry.
fn entry(plugin: &Plugin, index: usize) -> Entry {
    let described = &plugin.description().components[index];
    let part = Part { plugin: plugin.clone(), index };
    match described.interface {
        Interface::Attack(facts) => {
            let traits = attack_traits(&part, &facts);
            let build = keep(move |values: &Values, context: &_| attack::build(&part, values, context));
            Entry::Attack(keep(AttackEntry { component: component(plugin, described, traits), build }))
        }
        Interface::Defense(facts) => {
            let traits = defense_traits(&facts);
            let build = keep(move |values: &Values, locations: &_| parts::defense(&part, values, locations));
            Entry::Defense(keep(DefenseEntry { component: component(plugin, described, traits), build }))
        }
        Interface::Model(facts) => {
            let traits = model_traits(&part, &facts);
            let build = keep(move |values: &Values, locations: &_, _: &_| parts::model(&part, values, locations));
            Entry::Model(keep(ModelEntry { component: component(plugin, described, traits), build }))
        }
        Interface::Loss => {
            let build = keep(move |values: &Values, locations: &_| parts::loss(&part, values, locations));
            Entry::Loss(keep(LossEntry {
                component: component(plugin, described, Traits::Loss(LossTraits::TWO_CLASSES)),
                build,
            }))
        }
    }
}

/// A component of a plugin.
#[derive(Clone)]
struct Part {
    plugin: Plugin,
    index: usize,
}

impl Part {
    /// The arguments of the component that do not need a file or another component.
    fn early(&self, values: &Values) -> Vec<realsafe_host::Argument> {
        arguments(&self.plugin.description().components[self.index], values)
    }

    /// What an attack is going to do.
    fn plan(&self, values: &Values) -> Result<realsafe_host::Plan, String> {
        self.plugin.plan(self.index, &self.early(values)).map_err(|failure| failure.message)
    }
}

/// Keeps something for as long as the program runs.
fn keep<T>(thing: T) -> &'static T {
    Box::leak(Box::new(thing))
}

const fn cost(work: realsafe_host::Work) -> Cost {
    Cost { queries: work.queries, forwards: work.forwards, backwards: work.backwards }
}

/// A failure as what stops a driver.
fn stop(component: &str, failure: Failure) -> Stop {
    let kind = match failure.kind {
        FailureKind::Cancelled => return Stop::Cancelled,
        FailureKind::Device => return Stop::Device(failure.message),
        FailureKind::Crashed => ComponentFailure::Crashed,
        FailureKind::TimedOut => ComponentFailure::TimedOut,
        FailureKind::OutOfMemory => ComponentFailure::OutOfMemory,
        FailureKind::Budget
        | FailureKind::BadValue
        | FailureKind::Unsupported
        | FailureKind::Failed
        | FailureKind::Panicked => ComponentFailure::Failed,
    };
    let message = match failure.kind {
        FailureKind::Panicked => format!("`{component}` panicked: {}", failure.message),
        _ => format!("`{component}`: {}", failure.message),
    };
    Stop::Component { failure: kind, message }
}
