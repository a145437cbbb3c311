//! What a component says about itself.

/// A component as lists, manuals and spec errors show it.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// The name that `use` takes in specs, in kebab case.
    pub id: &'static str,
    /// Raised by hand whenever the component's numbers may change.
    pub revision: u32,
    /// The manual, in Markdown; its first paragraph is what lists show. It may be a source file that begins with `//!`
    /// lines, as `include_str!("lib.rs")` gives it.
    pub documentation: &'static str,
    /// Keys of an example table, as TOML without `use`.
    pub example: &'static str,
    /// Everything that can be set.
    pub parameters: &'static [Parameter],
}

/// A parameter of a component. It has to be set, unless it has a [fallback](Parameter::fallback) or is
/// [optional](Parameter::optional).
///
/// ```
/// use realsafe_plugin::Parameter;
///
/// const STEPS: Parameter = Parameter::count("steps", 1, 1000)
///     .fallback("40")
///     .unit("gradients")
///     .documentation("How many steps are made.");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) unit: &'static str,
    pub(crate) documentation: &'static str,
    pub(crate) fallback: Fallback,
}

/// What values a parameter takes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Flag,
    Count { minimum: u64, maximum: u64 },
    Number { minimum: f64, maximum: f64 },
    Numbers { minimum: f64, maximum: f64 },
    Choice(&'static [&'static str]),
    Text,
    File,
    Loss,
}

/// What holds where a spec does not set a parameter.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fallback {
    Required,
    Unset,
    Value(&'static str),
}

impl Parameter {
    const fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, unit: "", documentation: "", fallback: Fallback::Required }
    }

    /// True or false.
    pub const fn flag(name: &'static str) -> Self {
        Self::new(name, Kind::Flag)
    }

    /// A whole number between two others, up to 2^53.
    pub const fn count(name: &'static str, minimum: u64, maximum: u64) -> Self {
        Self::new(name, Kind::Count { minimum, maximum })
    }

    /// A number between two others. Specs write 0.1 or "8/255".
    pub const fn number(name: &'static str, minimum: f64, maximum: f64) -> Self {
        Self::new(name, Kind::Number { minimum, maximum })
    }

    /// A list of numbers, each between two others.
    pub const fn numbers(name: &'static str, minimum: f64, maximum: f64) -> Self {
        Self::new(name, Kind::Numbers { minimum, maximum })
    }

    /// One of several words.
    pub const fn choice(name: &'static str, words: &'static [&'static str]) -> Self {
        Self::new(name, Kind::Choice(words))
    }

    /// Any text.
    pub const fn text(name: &'static str) -> Self {
        Self::new(name, Kind::Text)
    }

    /// A file, whose content the host reads.
    pub const fn file(name: &'static str) -> Self {
        Self::new(name, Kind::File)
    }

    /// A loss of the catalogue, for attacks.
    pub const fn loss(name: &'static str) -> Self {
        Self::new(name, Kind::Loss)
    }

    /// With a default, as a spec would write it without quotes: `40`, `8/255`, `true`, `0.5, 0.5`.
    pub const fn fallback(self, value: &'static str) -> Self {
        Self { fallback: Fallback::Value(value), ..self }
    }

    /// Without a default, and yet it may be left out.
    pub const fn optional(self) -> Self {
        Self { fallback: Fallback::Unset, ..self }
    }

    /// With its unit, in words.
    pub const fn unit(self, unit: &'static str) -> Self {
        Self { unit, ..self }
    }

    /// With a sentence that says what it does.
    pub const fn documentation(self, documentation: &'static str) -> Self {
        Self { documentation, ..self }
    }
}
