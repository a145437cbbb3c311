//! Models from ONNX files, computed with burn's differentiable operations on any device.
//!
//! A file is read by `file`, made into a list of steps by `graph` (missing operators are named, what is constant is computed
//! once, batch norms are folded), and run by the functions in `operators`. Tensors on the device have one static rank
//! (`dense`); sizes and indices, which shape arithmetic computes, stay on the host (`host`).

mod defense_gan;
mod dense;
mod file;
mod graph;
mod host;
mod onnx;
mod operators;
mod signature;
mod source;
mod value;
