//! The components of this program. Crates of components are named here, or else the linker leaves them out.

extern crate realsafe_attacks as _;
extern crate realsafe_data as _;
extern crate realsafe_defenses as _;
extern crate realsafe_onnx as _;
extern crate realsafe_torchscript as _;

use std::sync::Arc;

use realsafe_core::Registry;
use realsafe_plan::Catalogue;

/// Everything that specs can name.
pub(crate) struct Components {
    /// What builds them.
    pub(crate) registry: Arc<Registry>,
    /// What describes them.
    pub(crate) catalogue: Catalogue,
}
