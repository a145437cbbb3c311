//! The components of this program. Crates of components are named here, or else the linker leaves them out.

extern crate realsafe_attacks as _;
extern crate realsafe_data as _;
extern crate realsafe_defenses as _;

use realsafe_plan::Catalogue;

use crate::exit::Exit;
use crate::failure::Failure;

/// Everything that is linked in.
pub(crate) fn catalogue() -> Result<Catalogue, Failure> {
    realsafe_core::catalogue().map_err(|message| Failure::new(Exit::Internal, message))
}
