//! `explain`: the manual of a component, with everything that can be set.

use std::fmt::Write;

use realsafe_plan::{
    Access, AttackTraits, Catalogue, Component, Cost, Fallback, Goal, GradientMode, Kind, Norm, Origin, Parameter,
    ParameterKind, Surrogates, nearest, parse_component,
};
use realsafe_results::table;
use serde_json::{Value, json};

use crate::data_directory::DataDirectory;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::plugins::PluginOptions;
use crate::terminal::{Format, print, print_json};

/// Explain an attack, defense, model, dataset, training recipe or loss
#[derive(clap::Args)]
pub(crate) struct Explain {
    #[command(flatten)]
    plugins: PluginOptions,
    /// Its name, as `use` takes it
    name: String,
    #[command(flatten)]
    data: DataDirectory,
    /// How it is shown
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Explain {
    pub(crate) fn execute(&self) -> Outcome {
        let catalogue = self.plugins.components(&[])?.catalogue;
        let found: Vec<&'static Component> = catalogue.iter().filter(|component| component.id == self.name).collect();
        if found.is_empty() {
            let near = nearest(&self.name, catalogue.iter().map(|component| component.id));
            let hint = near.map_or_else(
                || "`realsafe-spec list` shows all names".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            return Err(Failure::new(Exit::Usage, format!("there is no component `{}`", self.name)).hint(hint));
        }
        match self.format {
            Format::Text => {
                print(&found.iter().map(|component| self.text(component, &catalogue)).collect::<Vec<_>>().join("\n\n"))?
            }
            Format::Json => print_json(&found.iter().map(|component| object(component)).collect())?,
        }
        Ok(Exit::Done)
    }

    fn text(&self, component: &'static Component, catalogue: &Catalogue) -> String {
        let kind = component.kind().name();
        let mut text = format!("{} ({kind}{})\n\n{}\n", component.id, origin(component), component.manual().trim_end());
        if let Some(attack) = component.attack() {
            text += &format!("\n## Facts\n{}", self.attack(component, attack, catalogue));
        }
        if let Some((norms, goals)) = component.threats().filter(|_| component.attack().is_none()) {
            let norms: Vec<&str> = norms.iter().copied().map(Norm::name).collect();
            let goals: Vec<&str> = goals.iter().copied().map(Goal::name).collect();
            text += &format!("\n## Facts\nnorms: {}\ngoals: {}\n", norms.join(", "), goals.join(", "));
        }
        if let Some(defense) = component.defense() {
            let modes: Vec<&str> = defense.gradients.iter().copied().map(GradientMode::name).collect();
            text += &format!(
                "\n## Facts\ngradients that an attacker can be given: {}; the first is the default\n",
                modes.join(", ")
            );
            let facts = [
                (
                    defense.randomised,
                    "draws random numbers: its verdicts are shares of draws, and attacks average with `eot`",
                ),
                (defense.optimises, "solves an optimisation problem for every image: attacks have to be adapted to it"),
                (defense.projects, "projects images: attacks can vary the codes of those that it leaves as they are"),
                (
                    defense.rejects,
                    "may reject images: a rejected image is no success, and a rejected clean image an error",
                ),
            ];
            facts.iter().filter(|(holds, _)| *holds).for_each(|(_, fact)| text += &format!("{fact}\n"));
        }
        if !component.parameters.is_empty() {
            text += &format!("\n## Parameters\n{}", parameters(component.parameters));
        }
        text += &format!("\n## Example\n{}", example(component));
        text.trim_end().to_owned() + "\n"
    }

    fn attack(&self, component: &'static Component, attack: &AttackTraits, catalogue: &Catalogue) -> String {
        let names = |names: Vec<&str>| names.join(", ");
        let mut text = String::new();
        // Writing into a string cannot fail.
        let surrogates = match attack.surrogates {
            Surrogates::Unused => "",
            Surrogates::Needed => ", and gradients of surrogates",
            Surrogates::Transfer => "; where surrogates are named, theirs alone (transfer)",
        };
        let _ = writeln!(text, "sees: {}{surrogates}", sees(attack.access));
        let _ = writeln!(text, "norms: {}", names(attack.norms.iter().copied().map(Norm::name).collect()));
        let _ = writeln!(text, "goals: {}", names(attack.goals.iter().copied().map(Goal::name).collect()));
        if attack.minimises_distance {
            let _ = writeln!(text, "looks for the smallest distance: runs once, whatever the list of eps");
        }
        if let Ok(chosen) = parse_component(component, "", catalogue, &self.data.environment())
            && let Ok(Cost { queries, forwards, backwards }) = (attack.cost)(&chosen.values)
        {
            let _ = writeln!(
                text,
                "cost per sample by default, at most: {queries} queries, {forwards} forward and {backwards} backward passes"
            );
        }
        text
    }
}

/// How a spec uses a component.
fn example(component: &Component) -> String {
    let (id, keys) = (component.id, component.example.trim_end());
    let header = match component.kind() {
        Kind::Attack => "[[attack]]",
        Kind::Defense => "[[defense]]",
        Kind::Model => "[[model]]",
        Kind::Dataset => "[data]",
        Kind::Recipe => "[training]",
        Kind::Loss => {
            let keys: String = keys.lines().map(|line| format!(", {line}")).collect();
            return if keys.is_empty() {
                format!("loss = \"{id}\"")
            } else {
                format!("loss = {{ use = \"{id}\"{keys} }}")
            };
        }
    };
    format!("{header}\nuse = \"{id}\"\n{keys}")
}

/// The plugin that a component comes from, after its kind.
fn origin(component: &Component) -> String {
    match component.origin {
        Origin::Crate(_) => String::new(),
        plugin @ Origin::Plugin { .. } => format!(", of {plugin}"),
    }
}

const fn sees(access: Access) -> &'static str {
    match access {
        Access::Nothing => "nothing (transfer: judged once, at the end)",
        Access::Labels => "predicted labels (decision-based)",
        Access::Scores => "logits (score-based)",
        Access::Gradients => "logits and gradients (white-box)",
    }
}

fn parameters(parameters: &[Parameter]) -> String {
    let row = |parameter: &Parameter| {
        let (name, unit) = (parameter.name.to_owned(), parameter.unit.to_owned());
        vec![
            name,
            takes(parameter.kind),
            fallback(parameter.fallback).to_owned(),
            unit,
            parameter.documentation.to_owned(),
        ]
    };
    table(&["name", "takes", "default", "unit", "meaning"], 5..5, parameters.iter().map(row))
}

/// What a parameter takes, with its range.
fn takes(kind: ParameterKind) -> String {
    match kind {
        ParameterKind::Flag => "true or false".to_owned(),
        ParameterKind::Count { minimum, maximum } => format!("whole number, {minimum} to {maximum}"),
        ParameterKind::Number { minimum, maximum } => format!("number, {minimum} to {maximum}"),
        ParameterKind::Numbers { minimum, maximum } => format!("list of numbers, {minimum} to {maximum}"),
        ParameterKind::Choice(words) => words.join(" | "),
        ParameterKind::Text => "text".to_owned(),
        ParameterKind::File => "file".to_owned(),
        ParameterKind::Loss => "loss".to_owned(),
        ParameterKind::Dataset => "dataset".to_owned(),
        ParameterKind::Models => "ids of models of the spec, at least two".to_owned(),
    }
}

const fn fallback(fallback: Fallback) -> &'static str {
    match fallback {
        Fallback::Required => "required",
        Fallback::Unset => "unset",
        Fallback::Value(text) => text,
    }
}

fn object(component: &Component) -> Value {
    let parameters = component.parameters.iter().map(|parameter| {
        json!({
            "name": parameter.name,
            "takes": takes(parameter.kind),
            "default": fallback(parameter.fallback),
            "unit": parameter.unit,
            "meaning": parameter.documentation,
        })
    });
    let attack = component.attack().map(|attack| {
        json!({
            "access": attack.access.name(),
            "norms": attack.norms.iter().copied().map(Norm::name).collect::<Vec<_>>(),
            "goals": attack.goals.iter().copied().map(Goal::name).collect::<Vec<_>>(),
            "minimises_distance": attack.minimises_distance,
        })
    });
    let gradients = component
        .defense()
        .map(|defense| defense.gradients.iter().copied().map(GradientMode::name).collect::<Vec<_>>());
    json!({
        "kind": component.kind().name(),
        "name": component.id,
        "revision": component.revision,
        "origin": component.origin.to_string(),
        "manual": component.manual(),
        "attack": attack,
        "gradients": gradients,
        "parameters": parameters.collect::<Vec<_>>(),
        "example": component.example,
    })
}
