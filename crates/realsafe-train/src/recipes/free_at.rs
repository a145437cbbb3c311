//! Free adversarial training (Free AT): one backward pass moves the images and the weights at once.
//!
//! ## What it does
//! Each batch is replayed `replays` times. A replay makes one forward and backward pass at the clean images plus the
//! current perturbations, cut at the box `[0, 1]`; its gradient of the mean cross-entropy with respect to the weights makes an
//! update, and the sign of that with respect to the images moves the perturbations by `step-size` (by default `eps`), within
//! the cube of radius `eps` (linf). Perturbations start at zero and are never drawn: those of a batch are where the next
//! one starts, row by row. They are part of the checkpoint. The training accuracy is that on the perturbed
//! images, over all replays.
//!
//! As in the authors' code, everything happens in training state.
//!
//! ## Cost
//! `replays` times that of standard training with as many epochs. The authors divide the number of epochs by `replays`,
//! and so pay what standard training costs. Schedules go over all updates, replays included.
//!
//! ## Reference
//! Shafahi, Najibi, Ghiasi, Xu, Dickerson, Studer, Davis, Taylor, Goldstein: Adversarial Training for Free!,
//! NeurIPS 2019 (arXiv:1904.12843): 8 replays on CIFAR-10, 4 on ImageNet.

use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::tensor::{Device, Gradients, Tensor, TensorData};
use realsafe_core::{Objective, Recipe, RecipeEntry, Stop, Trainable, TrainingBatch, inventory, read};
use realsafe_plan::{Component, Fallback, Origin, Parameter, ParameterKind, Traits, Values};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::standard::Standard;
use crate::parameters::{EPS, LABEL_SMOOTHING, STEP_SIZE, recipe_parameters};

struct FreeTraining {
    eps: f64,
    step_size: f64,
    replays: u64,
    standard: Standard,
    carried: Mutex<Carried>,
}

#[derive(Default)]
struct Carried {
    /// By place in the batch, `[rows, channels, height, width]`, with as many rows as the largest batch so far.
    perturbations: Option<Tensor<4>>,
    /// The perturbations of the last objective, on autodiff, until their gradient is there.
    leaf: Option<Tensor<4>>,
}

impl FreeTraining {
    fn from(values: &Values) -> Self {
        let eps = values.number("eps");
        Self {
            eps,
            step_size: if values.is_set("step-size") { values.number("step-size") } else { eps },
            replays: values.count("replays"),
            standard: Standard::from(values),
            carried: Mutex::default(),
        }
    }

    fn carried(&self) -> MutexGuard<'_, Carried> {
        self.carried.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first rows of images; zeros where there are not as many.
fn first_rows(images: Option<&Tensor<4>>, dims: [usize; 4], device: &Device) -> Tensor<4> {
    let missing = |rows: usize| Tensor::zeros([rows, dims[1], dims[2], dims[3]], device);
    match images {
        None => missing(dims[0]),
        Some(images) if images.dims()[0] >= dims[0] => images.clone().narrow(0, 0, dims[0]),
        Some(images) => Tensor::cat(vec![images.clone(), missing(dims[0] - images.dims()[0])], 0),
    }
}

impl Recipe for FreeTraining {
    fn replays(&self) -> u64 {
        self.replays
    }

    fn objective(&self, network: &dyn Trainable, batch: &TrainingBatch) -> Result<Objective, Stop> {
        let mut carried = self.carried();
        let perturbations = first_rows(carried.perturbations.as_ref(), batch.images.dims(), &batch.images.device());
        let leaf = perturbations.autodiff().require_grad();
        carried.leaf = Some(leaf.clone());
        let images = (batch.images.clone().autodiff() + leaf).clamp(0.0, 1.0);
        Ok(self.standard.of(images, network, batch))
    }

    fn learn(&self, gradients: &mut Gradients) -> Result<(), Stop> {
        let mut carried = self.carried();
        let Some(leaf) = carried.leaf.take() else { return Ok(()) };
        let Some(gradient) = leaf.grad_remove(gradients) else { return Ok(()) };
        let moved = (leaf.inner() + gradient.sign() * self.step_size).clamp(-self.eps, self.eps);
        // A smaller batch moves the first perturbations only.
        let rows = moved.dims()[0];
        carried.perturbations = Some(match carried.perturbations.take() {
            Some(all) if all.dims()[0] > rows => {
                let rest = all.dims()[0] - rows;
                Tensor::cat(vec![moved, all.narrow(0, rows, rest)], 0)
            }
            _ => moved,
        });
        Ok(())
    }

    fn state(&self) -> Result<Vec<u8>, Stop> {
        let carried = self.carried();
        let Some(perturbations) = &carried.perturbations else { return Ok(Vec::new()) };
        let bytes: Vec<u8> = read(perturbations.clone())?.into_iter().flat_map(f32::to_le_bytes).collect();
        let view = TensorView::new(Dtype::F32, perturbations.dims().to_vec(), &bytes);
        let written = view.and_then(|view| safetensors::serialize([("perturbations", view)], None));
        written.map_err(|error| Stop::Device(error.to_string()))
    }

    fn restore(&self, state: &[u8], device: &Device) -> Result<(), String> {
        if state.is_empty() {
            return Ok(());
        }
        let tensors = SafeTensors::deserialize(state).map_err(|error| error.to_string())?;
        let view = tensors.tensor("perturbations").map_err(|error| error.to_string())?;
        let dims = <[usize; 4]>::try_from(view.shape()).map_err(|_| "its perturbations are no images".to_owned())?;
        let values =
            view.data().chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
        let data = TensorData::new(values.collect::<Vec<f32>>(), dims);
        self.carried().perturbations = Some(Tensor::from_data(data, device));
        Ok(())
    }
}

inventory::submit! {
    RecipeEntry {
        component: Component {
            id: "free-at",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("free_at.rs"),
            parameters: recipe_parameters![
                EPS,
                Parameter {
                    name: "replays",
                    kind: ParameterKind::Count { minimum: 1, maximum: 10_000 },
                    unit: "updates",
                    fallback: Fallback::Value("8"),
                    documentation: "How often each batch is replayed, with an update each time.",
                },
                Parameter {
                    fallback: Fallback::Unset,
                    documentation: "How far a replay moves each pixel; eps where it is not said.",
                    ..STEP_SIZE
                },
                LABEL_SMOOTHING,
            ],
            example: "eps = \"8/255\"\nreplays = 4\nepochs = 3",
            traits: Traits::Recipe,
        },
        build: |values| Box::new(FreeTraining::from(values)),
    }
}
