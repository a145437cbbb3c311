//! Calls the binary in a folder of its own.

use std::fmt;
use std::path::PathBuf;
use std::process::Command;

/// The specs of the repository.
pub(crate) fn specs() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../specs").canonicalize().expect("the repository has specs")
}

/// A spec on the embedded digits that is done in a moment.
pub(crate) const SMALL: &str = r#"
[experiment]
id = "small"

[data]
use = "digits"
samples = 20

[[model]]
id = "standard"
use = "digits-cnn"
weights = "builtin:digits-standard"

[threat]
norm = "linf"
eps = ["0.1", "0.2"]

[[attack]]
use = "fgsm"

[run]
chunk = 10
"#;

/// A folder to call the binary in.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    /// With these files in it.
    pub(crate) fn with(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            let path = folder.path(name);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        }
        folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs_err::read_to_string(self.path(name)).unwrap()
    }

    /// Calls `realsafe-spec` with the words of a line, and a data directory that is empty.
    pub(crate) fn call(&self, line: &str) -> Called {
        self.call_with(line, &self.path("data").display().to_string())
    }

    pub(crate) fn call_with(&self, line: &str, data: &str) -> Called {
        let mut command = Command::new(env!("CARGO_BIN_EXE_realsafe-spec"));
        command.current_dir(self.0.path()).args(line.split_whitespace());
        command.env("REALSAFE_DATA", data).env_remove("NO_COLOR").env_remove("COLUMNS");
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).unwrap();
            text.replace(&self.0.path().display().to_string(), "[FOLDER]")
        };
        Called { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// What a call gave.
pub(crate) struct Called {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl fmt::Display for Called {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code.map_or("none".to_owned(), |code| code.to_string());
        write!(formatter, "exit code: {code}\n--- stdout\n{}--- stderr\n{}", self.stdout, self.stderr)
    }
}
