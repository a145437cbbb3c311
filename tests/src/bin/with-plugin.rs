//! The program with a plugin linked into it, as anybody can build one of their own.

use std::process::ExitCode;

fn main() -> ExitCode {
    realsafe_spec::main_with(&[pgd::PLUGIN.table()])
}
