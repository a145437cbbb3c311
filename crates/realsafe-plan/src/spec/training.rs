//! `[training]`: a training run instead of an experiment.

use std::path::PathBuf;
use std::sync::Arc;

use super::components::{Named, ids};
use super::shapes::Shape;
use super::{Scope, items, plugins, seed};
use crate::diagnostic::Diagnostic;
use crate::fields::Fields;
use crate::{Chosen, Kind, StackLayer, TrainingSpec, Traits};

impl Scope<'_> {
    /// Reads a training spec.
    pub(super) fn training(&mut self, top: &mut Fields<'_>, source: PathBuf) -> Option<TrainingSpec> {
        let images = self.data(top);
        let recipe = top.node("training").and_then(|node| self.open(Kind::Recipe, node)).map(|mut opened| {
            if opened.fields.entry("id").is_none() {
                self.diagnostics.push(opened.fields.missing("id"));
            }
            let title = opened.fields.text("title", &mut self.diagnostics).unwrap_or_default().to_owned();
            let seed = opened.fields.read("seed", seed, &mut self.diagnostics).unwrap_or(0);
            (self.close(opened, false), title, seed)
        });
        let classes = images.as_ref().map(|images| images.classes);
        let models = self.models(top, "model", classes, true);
        let sources = self.models(top, "source", classes, false);
        let defenses = self.defenses(top);
        for layer in &defenses {
            let random = |layer: &StackLayer| layer.defense.component.defense().is_some_and(|traits| traits.randomised);
            if layer.item.as_ref().is_some_and(random) {
                let message = format!("`{}` draws random numbers, and training takes none that do", layer.id);
                let help = "train without it, and put it into the experiment";
                self.diagnostics.push(Diagnostic::at(&layer.place, message).help(help));
            }
        }
        for layer in &defenses {
            let rejects = |layer: &StackLayer| layer.defense.component.defense().is_some_and(|traits| traits.rejects);
            if layer.item.as_ref().is_some_and(rejects) {
                let message =
                    format!("`{}` judges answers of a trained network, so none is trained behind it", layer.id);
                let help = "train without it, and put it into the experiment";
                self.diagnostics.push(Diagnostic::at(&layer.place, message).help(help));
            }
        }
        let run = self.run(top);
        plugins::read(top, &mut self.diagnostics);
        let model = match <[_; 1]>::try_from(models) {
            Ok([model]) => {
                let layers: Vec<_> = defenses.iter().filter_map(|layer| layer.item.clone()).collect();
                if let Some(images) = images.as_ref().filter(|_| layers.len() == defenses.len()) {
                    let stack = (!layers.is_empty()).then(|| ids(&defenses).join("+"));
                    if let Some(seen) = self.output(&layers, &defenses, images.shape) {
                        self.check_input(&model, stack.as_deref(), seen);
                    }
                }
                model.item
            }
            Err(models) => {
                let message = format!("a training spec has one [[model]], this one has {}", models.len());
                let place = models.get(1).map_or(&self.start, |model| &model.place);
                self.diagnostics.push(Diagnostic::at(place, message));
                None
            }
        };
        let (recipe, title, seed) = recipe?;
        let images = images?;
        self.check_sources(&recipe, &sources, images.shape);
        Some(TrainingSpec {
            id: recipe.id,
            title,
            source,
            seed,
            data: images.chosen,
            samples: images.samples,
            shape: images.shape,
            classes: images.classes,
            defenses: items(defenses)?,
            model: model?,
            sources: items(sources)?,
            recipe: recipe.item?,
            device: run.device,
        })
    }

    /// Complains about sources that the recipe lacks or has no use for, and about those that cannot be attacked.
    fn check_sources(&mut self, recipe: &Named<Chosen>, sources: &[Named<Arc<Chosen>>], images: Shape) {
        let Some(component) = recipe.item.as_ref().map(|chosen| chosen.component) else { return };
        match (matches!(component.traits, Traits::RecipeWithSources), sources.first()) {
            (true, None) => {
                let message = format!("`{}` needs static networks beside the one that it trains", component.id);
                let help = "name one or more as [[source]], each with its `weights`, written like a [[model]]";
                self.diagnostics.push(Diagnostic::at(&recipe.place, message).help(help));
            }
            (false, Some(source)) => {
                let message = format!("`{}` has no use for a [[source]]", component.id);
                self.diagnostics.push(Diagnostic::at(&source.place, message).help("remove it"));
            }
            _ => {}
        }
        for source in sources {
            self.check_input(source, None, images);
            let traits = source.item.as_ref().and_then(|chosen| chosen.component.model());
            if traits.is_some_and(|traits| !traits.differentiable) {
                let message = format!("`{}` has no gradients, and so cannot be attacked in training", source.id);
                self.diagnostics.push(Diagnostic::at(&source.place, message));
            }
        }
    }
}
