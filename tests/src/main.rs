//! The program as others link it: a library call, and room for components of one's own.
use std::process::ExitCode;

fn main() -> ExitCode {
    realsafe_spec::main()
}
