//! `plugin new`: a folder with a small plugin that works, and all that it takes to build it.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use realsafe_core::Registry;
use realsafe_host::{is_kebab_case, manifest_path};
use realsafe_plan::Kind;

use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::terminal::print;

/// Write a small plugin that works, ready to be built and changed
#[derive(clap::Args)]
pub(crate) struct New {
    /// The name of the plugin and of its component: `my-attack`
    name: String,
    /// The language
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    language: Language,
    /// What is in it
    #[arg(long, value_enum, default_value_t = What::Attack)]
    kind: What,
    /// The folder that is made [default: ./NAME]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Language {
    Rust,
    C,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    Attack,
    Defense,
    Model,
    Loss,
}

/// A file: its path in the folder, and its text. Placeholders in both are such as `{{name}}`.
type Template = (&'static str, &'static str);

/// What a kind is called, and what is particular to it.
struct Particulars {
    kind: Kind,
    description: &'static str,
    source: &'static str,
    example: &'static str,
    /// What `check` and `run` need beside the plugin.
    options: &'static str,
    files: &'static [Template],
}

impl What {
    const fn particulars(self) -> Particulars {
        match self {
            Self::Attack => Particulars {
                kind: Kind::Attack,
                description: "An attack with gradients",
                source: include_str!("templates/rust/attack.rs"),
                example: include_str!("templates/attack.toml.in"),
                options: "",
                files: &[],
            },
            Self::Defense => Particulars {
                kind: Kind::Defense,
                description: "A defense with a derivative of its own",
                source: include_str!("templates/rust/defense.rs"),
                example: include_str!("templates/defense.toml.in"),
                options: "",
                files: &[],
            },
            Self::Model => Particulars {
                kind: Kind::Model,
                description: "A linear model",
                source: include_str!("templates/rust/model.rs"),
                example: include_str!("templates/model.toml.in"),
                options: " --data .",
                files: &[(
                    "templates.csv",
                    include_str!("../../../../../plugins/nearest-centroid/digits-centroids.csv"),
                )],
            },
            Self::Loss => Particulars {
                kind: Kind::Loss,
                description: "A loss",
                source: include_str!("templates/rust/loss.rs"),
                example: include_str!("templates/loss.toml.in"),
                options: "",
                files: &[],
            },
        }
    }
}

/// Files of the SDK, which lie in `crates/` here and in `sdk/` there.
macro_rules! sdk {
    ($($path:literal),+ $(,)?) => {
        [$((concat!("sdk/", $path), include_str!(concat!("../../../../", $path)))),+]
    };
}

/// What plugins in Rust are built with; a folder that lacks a file of it does not build.
const SDK: [Template; 14] = sdk![
    "realsafe-abi/src/lib.rs",
    "realsafe-plugin/src/about.rs",
    "realsafe-plugin/src/access.rs",
    "realsafe-plugin/src/attack.rs",
    "realsafe-plugin/src/boundary.rs",
    "realsafe-plugin/src/defense.rs",
    "realsafe-plugin/src/error.rs",
    "realsafe-plugin/src/lib.rs",
    "realsafe-plugin/src/loss.rs",
    "realsafe-plugin/src/model.rs",
    "realsafe-plugin/src/problem.rs",
    "realsafe-plugin/src/table.rs",
    "realsafe-plugin/src/values.rs",
    "realsafe-plugin/src/victim.rs",
];

const RUST: [Template; 6] = [
    ("Cargo.toml", include_str!("templates/rust/Cargo.toml.in")),
    ("rustfmt.toml", include_str!("../../../../../rustfmt.toml")),
    ("README.md", include_str!("templates/rust/README.md.in")),
    (".gitignore", "/target\n/results\n"),
    ("sdk/realsafe-abi/Cargo.toml", include_str!("templates/sdk/realsafe-abi.toml.in")),
    ("sdk/realsafe-plugin/Cargo.toml", include_str!("templates/sdk/realsafe-plugin.toml.in")),
];

const C: [Template; 5] = [
    ("{{name}}.c", include_str!("templates/c/attack.c")),
    ("realsafe_plugin.h", include_str!("../../../../realsafe-abi/realsafe_plugin.h")),
    ("Makefile", include_str!("templates/c/Makefile.in")),
    ("README.md", include_str!("templates/c/README.md.in")),
    (".gitignore", "*.so\n/results\n"),
];

impl New {
    pub(crate) fn execute(&self) -> Outcome {
        let Particulars { kind, description, source, example, options, files } = self.kind.particulars();
        self.check(kind)?;
        let folder = self.dir.clone().unwrap_or_else(|| PathBuf::from(&self.name));
        if fs_err::symlink_metadata(&folder).is_ok() {
            let message = format!("{} is there already", folder.display());
            return Err(Failure::new(Exit::Usage, message).hint("choose another folder with --dir"));
        }
        let (library, build) = match self.language {
            Language::Rust => {
                let file = self.name.replace('-', "_");
                (format!("target/release/{DLL_PREFIX}{file}{DLL_SUFFIX}"), "cargo build --release")
            }
            Language::C => (format!("{}.so", self.name), "make"),
        };
        let manifest = manifest_path(Path::new(&library)).display().to_string();
        let words = [
            ("{{name}}", self.name.as_str()),
            ("{{description}}", description),
            ("{{library}}", &library),
            ("{{manifest}}", &manifest),
            ("{{options}}", options),
            ("{{version}}", env!("CARGO_PKG_VERSION")),
            ("{{licence}}", env!("CARGO_PKG_LICENSE")),
        ];
        let example = [include_str!("templates/head.toml.in"), example].concat();
        let mut templates = vec![("example.toml", example.as_str())];
        match self.language {
            Language::Rust => {
                templates.push(("src/lib.rs", source));
                templates.extend(RUST.iter().chain(files).copied());
            }
            Language::C => templates.extend(C),
        }
        for (path, text) in templates {
            write(&folder.join(fill(path, &words)), &fill(text, &words))?;
        }
        if self.language == Language::Rust {
            for (path, text) in SDK {
                write(&folder.join(path), text)?;
            }
        }
        print(&format!(
            "{folder}: {description} in {language}; README.md tells the rest\n\n  cd {folder}\n  {build}\n  \
             realsafe-spec plugin trust {library}\n  realsafe-spec plugin check {library}{options}\n  \
             realsafe-spec run example.toml --plugin {library}{options}\n",
            folder = folder.display(),
            language = if self.language == Language::Rust { "Rust" } else { "C" },
        ))?;
        Ok(Exit::Done)
    }

    /// Refuses what could not be built or used.
    fn check(&self, kind: Kind) -> Result<(), Failure> {
        let name = &self.name;
        let refuse = |message: String, hint: &str| Err(Failure::new(Exit::Usage, message).hint(hint));
        if !is_kebab_case(name) {
            return refuse(
                format!("`{name}` is not in kebab case"),
                "small letters, digits and hyphens: `my-attack-2`",
            );
        }
        if SDK.iter().any(|(path, _)| path.split('/').nth(1) == Some(name)) {
            return refuse(format!("`{name}` is the name of a part of the SDK"), "choose another name");
        }
        let registry = Registry::linked();
        let catalogue = registry.catalogue().map_err(|message| Failure::new(Exit::Internal, message))?;
        if catalogue.iter().any(|component| component.kind() == kind && component.id == name) {
            let kind = kind.name();
            return refuse(format!("this program has a built-in {kind} named `{name}`"), "choose another name");
        }
        if self.language == Language::C && kind != Kind::Attack {
            let message = format!("there is no template of a {} in C", kind.name());
            return refuse(message, "use `--language rust`, or write an attack and start from its header");
        }
        Ok(())
    }
}

fn fill(text: &str, words: &[(&str, &str)]) -> String {
    words.iter().fold(text.to_owned(), |text, (placeholder, word)| text.replace(placeholder, word))
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    if let Some(folder) = path.parent() {
        fs_err::create_dir_all(folder)?;
    }
    Ok(fs_err::write(path, text)?)
}
