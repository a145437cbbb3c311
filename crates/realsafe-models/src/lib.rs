//! Networks on burn, one component per file, and the weights they are given.
//!
//! [`builtin_weights`] holds the weights that the program carries; others are read from `.safetensors` files and from
//! PyTorch checkpoints without executing anything in them. Every network is registered twice: as a model, in
//! evaluation state, and as a [`Trainable`](realsafe_core::Trainable).

mod bounds;
mod builtin;
mod dual;
mod ensemble;
mod ensemble_training;
pub mod foreign;
mod head;
mod inner;
mod layers;
mod network;
mod networks;
mod sequence;
mod style;
mod training;
mod weights;

pub use builtin::builtin_weights;
pub use layers::Normalisation;

#[cfg(test)]
mod tests;
