//! Write plugins for realsafe-spec in Rust.
