//! Whether images, changed by the defenses in front of a model, have the shape that it takes.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Scope;
use super::components::Named;
use super::matrix::Axes;
use crate::diagnostic::Diagnostic;
use crate::experiment::Combination;
use crate::{Chosen, StackLayer};

/// Channels, height and width.
pub(super) type Shape = [usize; 3];

impl Scope<'_> {
    /// Follows images of the dataset through the stack of every combination to its model, and straight to surrogates.
    pub(super) fn check_inputs(
        &mut self,
        axes: &Axes<'_>,
        defenses: &[Named<StackLayer>],
        combinations: &[Combination],
        images: Shape,
    ) {
        let mut told = BTreeSet::new();
        for stack in combinations.iter().map(|combination| combination.stack).collect::<BTreeSet<_>>() {
            let Some(layers) = &axes.stacks[stack].item else { continue };
            let Some(seen) = self.output(&layers.layers, defenses, images) else { continue };
            let behind = combinations.iter().filter(|combination| combination.stack == stack);
            for model in behind.map(|combination| combination.model).collect::<BTreeSet<_>>() {
                let stack = (!layers.layers.is_empty()).then_some(axes.stacks[stack].id.as_str());
                if told.insert((model, seen)) {
                    self.check_input(&axes.models[model], stack, seen);
                }
            }
        }
        let attacks: BTreeSet<usize> = combinations.iter().map(|combination| combination.attack).collect();
        let surrogates = attacks.into_iter().filter_map(|attack| axes.attacks[attack].item.as_ref());
        for surrogate in surrogates.flat_map(|attack| &attack.choice.surrogates) {
            let model = axes.models.iter().position(|model| model.id == surrogate.id);
            if let Some(model) = model.filter(|model| told.insert((*model, images))) {
                self.check_input(&axes.models[model], None, images);
            }
        }
    }

    /// The shape of images behind defenses; none where one of them cannot take them, after a complaint.
    pub(super) fn output(
        &mut self,
        layers: &[StackLayer],
        defenses: &[Named<StackLayer>],
        images: Shape,
    ) -> Option<Shape> {
        layers.iter().try_fold(images, |shape, StackLayer { defense, .. }| {
            let output = defense.component.defense()?.output;
            output(&defense.values, shape)
                .map_err(|reason| {
                    let place = defenses.iter().find(|named| named.id == defense.id).map(|named| &named.place);
                    let message = format!("`{}` cannot be applied to images of {}: {reason}", defense.id, show(shape));
                    let problem = Diagnostic::at(place.unwrap_or(&self.start), message);
                    self.diagnostics.push(problem.label("channels x height x width"));
                })
                .ok()
        })
    }

    /// Compares what a model takes with what it gets to see, from the dataset or from a stack.
    pub(super) fn check_input(&mut self, model: &Named<Arc<Chosen>>, stack: Option<&str>, seen: Shape) {
        let Some(chosen) = &model.item else { return };
        // Parameters that do not fit are told with the model.
        let Some(Ok(input)) = chosen.component.model().map(|traits| (traits.input)(&chosen.values)) else { return };
        if input != seen {
            let giver = match stack {
                Some(stack) => format!("the defenses `{stack}` give"),
                None => "the dataset has".to_owned(),
            };
            let message =
                format!("`{}` takes images of {}, but {giver} images of {}", model.id, show(input), show(seen));
            self.diagnostics.push(Diagnostic::at(&model.place, message).label("channels x height x width"));
        }
    }
}

fn show([channels, height, width]: Shape) -> String {
    format!("{channels}x{height}x{width}")
}
