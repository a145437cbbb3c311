//! A TorchScript module as a model.
//!
//! Images and logits pass through the memory of the host: burn gives its LibTorch tensors away only where its extensions are
//! compiled in, which every crate would have to be.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use realsafe_core::{ComponentFailure, Draws, Model, Stop, Tape, device, read};
use realsafe_models::Normalisation;
use tch::{CModule, Kind, TchError};

/// A module on the device of LibTorch that it was loaded to.
pub(crate) struct Module {
    module: CModule,
    device: tch::Device,
    normalisation: Normalisation,
    classes: usize,
}

impl Module {
    /// Reads a module and puts it into evaluation state.
    pub(crate) fn load(
        path: &Path,
        normalisation: Normalisation,
        classes: usize,
        device: &Device,
    ) -> Result<Self, String> {
        let device = device::libtorch(device)
            .ok_or("LibTorch computes TorchScript files: run with `--device tch`".to_owned())?;
        let mut module = CModule::load_on_device(path, device).map_err(first_line)?;
        module.f_set_eval().map_err(first_line)?;
        for (_, parameter) in module.named_parameters().map_err(first_line)? {
            let _: tch::Tensor = parameter.set_requires_grad(false);
        }
        Ok(Self { module, device, normalisation, classes })
    }

    /// Logits of images.
    pub(crate) fn run(&self, images: Tensor<4>) -> Result<Tensor<2>, String> {
        let device = images.device();
        let images = self.place(self.normalisation.forward(images)).map_err(|stop| stop.to_string())?;
        let logits = tch::no_grad(|| self.compute(&images))?;
        take(&logits, &device).map_err(first_line)
    }

    fn compute(&self, images: &tch::Tensor) -> Result<tch::Tensor, String> {
        // What is compiled for the first shapes that it meets would give later batches other last bits.
        tch::jit::set_graph_executor_optimize(false);
        let logits = self.module.forward_ts(&[images]).map_err(first_line)?;
        let expected = [images.size()[0], i64::try_from(self.classes).unwrap_or(i64::MAX)];
        match logits.size() == expected {
            true => Ok(logits),
            false => {
                Err(format!("it gives {:?} for {} images and {} classes", logits.size(), expected[0], expected[1]))
            }
        }
    }

    fn place<const D: usize>(&self, tensor: Tensor<D>) -> Result<tch::Tensor, Stop> {
        let shape = tensor.dims().map(|length| i64::try_from(length).unwrap_or(i64::MAX));
        Ok(tch::Tensor::from_slice(&read(tensor)?).reshape(shape).to_device(self.device))
    }
}

impl Model for Module {
    fn logits(&self, images: Tensor<4>, _: &Draws) -> Result<Tensor<2>, Stop> {
        self.run(images).map_err(failed)
    }

    fn forward(&self, images: Tensor<4>, _: &Draws) -> Result<Tape, Stop> {
        let device = images.device();
        let leaf = self.place(self.normalisation.forward(images))?.set_requires_grad(true);
        let logits = self.compute(&leaf).map_err(failed)?;
        let values = take(&logits.detach(), &device).map_err(|error| failed(first_line(error)))?;
        let (normalisation, place) = (self.normalisation.clone(), self.device);
        Ok(Tape::new(values, move |cotangents: Tensor<2>| {
            let weights = tch::Tensor::from_slice(&read(cotangents)?).reshape(logits.size()).to_device(place);
            let gradient = tch::Tensor::f_run_backward(&[(logits * weights).sum(Kind::Float)], &[&leaf], false, false)
                .and_then(|gradients| take(&gradients[0], &device))
                .map_err(|error| failed(first_line(error)))?;
            Ok(normalisation.pull(gradient))
        }))
    }
}

/// A tensor of LibTorch as one of burn.
fn take<const D: usize>(tensor: &tch::Tensor, device: &Device) -> Result<Tensor<D>, TchError> {
    let shape = tensor.size().into_iter().map(|length| usize::try_from(length).unwrap_or(0)).collect::<Vec<_>>();
    let flat = tensor.to_device(tch::Device::Cpu).to_kind(Kind::Float).contiguous().view(-1);
    Ok(Tensor::from_data(TensorData::new(Vec::<f32>::try_from(flat)?, shape), device))
}

fn failed(message: String) -> Stop {
    Stop::Component { failure: ComponentFailure::Failed, message }
}

/// What LibTorch says, without the stack of its interpreter.
fn first_line(error: TchError) -> String {
    let text = error.to_string();
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    line.trim().to_owned()
}
