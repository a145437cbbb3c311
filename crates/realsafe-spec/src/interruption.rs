//! Ctrl-C and the signals that ask a program to end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal;

static FLAG: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// The flag that says that the user wants the program to stop.
pub(crate) fn flag() -> Arc<AtomicBool> {
    Arc::clone(&FLAG)
}

/// A flag that the first signal raises; the second one ends the program at once.
pub(crate) fn listen() -> Result<Arc<AtomicBool>, Failure> {
    let flag = flag();
    let raised = Arc::clone(&flag);
    let handler = move || {
        if raised.swap(true, Ordering::Relaxed) {
            end();
        }
        terminal::tell("interrupted: stopping after the running step; once more ends at once\n");
    };
    ctrlc::set_handler(handler)
        .map_err(|error| Failure::new(Exit::Internal, format!("cannot listen to signals: {error}")))?;
    Ok(flag)
}

/// What is stored is whole at any moment, so nothing has to be tidied up.
#[expect(clippy::exit, reason = "the user does not want to wait for the running step")]
fn end() -> ! {
    std::process::exit(Exit::Interrupted as i32)
}
