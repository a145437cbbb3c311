//! The model `ensemble` in training state: members that are trained together, each with an optimizer of its own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::optim::ModuleOptimizer;
use burn::tensor::{Device, Gradients, Tensor};
use realsafe_core::{Model, Trainable, TrainableEntry, TrainingState, inventory};
use realsafe_plan::Values;

use crate::ensemble::{Combine, Ensemble};

struct Members {
    members: Vec<Box<dyn Trainable>>,
    combine: Combine,
}

impl Members {
    fn build(
        values: &Values,
        optimizer: ModuleOptimizer,
        seed: u64,
        device: &Device,
    ) -> Result<Box<dyn Trainable>, String> {
        let start = |(place, member)| {
            let network = TrainableEntry::start(member, optimizer.clone(), seed.wrapping_add(place), device);
            network.map_err(|error| format!("its member `{}`: {error}", member.id))
        };
        let members = (0..).zip(values.models("members")).map(start).collect::<Result<_, _>>()?;
        Ok(Box::new(Self { members, combine: Combine::of(values) }))
    }

    fn together(&self, members: Vec<Arc<dyn Model>>) -> Arc<dyn Model> {
        Arc::new(Ensemble { members, combine: self.combine })
    }

    fn logits(&self, images: &Tensor<4>) -> Vec<Tensor<2>> {
        self.members.iter().map(|member| member.forward(images.clone())).collect()
    }
}

impl Trainable for Members {
    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.combine.together(self.logits(&images))
    }

    fn is_random(&self) -> bool {
        self.members.iter().any(|member| member.is_random())
    }

    fn has_members(&self) -> bool {
        true
    }

    fn member_logits(&self, images: Tensor<4>) -> Option<Vec<Tensor<2>>> {
        Some(self.logits(&images))
    }

    fn update(&mut self, rate: f64, gradients: &mut Gradients) {
        self.members.iter_mut().for_each(|member| member.update(rate, gradients));
    }

    fn snapshot(&self) -> Arc<dyn Model> {
        self.together(self.members.iter().map(|member| member.snapshot()).collect())
    }

    fn average(&mut self, decay: f64) {
        self.members.iter_mut().for_each(|member| member.average(decay));
    }

    fn outcome(&self) -> Arc<dyn Model> {
        self.together(self.members.iter().map(|member| member.outcome()).collect())
    }

    fn save(&self, file: &Path) -> Result<Vec<PathBuf>, String> {
        let members = self.members.iter().enumerate();
        let files = members.map(|(place, member)| member.save(&beside(file, place)));
        Ok(files.collect::<Result<Vec<_>, _>>()?.concat())
    }

    fn load(&mut self, file: &Path) -> Result<(), String> {
        let mut members = self.members.iter_mut().enumerate();
        members.try_for_each(|(place, member)| member.load(&beside(file, place)))
    }

    fn state(&self) -> Result<TrainingState, String> {
        let states = self.members.iter().map(|member| member.state()).collect::<Result<Vec<_>, _>>()?;
        let pack = |parts: Vec<&Vec<u8>>| postcard::to_stdvec(&parts).map_err(|error| error.to_string());
        let averages: Option<Vec<_>> = states.iter().map(|state| state.average.as_ref()).collect();
        Ok(TrainingState {
            network: pack(states.iter().map(|state| &state.network).collect())?,
            optimizer: pack(states.iter().map(|state| &state.optimizer).collect())?,
            average: averages.map(pack).transpose()?,
        })
    }

    fn restore(&mut self, state: TrainingState) -> Result<(), String> {
        let count = self.members.len();
        let unpack = |bytes: &Vec<u8>| {
            let parts: Vec<Vec<u8>> = postcard::from_bytes(bytes).map_err(|error| error.to_string())?;
            if parts.len() == count { Ok(parts) } else { Err(format!("it has {} members, not {count}", parts.len())) }
        };
        let (networks, optimizers) = (unpack(&state.network)?, unpack(&state.optimizer)?);
        let averages = match &state.average {
            Some(bytes) => unpack(bytes)?.into_iter().map(Some).collect(),
            None => vec![None; count],
        };
        let states = networks.into_iter().zip(optimizers).zip(averages);
        for (member, ((network, optimizer), average)) in self.members.iter_mut().zip(states) {
            member.restore(TrainingState { network, optimizer, average })?;
        }
        Ok(())
    }
}

/// The file of a member beside that of the ensemble.
fn beside(file: &Path, place: usize) -> PathBuf {
    let mut name = OsString::from(file.file_stem().unwrap_or_default());
    name.push(format!("-{place}"));
    if let Some(extension) = file.extension() {
        name.push(".");
        name.push(extension);
    }
    file.with_file_name(name)
}

inventory::submit! {
    TrainableEntry { model: "ensemble", build: Members::build }
}
