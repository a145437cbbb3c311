//! The values of a component's parameters, defaults included.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::{Chosen, Number};

/// The value of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of a flag.
    Flag(bool),
    /// Of a count.
    Count(u64),
    /// Of a number.
    Number(Number),
    /// Of a list of numbers.
    Numbers(Vec<Number>),
    /// Of a choice, a text or a file.
    Text(String),
    /// Of a loss or a dataset.
    Component(Box<Chosen>),
    /// Of models.
    Components(Vec<Chosen>),
}

/// The values of all parameters of a component, checked against its table; unset ones are absent.
///
/// The accessors panic when the component asks for a parameter that its own table does not declare with that kind:
/// a bug of the component that its example test finds, never the fault of a spec.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Values {
    values: BTreeMap<String, Value>,
    paths: BTreeMap<String, PathBuf>,
}

impl Values {
    /// Sets a value.
    pub fn insert(&mut self, name: &str, value: Value) {
        self.values.insert(name.to_owned(), value);
    }

    /// The value of that name, if it is set.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// All values by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// A flag.
    pub fn flag(&self, name: &str) -> bool {
        match self.values.get(name) {
            Some(Value::Flag(flag)) => *flag,
            other => undeclared("flag", name, other),
        }
    }

    /// A count.
    pub fn count(&self, name: &str) -> u64 {
        match self.values.get(name) {
            Some(Value::Count(count)) => *count,
            other => undeclared("count", name, other),
        }
    }

    /// A number.
    pub fn number(&self, name: &str) -> f64 {
        match self.values.get(name) {
            Some(Value::Number(number)) => number.value(),
            other => undeclared("number", name, other),
        }
    }

    /// A list of numbers; empty where it is unset.
    pub fn numbers(&self, name: &str) -> Vec<f64> {
        match self.values.get(name) {
            Some(Value::Numbers(numbers)) => numbers.iter().map(Number::value).collect(),
            None => Vec::new(),
            other => undeclared("list of numbers", name, other),
        }
    }

    /// A choice, a text or a file.
    pub fn text(&self, name: &str) -> &str {
        match self.values.get(name) {
            Some(Value::Text(text)) => text,
            other => undeclared("text", name, other),
        }
    }

    /// Where the file lies that a parameter names; none for files that the program carries, and where files are not read.
    pub fn path(&self, name: &str) -> Option<&Path> {
        self.paths.get(name).map(PathBuf::as_path)
    }

    /// Notes where the file lies that a parameter names.
    pub(crate) fn locate(&mut self, name: &str, path: PathBuf) {
        self.paths.insert(name.to_owned(), path);
    }

    /// A loss or a dataset.
    pub fn component(&self, name: &str) -> &Chosen {
        match self.values.get(name) {
            Some(Value::Component(chosen)) => chosen,
            other => undeclared("component", name, other),
        }
    }

    /// Models.
    pub fn models(&self, name: &str) -> &[Chosen] {
        match self.values.get(name) {
            Some(Value::Components(chosen)) => chosen,
            other => undeclared("list of models", name, other),
        }
    }

    /// All losses, datasets and models, each followed by its own.
    pub fn components(&self) -> impl Iterator<Item = &Chosen> {
        let mut found = Vec::new();
        self.collect(&mut found);
        found.into_iter()
    }

    fn collect<'a>(&'a self, found: &mut Vec<&'a Chosen>) {
        for value in self.values.values() {
            let parts = match value {
                Value::Component(chosen) => std::slice::from_ref(&**chosen),
                Value::Components(chosen) => chosen,
                _ => &[],
            };
            for part in parts {
                found.push(part);
                part.values.collect(found);
            }
        }
    }

    /// Whether the parameter is set.
    pub fn is_set(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }
}

fn undeclared(kind: &str, name: &str, found: Option<&Value>) -> ! {
    panic!("the component reads the {kind} `{name}`, but its table gives {found:?}")
}

/// Something that a component derives from the values of its parameters.
pub type FromValues<T> = &'static (dyn Fn(&Values) -> T + Send + Sync);
