//! `[training]`: a training run instead of an experiment.

use std::path::PathBuf;

use super::{Scope, plugins, seed};
use crate::diagnostic::Diagnostic;
use crate::fields::Fields;
use crate::{Kind, TrainingSpec};

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
        let models = self.models(top, images.as_ref().map(|images| (images.shape, images.classes)), true);
        let run = self.run(top);
        plugins::read(top, &mut self.diagnostics);
        let model = match <[_; 1]>::try_from(models) {
            Ok([model]) => model.item,
            Err(models) => {
                let message = format!("a training spec has one [[model]], this one has {}", models.len());
                let place = models.get(1).map_or(&self.start, |model| &model.place);
                self.diagnostics.push(Diagnostic::at(place, message));
                None
            }
        };
        let (recipe, title, seed) = recipe?;
        let images = images?;
        Some(TrainingSpec {
            id: recipe.id,
            title,
            source,
            seed,
            data: images.chosen,
            samples: images.samples,
            shape: images.shape,
            classes: images.classes,
            model: model?,
            recipe: recipe.item?,
            device: run.device,
        })
    }
}
