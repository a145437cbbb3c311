//! Defenses, models and losses of plugins.

use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};
use realsafe_abi::REALSAFE_NO_CLASS;
use realsafe_core::{Built, Defense, Draws, Locations, Logits, Loss, Model, Stop, Tape, read};
use realsafe_host::{Argument, DefenseInstance, LossInstance, ModelInstance, ParameterKind, Shape};
use realsafe_plan::Values;

use super::{Part, stop};

impl Part {
    /// The arguments of the component, files included.
    pub(super) fn arguments(&self, values: &Values, locations: &Locations) -> Result<Vec<Argument>, String> {
        let mut arguments = self.early(values);
        for (parameter, argument) in
            self.plugin.description().components[self.index].parameters.iter().zip(&mut arguments)
        {
            if parameter.kind == ParameterKind::File && values.is_set(&parameter.name) {
                let name = values.text(&parameter.name);
                if name.starts_with("builtin:") {
                    return Err(format!("`{name}` belongs to the program; plugins take files of the data directory"));
                }
                let path = locations.file(name);
                let bytes = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
                *argument = Argument::File(name.to_owned(), bytes);
            }
        }
        Ok(arguments)
    }

    /// The name of the component, for messages.
    pub(super) fn id(&self) -> &str {
        &self.plugin.description().components[self.index].id
    }
}

struct PluginDefense {
    id: String,
    instance: DefenseInstance,
}

pub(super) fn defense(part: &Part, values: &Values, locations: &Locations) -> Built<dyn Defense> {
    let instance = part.plugin.defense(part.index, &part.arguments(values, locations)?);
    let instance = instance.map_err(|failure| failure.message)?;
    Ok(Box::new(PluginDefense { id: part.id().to_owned(), instance }))
}

impl Defense for PluginDefense {
    fn forward(&self, images: Tensor<4>, _: &Draws) -> Result<Tensor<4>, Stop> {
        let (dims, device) = (images.dims(), images.device());
        let seen = self.instance.forward(shape(dims), &read(images)?).map_err(|failure| stop(&self.id, failure))?;
        Ok(Tensor::from_data(TensorData::new(seen, dims), &device))
    }

    fn backward(&self, images: Tensor<4>, cotangent: Tensor<4>, _: &Draws) -> Result<Tensor<4>, Stop> {
        let (dims, device) = (images.dims(), images.device());
        let gradient = self.instance.pull(shape(dims), &read(images)?, &read(cotangent)?);
        let gradient = gradient.map_err(|failure| stop(&self.id, failure))?;
        Ok(Tensor::from_data(TensorData::new(gradient, dims), &device))
    }
}

/// The shape of images; how many classes there are does not matter here.
fn shape([_, channels, height, width]: [usize; 4]) -> Shape {
    let [channels, height, width] = [channels, height, width].map(|size| u32::try_from(size).unwrap_or(u32::MAX));
    Shape { channels, height, width, classes: 0 }
}

struct PluginModel {
    id: String,
    instance: Arc<ModelInstance>,
}

pub(super) fn model(part: &Part, values: &Values, locations: &Locations) -> Built<dyn Model> {
    let instance = part.plugin.model(part.index, &part.arguments(values, locations)?);
    let instance = Arc::new(instance.map_err(|failure| failure.message)?);
    Ok(Box::new(PluginModel { id: part.id().to_owned(), instance }))
}

impl Model for PluginModel {
    fn logits(&self, images: Tensor<4>, _: &Draws) -> Result<Tensor<2>, Stop> {
        let (rows, device) = (images.dims()[0], images.device());
        let logits = self.instance.logits(&read(images)?).map_err(|failure| stop(&self.id, failure))?;
        Ok(Tensor::from_data(TensorData::new(logits, [rows, self.instance.shape().classes as usize]), &device))
    }

    fn forward(&self, images: Tensor<4>, draws: &Draws) -> Result<Tape, Stop> {
        let logits = self.logits(images.clone(), draws)?;
        let (id, instance) = (self.id.clone(), Arc::clone(&self.instance));
        Ok(Tape::new(logits, move |cotangents| {
            let (dims, device) = (images.dims(), images.device());
            let gradient = instance.pull(&read(images)?, &read(cotangents)?).map_err(|failure| stop(&id, failure))?;
            Ok(Tensor::from_data(TensorData::new(gradient, dims), &device))
        }))
    }
}

struct PluginLoss {
    id: String,
    instance: LossInstance,
}

pub(super) fn loss(part: &Part, values: &Values, locations: &Locations) -> Built<dyn Loss> {
    let instance = part.plugin.loss(part.index, &part.arguments(values, locations)?);
    let instance = instance.map_err(|failure| failure.message)?;
    Ok(Box::new(PluginLoss { id: part.id().to_owned(), instance }))
}

impl Loss for PluginLoss {
    fn evaluate(
        &self,
        logits: &Logits,
        labels: &[u32],
        targets: &[Option<u32>],
        derivatives: &mut [f32],
    ) -> Result<Vec<f32>, Stop> {
        let classes = u32::try_from(logits.classes()).unwrap_or(u32::MAX);
        let evaluated = self.instance.evaluate(classes, logits.values(), labels, &numbers(targets));
        let (values, found) = evaluated.map_err(|failure| stop(&self.id, failure))?;
        derivatives.copy_from_slice(&found);
        Ok(values)
    }
}

/// Targets as plugins get them.
pub(super) fn numbers(targets: &[Option<u32>]) -> Vec<u32> {
    targets.iter().map(|target| target.unwrap_or(REALSAFE_NO_CLASS)).collect()
}
