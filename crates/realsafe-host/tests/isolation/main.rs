//! The same plugin in this process and in worker processes: equal where it behaves, contained where it does not.

mod containment;
mod driver;
mod equality;
mod examples;
#[path = "../support/library.rs"]
mod library;
mod oracle;

use std::process::ExitCode;

use driver::{Behaviour, ROLE, ending, isolated, workers};
use library::Library;
use oracle::Oracle;
use realsafe_host::serve;

/// Not a test: the worker processes of the others.
#[test]
fn worker_entry() {
    if std::env::var_os(ROLE).is_some_and(|role| role == "worker") {
        let code = serve();
        assert_eq!(code, ExitCode::SUCCESS);
        std::process::exit(0);
    }
}

/// Not a test: a host that is killed while its plugin hangs.
#[test]
fn host_entry() {
    if std::env::var_os(ROLE).is_some_and(|role| role == "host") {
        let library = Library::compile("components", &[]);
        let hear = |message: &str| println!("\n{message}");
        let _ = ending(&isolated(&library, workers()), Behaviour::Process, &mut Oracle { hear, ..Oracle::default() });
    }
}
