//! All components that a program knows.

use std::collections::BTreeMap;

use crate::{Component, Kind};

/// All components that a program knows, by kind and name.
#[derive(Default)]
pub struct Catalogue {
    components: BTreeMap<(Kind, &'static str), &'static Component>,
    offers: BTreeMap<(Kind, String), String>,
}

impl Catalogue {
    /// Collects components.
    ///
    /// # Errors
    /// Names the first component whose kind and name another one already has, and where both come from.
    pub fn new(components: impl IntoIterator<Item = &'static Component>) -> Result<Self, String> {
        let mut catalogue = Self::default();
        for component in components {
            let (kind, id) = (component.kind(), component.id);
            if let Some(other) = catalogue.components.insert((kind, id), component) {
                let (kind, first, second) = (kind.name(), other.origin, component.origin);
                return Err(format!("the {kind} `{id}` is there twice: from {first} and from {second}"));
            }
        }
        Ok(catalogue)
    }

    /// Notes that something else has a component, and what to do to get it.
    pub fn offer(&mut self, kind: Kind, id: &str, way: impl Into<String>) {
        self.offers.insert((kind, id.to_owned()), way.into());
    }

    /// What to do to get a component that is not there.
    pub(crate) fn offered(&self, kind: Kind, id: &str) -> Option<String> {
        self.offers.get(&(kind, id.to_owned())).cloned()
    }

    /// The component of that kind and name.
    pub fn get(&self, kind: Kind, id: &str) -> Option<&'static Component> {
        self.of_kind(kind).find(|component| component.id == id)
    }

    /// The components of a kind, sorted by name.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &'static Component> {
        self.components.iter().filter(move |((other, _), _)| *other == kind).map(|(_, component)| *component)
    }

    /// All components, sorted by kind and name.
    pub fn iter(&self) -> impl Iterator<Item = &'static Component> {
        self.components.values().copied()
    }
}
