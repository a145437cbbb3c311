//! Write plugins for realsafe-spec in Rust.
//!
//! A plugin is a library with components: attacks, defenses, models and losses. Each is a type with a trait,
//! [`Attack`], [`Defense`], [`Model`] or [`Loss`], which works on plain slices of floats. [`plugin!`] collects them into
//! a static, and [`export!`] makes a shared library of that, which specs name without rebuilding realsafe-spec.
//!
//! # An attack
//! This is a whole one. `Cargo.toml` has `crate-type = ["cdylib"]`, a `description` and a `license`, and `src/lib.rs` is:
//!
//! ```
//! //! Follows the gradient once, all the way to the surface of the ball: the fast gradient (sign) method.
//!
//! use realsafe_plugin::{About, Attack, Batch, Cost, Error, LossChoice, Parameter, Plan, Problem, Role, Rows, Values};
//! use realsafe_plugin::{Victim, access};
//!
//! struct OneStep {
//!     loss: LossChoice,
//!     share: f32,
//! }
//!
//! impl Attack for OneStep {
//!     const ABOUT: About = About {
//!         id: "one-step",
//!         revision: 1,
//!         documentation: "Follows the gradient once, all the way to the surface of the ball.",
//!         example: "length = 0.5",
//!         parameters: &[
//!             Parameter::loss("loss").fallback("cross-entropy").documentation("What is raised."),
//!             Parameter::number("length", 0.0, 10.0).fallback("1").unit("eps").documentation("How far it steps."),
//!         ],
//!     };
//!     // With `access::Labels` here, `victim.gradient` would not compile.
//!     type Access = access::Gradients;
//!
//!     fn plan(_: &Values<'_>) -> Result<Plan, Error> {
//!         Ok(Plan { steps: 1, start: Cost::NOTHING, step: Cost::gradients(1) })
//!     }
//!
//!     fn create(_: &Problem, values: &Values<'_>) -> Result<Self, Error> {
//!         Ok(Self { loss: values.loss("loss")?, share: values.number("length")? as f32 })
//!     }
//!
//!     fn start(
//!         &self,
//!         _: &mut Victim<'_, Self::Access>,
//!         _: &Batch<'_>,
//!         _: &mut Rows<'_>,
//!         _: &mut Rows<'_>,
//!     ) -> Result<(), Error> {
//!         Ok(())
//!     }
//!
//!     fn step(
//!         &self,
//!         victim: &mut Victim<'_, Self::Access>,
//!         batch: &Batch<'_>,
//!         iterates: &mut Rows<'_>,
//!         _: &mut Rows<'_>,
//!     ) -> Result<(), Error> {
//!         let (_, mut directions) = victim.gradient(batch.rows(), iterates, self.loss, Role::Iterate)?;
//!         victim.steepest(batch.rows(), &mut directions)?;
//!         let values = batch.problem.shape.values();
//!         for (row, direction) in directions.chunks_exact(values).enumerate() {
//!             for (pixel, change) in iterates.row_mut(row).iter_mut().zip(direction) {
//!                 *pixel += self.share * batch.eps[row] * change;
//!             }
//!         }
//!         victim.project(batch.rows(), iterates)
//!     }
//! }
//!
//! realsafe_plugin::plugin! {
//!     /// The plugin.
//!     pub static PLUGIN: [attack OneStep]
//! }
//! realsafe_plugin::export!(PLUGIN);
//! # fn main() {
//! #     assert_eq!(realsafe_plugin_v1(1), std::ptr::from_ref(PLUGIN.table()));
//! #     assert_eq!(PLUGIN.table().component_count, 1);
//! # }
//! ```
//!
//! # What the host does
//! It owns iterates and state, draws random numbers, counts what is asked of the victim, ends samples that are
//! adversarial, and judges the result itself. Failures of it come back as [`Error`] and are to be passed on with `?`.
//! Panics are caught and fail the cell.
//!
//! # Linking it statically
//! A crate without `export!` can be linked into a binary of one's own, which passes the static to realsafe-spec. A
//! plugin that ships both ways is two crates: a library with the implementation, and a `cdylib` of one line,
//! `realsafe_plugin::export!(my_attack::PLUGIN);`.
//!
//! # Access
//! What an attack did not declare has no method:
//!
//! ```compile_fail,E0599
//! use realsafe_plugin::{Batch, Error, LossChoice, Role, Victim, access};
//!
//! fn ask(victim: &mut Victim<'_, access::Labels>, batch: &Batch<'_>) -> Result<(), Error> {
//!     victim.scores(batch.rows(), batch.images, Role::Probe).map(drop)
//! }
//! ```

mod about;
pub mod access;
mod attack;
mod boundary;
mod defense;
mod error;
mod loss;
mod model;
mod problem;
mod table;
mod values;
mod victim;

pub use about::{About, Parameter};
pub use attack::Attack;
pub use defense::{Defense, Gradient};
pub use error::Error;
pub use loss::Loss;
pub use model::Model;
pub use problem::{Batch, Cost, Goal, NO_CLASS, Norm, Plan, Problem, Rows, Shape};
/// The C ABI, of which hosts read tables and [`export!`] names one.
pub use realsafe_abi as abi;
pub use table::{Component, Package, Plugin};
pub use values::{LossChoice, Values};
pub use victim::{Role, Stream, Tape, Victim};
