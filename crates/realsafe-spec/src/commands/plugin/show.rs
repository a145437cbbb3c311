//! `plugin show`: what a trusted plugin says about itself.

use std::fmt::Write;
use std::path::PathBuf;

use realsafe_abi::{
    REALSAFE_ACCESS_LABELS, REALSAFE_ACCESS_NONE, REALSAFE_ACCESS_SCORES, REALSAFE_GRADIENT_EXACT,
    REALSAFE_GRADIENT_IDENTITY, REALSAFE_L2, REALSAFE_LINF, REALSAFE_MAJOR, REALSAFE_TARGETED,
    REALSAFE_TARGETED_MISCLASSIFY, REALSAFE_UNTARGETED,
};
use realsafe_host::{Attack, Component, Description, Interface, Manifest, Plugin};
use realsafe_plan::{Access, Goal, GradientMode, Norm};
use serde_json::{Value, json};

use super::load;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::plugins::{Hosting, here};
use crate::terminal::{Format, print, print_json, tell, warning};

/// Show what is in a trusted plugin
#[derive(clap::Args)]
pub(crate) struct Show {
    /// A shared library
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Write the manifest beside it, which tells others what is in it before they trust it
    #[arg(long)]
    write_manifest: bool,
    /// How it is shown
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    hosting: Hosting,
}

impl Show {
    pub(crate) fn execute(&self) -> Outcome {
        let plugin = load(&self.file, &self.hosting)?;
        let description = plugin.description();
        description.warnings.iter().for_each(|text| warning(text));
        match self.format {
            Format::Text => print(&text(&plugin, description))?,
            Format::Json => print_json(&object(&plugin, description))?,
        }
        if self.write_manifest {
            let path = Manifest::of(description)
                .write_beside(&self.file)
                .map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
            tell(&format!("the manifest is in {}\n", path.display()));
        }
        Ok(Exit::Done)
    }
}

fn text(plugin: &Plugin, description: &Description) -> String {
    let mut text = format!("{} {}\n{}\n\n", description.name, description.version, description.documentation);
    let mut fact = |name: &str, value: &str| {
        if !value.is_empty() {
            // Writing into a string cannot fail.
            let _ = writeln!(text, "{name:<9} {value}");
        }
    };
    fact("file", &plugin.path().map(here).unwrap_or_default());
    fact("blake3", &plugin.digest().map(|digest| digest.to_string()).unwrap_or_default());
    fact("licence", &description.licence);
    fact("homepage", &description.homepage);
    fact("abi", &format!("{REALSAFE_MAJOR}.{}", description.minor));
    for component in &description.components {
        let _ = write!(text, "\n{} {}\n{}\n", component.interface.kind(), component.id, component.summary());
        for (name, value) in facts(component) {
            let words = value.as_array().map_or_else(|| vec![&value], |values| values.iter().collect());
            let words: Vec<&str> = words.into_iter().filter_map(Value::as_str).collect();
            let _ = writeln!(text, "  {name:<10}  {}", words.join(", "));
        }
    }
    text
}

fn object(plugin: &Plugin, description: &Description) -> Value {
    let component = |component: &Component| {
        let mut object = json!({
            "kind": component.interface.kind(),
            "name": component.id,
            "revision": component.revision,
            "summary": component.summary(),
        });
        for (name, value) in facts(component) {
            object[name] = value;
        }
        object
    };
    json!({
        "name": description.name,
        "version": description.version,
        "documentation": description.documentation,
        "path": plugin.path().map(|path| path.display().to_string()),
        "blake3": plugin.digest().map(|digest| digest.to_string()),
        "licence": description.licence,
        "homepage": description.homepage,
        "abi": format!("{REALSAFE_MAJOR}.{}", description.minor),
        "components": description.components.iter().map(component).collect::<Value>(),
    })
}

/// What a component says about its interface: words, or lists of words.
fn facts(component: &Component) -> Vec<(&'static str, Value)> {
    let derivative = |pull| ("derivative", if pull { "its own" } else { "none" }.into());
    match component.interface {
        Interface::Attack(attack) => {
            let minimises = attack.minimises_distance.then(|| ("minimises", "distance".into()));
            let facts = [
                ("sees", sees(&attack)),
                ("norms", names(attack.norms, &NORMS)),
                ("goals", names(attack.goals, &GOALS)),
            ];
            facts.into_iter().chain(minimises).collect()
        }
        Interface::Defense(defense) => {
            let gradient = match defense.gradient {
                REALSAFE_GRADIENT_EXACT => GradientMode::Exact,
                REALSAFE_GRADIENT_IDENTITY => GradientMode::Identity,
                _ => GradientMode::Blocked,
            };
            vec![derivative(defense.pull), ("gradient", gradient.name().into())]
        }
        Interface::Model(model) => vec![derivative(model.pull)],
        Interface::Loss => Vec::new(),
    }
}

/// The names of norms by their bits in the ABI.
const NORMS: [(u32, &str); 2] = [(REALSAFE_LINF, Norm::Linf.name()), (REALSAFE_L2, Norm::L2.name())];
/// The names of goals by their bits in the ABI.
const GOALS: [(u32, &str); 3] = [
    (REALSAFE_UNTARGETED, Goal::Untargeted.name()),
    (REALSAFE_TARGETED, Goal::Targeted.name()),
    (REALSAFE_TARGETED_MISCLASSIFY, Goal::TargetedMisclassify.name()),
];

fn names(bits: u32, of: &[(u32, &str)]) -> Value {
    of.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect()
}

/// What an attack sees of its victim, and whether it uses surrogates.
fn sees(attack: &Attack) -> Value {
    let access = match attack.access {
        REALSAFE_ACCESS_NONE => Access::Nothing,
        REALSAFE_ACCESS_LABELS => Access::Labels,
        REALSAFE_ACCESS_SCORES => Access::Scores,
        _ => Access::Gradients,
    };
    [access.name()].into_iter().chain(attack.surrogates.then_some("surrogates")).collect()
}
