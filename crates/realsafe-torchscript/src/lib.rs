//! Models from TorchScript files, computed by LibTorch itself.
//!
//! `torchscript` is the component, which is there in every build; `module` computes, where LibTorch is compiled in.

#[cfg(feature = "tch")]
mod module;
mod torchscript;
