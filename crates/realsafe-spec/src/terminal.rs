//! Writing for people: results to standard output, the rest to standard error.

use std::io::{self, ErrorKind, IsTerminal, Write};

use clap::ValueEnum;

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

/// Writes a result to standard output; a reader that has gone away is no failure.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// Writes a result as JSON to standard output.
pub(crate) fn print_json(value: &serde_json::Value) -> io::Result<()> {
    print(&format!("{value:#}\n"))
}

/// Writes to standard error, where nobody may listen.
pub(crate) fn tell(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

pub(crate) fn error(message: &str) {
    labelled("error", "1;31", message);
}

pub(crate) fn warning(message: &str) {
    labelled("warning", "1;33", message);
}

pub(crate) fn hint(message: &str) {
    labelled("hint", "1;36", message);
}

fn labelled(label: &str, style: &str, message: &str) {
    if colours_stderr() {
        tell(&format!("\u{1b}[{style}m{label}\u{1b}[0m: {message}\n"));
    } else {
        tell(&format!("{label}: {message}\n"));
    }
}

/// Whether standard output takes colours.
pub(crate) fn colours_stdout() -> bool {
    colours(&io::stdout())
}

/// Whether standard error takes colours.
pub(crate) fn colours_stderr() -> bool {
    colours(&io::stderr())
}

fn colours(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// `1 cell`, `2 cells`.
pub(crate) fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{plural}", plural = if number == 1 { "" } else { "s" })
}
