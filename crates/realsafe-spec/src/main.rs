//! The binary `realsafe-spec`; everything is in the library, so that others can build one with more components.
use std::process::ExitCode;

fn main() -> ExitCode {
    realsafe_spec::main()
}
