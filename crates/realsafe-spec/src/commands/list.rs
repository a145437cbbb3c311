//! `list`: the components of this program, by kind and name.

use clap::ValueEnum;
use realsafe_plan::{Component, Kind, Origin};
use realsafe_results::table;
use serde_json::json;

use crate::exit::Exit;
use crate::failure::Outcome;
use crate::plugins::PluginOptions;
use crate::terminal::{Format, print, print_json};

/// List attacks, defenses, models, datasets, training recipes and losses
#[derive(clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    plugins: PluginOptions,
    /// What to list [default: everything]
    #[arg(value_enum)]
    what: Option<What>,
    /// How the list is shown
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// A kind in the plural.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    Attacks,
    Defenses,
    Models,
    Datasets,
    Recipes,
    Losses,
}

impl What {
    const fn kind(self) -> Kind {
        match self {
            Self::Attacks => Kind::Attack,
            Self::Defenses => Kind::Defense,
            Self::Models => Kind::Model,
            Self::Datasets => Kind::Dataset,
            Self::Recipes => Kind::Recipe,
            Self::Losses => Kind::Loss,
        }
    }
}

impl List {
    pub(crate) fn execute(&self) -> Outcome {
        let catalogue = self.plugins.components(&[])?.catalogue;
        let wanted = |component: &&Component| self.what.is_none_or(|what| what.kind() == component.kind());
        let components: Vec<&Component> = catalogue.iter().filter(wanted).collect();
        match self.format {
            Format::Text => {
                let row = |component: &&Component| {
                    vec![
                        component.kind().name().to_owned(),
                        component.id.to_owned(),
                        access(component),
                        plugin(component).unwrap_or_default().to_owned(),
                        component.summary(),
                    ]
                };
                print(&table(&["kind", "name", "sees", "plugin", "summary"], 5..5, components.iter().map(row)))?;
            }
            Format::Json => {
                let object = |component: &&Component| {
                    json!({
                        "kind": component.kind().name(),
                        "name": component.id,
                        "access": component.attack().map(|attack| attack.access.name()),
                        "plugin": plugin(component),
                        "summary": component.summary(),
                    })
                };
                print_json(&components.iter().map(object).collect())?;
            }
        }
        Ok(Exit::Done)
    }
}

/// The plugin that a component comes from.
fn plugin(component: &Component) -> Option<&'static str> {
    match component.origin {
        Origin::Crate(_) => None,
        Origin::Plugin { name, .. } => Some(name),
    }
}

/// What an attack sees of its victim.
fn access(component: &Component) -> String {
    component.attack().map_or(String::new(), |attack| attack.access.name().to_owned())
}
