//! What an experiment is, before any tensor exists: component descriptions, specs, plans and keys.
//!
//! A spec (TOML) is read with [`load_spec`] and resolved against a [`Catalogue`] into an [`Experiment`], and expanded
//! into [`Cell`]s, the units of work. Nothing here knows how a number is computed, so the crate builds in seconds.

mod catalogue;
mod cell;
mod component;
mod diagnostic;
mod experiment;
mod fields;
mod figure;
mod files;
mod key;
mod load;
mod number;
mod overrides;
mod parameters;
mod partition;
mod plan;
mod render;
mod resolved;
mod schema;
mod search;
mod spec;
mod threat;
mod traits;
mod tree;
mod values;

pub use catalogue::Catalogue;
pub use cell::{AttackChoice, Cell, Chosen, Key, Member, ResolvedFile, StackLayer};
pub use component::{Component, Fallback, Kind, Origin, Parameter, ParameterKind, Traits, VARIABLES};
pub use diagnostic::{Diagnostic, Diagnostics, Place, Source, nearest};
pub use experiment::{
    Aim, AttackSpec, Claim, Expectation, Experiment, Metric, Relation, SearchSpec, Selector, Stack, ThreatSpec,
    TrainingSpec,
};
pub use figure::{CurveAxis, Facet, Figure};
pub use files::Environment;
pub use load::{load_spec, plugins_of_spec};
pub use number::Number;
pub use parameters::{check_component, parse_component};
pub use partition::Partition;
pub use plan::{Plan, expand};
pub use schema::schema;
pub use search::Search;
pub use spec::{Document, PluginFile};
pub use threat::{Budget, Ensemble, Goal, Norm, REJECTED, Success, TargetRule, Threat, Unit};
pub use traits::{
    Access, AttackTraits, CertificateTraits, ChainTraits, Cost, DatasetTraits, DefenseTraits, GradientMode, LossTraits,
    ModelTraits, OutputShape, RequiredFile, Surrogates,
};
pub use values::{FromValues, Value, Values};
