//! `check`: reads specs and the files that they name, and runs nothing.

use realsafe_plan::{Catalogue, Diagnostics, Document, Plan};
use serde_json::{Value, json};

use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::find::{Found, Role, find};
use crate::selection::Overrides;
use crate::terminal::{self, Format, print, print_json};

/// Check specs and the files that they name, without running anything
#[derive(clap::Args)]
pub(crate) struct Check {
    /// Specs, folders that are searched for them, or patterns such as 'specs/mnist-*.toml'
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<String>,
    #[command(flatten)]
    overrides: Overrides,
    /// How the list is shown
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What became of a file.
struct Checked {
    found: Found,
    /// What it is, in words.
    says: String,
    mistakes: Diagnostics,
}

impl Check {
    pub(crate) fn execute(&self) -> Outcome {
        let found = find(&self.paths)?;
        let specs: Vec<_> = found.iter().map(|found| found.path.as_path()).collect();
        let catalogue = self.overrides.plugins.components(&specs)?.catalogue;
        let mut experiments = Vec::new();
        let mut checked = Vec::new();
        for found in found {
            let (says, mistakes) = match self.load(&found, &catalogue) {
                Ok(None) => ("a base of other specs, checked with those".to_owned(), Diagnostics::default()),
                Ok(Some(Document::Training(training))) => {
                    (format!("training run {}", training.id), Diagnostics::default())
                }
                Ok(Some(Document::Experiment(experiment))) => {
                    let says = format!("experiment {}", experiment.id);
                    experiments.push(experiment);
                    (says, Diagnostics::default())
                }
                Err(mistakes) => (terminal::count(mistakes.sorted().len(), "mistake"), mistakes),
            };
            checked.push(Checked { found, says, mistakes });
        }
        let clashes = Plan::new(experiments, "").err().unwrap_or_default();
        match self.format {
            Format::Text => print(&checked.iter().map(line).collect::<String>())?,
            Format::Json => print_json(&checked.iter().map(object).collect())?,
        }
        let mut all = clashes;
        checked.into_iter().for_each(|checked| all.merge(checked.mistakes));
        if all.is_empty() { Ok(Exit::Done) } else { Err(Failure::Mistakes(all)) }
    }

    /// Reads a file, unless it is a base.
    fn load(&self, found: &Found, catalogue: &Catalogue) -> Result<Option<Document>, Diagnostics> {
        if found.role == Role::Base { Ok(None) } else { self.overrides.load(found, catalogue).map(Some) }
    }
}

fn line(checked: &Checked) -> String {
    let mark = match (checked.found.role, checked.mistakes.is_empty()) {
        (Role::Base, _) => "-",
        (_, true) => "✓",
        (_, false) => "✗",
    };
    format!("{mark} {}: {}\n", checked.found.path.display(), checked.says)
}

fn object(checked: &Checked) -> Value {
    let mistakes = checked.mistakes.sorted().into_iter().map(|mistake| {
        let place = mistake.place.as_ref();
        json!({
            "message": mistake.message,
            "file": place.map(|place| &place.source.name),
            "span": place.map(|place| [place.span.start, place.span.end]),
            "help": mistake.help,
        })
    });
    json!({
        "path": checked.found.path.display().to_string(),
        "kind": checked.says,
        "mistakes": mistakes.collect::<Vec<_>>(),
    })
}
