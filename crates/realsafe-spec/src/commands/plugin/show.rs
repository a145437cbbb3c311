//! `plugin show`: what a trusted plugin says about itself.

use std::fmt::Write;
use std::path::PathBuf;

use realsafe_abi::REALSAFE_MAJOR;
use realsafe_host::{Description, Manifest, Plugin};
use realsafe_plan::{Component, Goal, GradientMode, Norm, Surrogates, Traits};
use realsafe_runner::components;
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
    for component in components(plugin) {
        let _ = write!(text, "\n{} {}\n{}\n", component.kind().name(), component.id, component.summary());
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
            "kind": component.kind().name(),
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
        "components": components(plugin).into_iter().map(component).collect::<Value>(),
    })
}

/// What is particular to the kind of a component: words, or lists of words.
fn facts(component: &Component) -> Vec<(&'static str, Value)> {
    let names = |names: Vec<&str>| Value::from(names);
    match &component.traits {
        Traits::Attack(attack) => {
            let sees = [attack.access.name()]
                .into_iter()
                .chain((attack.surrogates == Surrogates::Needed).then_some("surrogates"));
            let minimises = attack.minimises_distance.then(|| ("minimises", "distance".into()));
            let facts = [
                ("sees", names(sees.collect())),
                ("norms", names(attack.norms.iter().copied().map(Norm::name).collect())),
                ("goals", names(attack.goals.iter().copied().map(Goal::name).collect())),
            ];
            facts.into_iter().chain(minimises).collect()
        }
        Traits::Defense(defense) => {
            vec![("gradients", names(defense.gradients.iter().copied().map(GradientMode::name).collect()))]
        }
        Traits::Model(model) => {
            vec![("gradients", names(model.differentiable.then_some("exact").into_iter().collect()))]
        }
        Traits::Chain(_)
        | Traits::Certificate(_)
        | Traits::Dataset(_)
        | Traits::Recipe
        | Traits::RecipeWithSources
        | Traits::Loss(_) => Vec::new(),
    }
}
