//! The table of a plugin, as C sees it.

use std::ffi::c_void;
use std::ptr::from_ref;
use std::sync::OnceLock;

use realsafe_abi::{
    REALSAFE_CHOICE, REALSAFE_COUNT, REALSAFE_DEFAULT, REALSAFE_FILE, REALSAFE_FLAG, REALSAFE_KIND_ATTACK,
    REALSAFE_KIND_DEFENSE, REALSAFE_KIND_LOSS, REALSAFE_KIND_MODEL, REALSAFE_LOSS, REALSAFE_MAGIC, REALSAFE_MAJOR,
    REALSAFE_MINOR, REALSAFE_NUMBER, REALSAFE_NUMBERS, REALSAFE_REQUIRED, REALSAFE_TEXT, REALSAFE_UNSET,
    RealsafeAttack, RealsafeComponent, RealsafeDefense, RealsafeLoss, RealsafeModel, RealsafeParameter, RealsafePlugin,
    RealsafeText,
};

use crate::about::{Fallback, Kind};
use crate::{About, Attack, Defense, Loss, Model, Parameter, attack, defense, loss, model};

/// What a plugin says about itself; [`plugin!`](crate::plugin) takes it from `Cargo.toml`.
#[derive(Clone, Copy, Debug)]
pub struct Package {
    /// The name, in kebab case.
    pub name: &'static str,
    /// The version, in words.
    pub version: &'static str,
    /// The licence, as an SPDX expression.
    pub licence: &'static str,
    /// What it is, in a sentence.
    pub documentation: &'static str,
    /// Where to read more; may be empty.
    pub homepage: &'static str,
}

/// A component of a plugin.
#[derive(Clone, Copy, Debug)]
pub struct Component {
    about: About,
    interface: Interface,
}

#[derive(Clone, Copy, Debug)]
enum Interface {
    Attack(&'static RealsafeAttack),
    Defense(&'static RealsafeDefense),
    Model(&'static RealsafeModel),
    Loss(&'static RealsafeLoss),
}

impl Component {
    /// An attack.
    pub const fn attack<A: Attack>() -> Self {
        Self { about: A::ABOUT, interface: Interface::Attack(const { &attack::table::<A>() }) }
    }

    /// A defense.
    pub const fn defense<D: Defense>() -> Self {
        Self { about: D::ABOUT, interface: Interface::Defense(const { &defense::table::<D>() }) }
    }

    /// A model.
    pub const fn model<M: Model>() -> Self {
        Self { about: M::ABOUT, interface: Interface::Model(const { &model::table::<M>() }) }
    }

    /// A loss.
    pub const fn loss<L: Loss>() -> Self {
        Self { about: L::ABOUT, interface: Interface::Loss(const { &loss::table::<L>() }) }
    }

    fn table(&self) -> RealsafeComponent {
        let (kind, interface): (u32, *const c_void) = match self.interface {
            Interface::Attack(table) => (REALSAFE_KIND_ATTACK, from_ref(table).cast()),
            Interface::Defense(table) => (REALSAFE_KIND_DEFENSE, from_ref(table).cast()),
            Interface::Model(table) => (REALSAFE_KIND_MODEL, from_ref(table).cast()),
            Interface::Loss(table) => (REALSAFE_KIND_LOSS, from_ref(table).cast()),
        };
        let parameters = pointers(self.about.parameters.iter().map(Parameter::table));
        RealsafeComponent {
            size: size_of::<RealsafeComponent>() as u32,
            kind,
            revision: self.about.revision,
            id: RealsafeText::new(self.about.id),
            documentation: RealsafeText::new(manual(self.about.documentation)),
            example: RealsafeText::new(self.about.example),
            parameters: parameters.as_ptr().cast(),
            parameter_count: parameters.len() as u64,
            interface,
        }
    }
}

impl Parameter {
    fn table(&self) -> RealsafeParameter {
        let (kind, minimum, maximum) = match self.kind {
            Kind::Flag => (REALSAFE_FLAG, 0.0, 1.0),
            Kind::Count { minimum, maximum } => (REALSAFE_COUNT, minimum as f64, maximum as f64),
            Kind::Number { minimum, maximum } => (REALSAFE_NUMBER, minimum, maximum),
            Kind::Numbers { minimum, maximum } => (REALSAFE_NUMBERS, minimum, maximum),
            Kind::Choice(_) => (REALSAFE_CHOICE, 0.0, 0.0),
            Kind::Text => (REALSAFE_TEXT, 0.0, 0.0),
            Kind::File => (REALSAFE_FILE, 0.0, 0.0),
            Kind::Loss => (REALSAFE_LOSS, 0.0, 0.0),
        };
        let words = if let Kind::Choice(words) = self.kind { words } else { &[] };
        let choices: &'static [RealsafeText] =
            words.iter().map(|word| RealsafeText::new(word)).collect::<Vec<_>>().leak();
        let (fallback_kind, fallback) = match self.fallback {
            Fallback::Required => (REALSAFE_REQUIRED, ""),
            Fallback::Unset => (REALSAFE_UNSET, ""),
            Fallback::Value(value) => (REALSAFE_DEFAULT, value),
        };
        RealsafeParameter {
            size: size_of::<RealsafeParameter>() as u32,
            kind,
            name: RealsafeText::new(self.name),
            unit: RealsafeText::new(self.unit),
            documentation: RealsafeText::new(self.documentation),
            fallback_kind,
            fallback: RealsafeText::new(fallback),
            minimum,
            maximum,
            choices: choices.as_ptr(),
            choice_count: choices.len() as u64,
        }
    }
}

/// A plugin: a static from which a host gets the table. [`plugin!`](crate::plugin) makes it.
#[derive(Debug)]
pub struct Plugin {
    package: Package,
    components: &'static [Component],
    table: OnceLock<&'static RealsafePlugin>,
}

impl Plugin {
    /// A plugin with its components.
    pub const fn new(package: Package, components: &'static [Component]) -> Self {
        Self { package, components, table: OnceLock::new() }
    }

    /// The table that a host reads. It is built once, and lives as long as the process.
    pub fn table(&'static self) -> &'static RealsafePlugin {
        self.table.get_or_init(|| {
            let components = pointers(self.components.iter().map(Component::table));
            Box::leak(Box::new(RealsafePlugin {
                size: size_of::<RealsafePlugin>() as u32,
                magic: REALSAFE_MAGIC,
                major: REALSAFE_MAJOR,
                minor: REALSAFE_MINOR,
                // Hosts of version 1.0 do not read the homepage, and that is all that was added.
                needs_minor: 0,
                name: RealsafeText::new(self.package.name),
                version: RealsafeText::new(self.package.version),
                licence: RealsafeText::new(self.package.licence),
                documentation: RealsafeText::new(self.package.documentation),
                components: components.as_ptr().cast(),
                component_count: components.len() as u64,
                homepage: RealsafeText::new(self.package.homepage),
            }))
        })
    }
}

/// The header of a source file without its marks, or the text itself.
fn manual(documentation: &'static str) -> &'static str {
    let header = documentation.lines().map_while(|line| line.strip_prefix("//!"));
    let lines: Vec<&str> = header.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    if lines.is_empty() { documentation } else { lines.join("\n").leak() }
}

/// Pointers to tables. Both live as long as the process, as tables have to.
fn pointers<T>(tables: impl Iterator<Item = T>) -> &'static [&'static T] {
    tables.map(|table| &*Box::leak(Box::new(table))).collect::<Vec<_>>().leak()
}

/// Makes the static of a plugin: its components, and what `Cargo.toml` says of the package, which should have a
/// `description` and a `license`. `plugin!(pub static PLUGIN: [attack Climb, loss Slope]);` has two components; the other
/// kinds are `defense` and `model`.
#[macro_export]
macro_rules! plugin {
    ($(#[$attribute:meta])* $visibility:vis static $name:ident: [$($kind:ident $component:ty),+ $(,)?]) => {
        $(#[$attribute])*
        $visibility static $name: $crate::Plugin = $crate::Plugin::new(
            $crate::Package {
                name: ::core::env!("CARGO_PKG_NAME"),
                version: ::core::env!("CARGO_PKG_VERSION"),
                licence: ::core::env!("CARGO_PKG_LICENSE"),
                documentation: ::core::env!("CARGO_PKG_DESCRIPTION"),
                homepage: ::core::env!("CARGO_PKG_HOMEPAGE"),
            },
            &[$($crate::Component::$kind::<$component>()),+],
        );
    };
}

/// Exports a plugin from a `cdylib`: `export!(my_attack::PLUGIN);`, once per library.
#[macro_export]
macro_rules! export {
    ($plugin:path) => {
        /// The plugin's table. It fits hosts of every minor version.
        #[unsafe(no_mangle)]
        pub extern "C" fn realsafe_plugin_v1(_host_minor: u32) -> *const $crate::abi::RealsafePlugin {
            $plugin.table()
        }
    };
}
