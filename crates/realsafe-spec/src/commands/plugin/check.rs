//! `plugin check`: whether the components of a trusted plugin keep what the host builds on.

use std::path::PathBuf;

use realsafe_abi::REALSAFE_MAJOR;
use realsafe_core::Registry;
use realsafe_runner::{Finding, conformance, register};
use serde_json::{Value, json};

use super::load;
use crate::data_directory::DataDirectory;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::plugins::{Hosting, here};
use crate::terminal::{self, Format, print, print_json};

/// Check that a trusted plugin keeps what results are built on: ball and box, declared cost, determinism, independence
/// of the batch, budgets, cancellation, gradients
#[derive(clap::Args)]
pub(crate) struct Check {
    /// A shared library
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    data: DataDirectory,
    /// How the findings are shown
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    hosting: Hosting,
}

impl Check {
    pub(crate) fn execute(&self) -> Outcome {
        let plugin = load(&self.file, &self.hosting)?;
        let description = plugin.description();
        description.warnings.iter().for_each(|warning| terminal::warning(warning));
        let refuse = |message: String| Failure::new(Exit::Refused, format!("{}: {message}", here(&self.file)));
        let mut registry = Registry::linked();
        register(&plugin, &mut registry).map_err(refuse)?;
        let catalogue = registry.catalogue().map_err(refuse)?;
        let mut findings = Vec::new();
        if self.format == Format::Text {
            // Sizes, versions, pointers and texts were checked while it was loaded; what fails there is refused.
            let (name, minor) = (&description.name, description.minor);
            let components = terminal::count(description.components.len(), "component");
            print(&format!("✓ {name}: its table is one of ABI {REALSAFE_MAJOR}.{minor}, with {components}\n"))?;
        }
        conformance(&plugin, &registry, &catalogue, &self.data.environment(), &mut |finding| {
            if self.format == Format::Text {
                // Each finding at once: checks of slow components take their time.
                let _ = print(&line(&finding));
            }
            findings.push(finding);
        });
        if self.format == Format::Json {
            print_json(&findings.iter().map(object).collect())?;
        }
        let failed = findings.iter().filter(|finding| finding.problem.is_some()).count();
        if failed == 0 {
            return Ok(Exit::Done);
        }
        let message = format!("{} of {} failed", terminal::count(failed, "check"), findings.len());
        Err(Failure::new(Exit::Failed, message))
    }
}

fn line(finding: &Finding) -> String {
    match &finding.problem {
        None => format!("✓ {}: {}\n", finding.component, finding.check),
        Some(problem) => format!("✗ {}: {}: {}\n", finding.component, finding.check, problem.trim_end()),
    }
}

fn object(finding: &Finding) -> Value {
    json!({ "component": finding.component, "check": finding.check, "problem": finding.problem })
}
