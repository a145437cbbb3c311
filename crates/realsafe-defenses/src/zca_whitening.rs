//! ZCA whitening: decorrelates pixels with a matrix from a file.
//!
//! ## What it does
//! `W (x − m)`, with an image as a column of its pixels, channel by channel and row by row. The safetensors file has `mean`, the m
//! with as many 32-bit floats as an image has pixels, and `matrix`, the W with their square. Of training images (normalised as
//! those that come here) with mean m and covariance `U diag(λ) Uᵀ`, W is `U diag((λ + ε)^(−1/2)) Uᵀ`. What comes out is not in
//! `[0, 1]`, so this stands last, right before the network.
//!
//! ## What an attacker sees
//! `exact`: the function is linear.
//!
//! ## References
//! Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009; the input of Maxout networks, and of the network of
//! Yan, Guo, Zhang: Deep Defense, NeurIPS 2018 (arXiv:1803.00404).

use std::path::Path;

use burn::tensor::{Tensor, TensorData};
use fs_err as fs;
use realsafe_core::{ComponentFailure, Defense, DefenseEntry, Draws, Stop, inventory};
use realsafe_plan::{Component, DefenseTraits, Fallback, GradientMode, Origin, Parameter, ParameterKind, Traits};
use safetensors::{Dtype, SafeTensors};

use crate::shared::standardisation::images;

struct ZcaWhitening {
    mean: Vec<f32>,
    /// The transposed matrix, row by row.
    matrix: Vec<f32>,
}

impl ZcaWhitening {
    fn read(file: &Path) -> Result<Self, String> {
        let name = file.display();
        let bytes = fs::read(file).map_err(|error| error.to_string())?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|error| format!("`{name}`: {error}"))?;
        let floats = |key: &str| {
            let tensor = tensors.tensor(key).map_err(|error| format!("`{name}`: `{key}`: {error}"))?;
            if tensor.dtype() != Dtype::F32 {
                return Err(format!("`{name}`: `{key}` has values of type {:?}, not F32", tensor.dtype()));
            }
            let bytes = tensor.data().chunks_exact(4);
            let floats: Vec<f32> =
                bytes.map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).collect();
            Ok((tensor.shape().to_vec(), floats))
        };
        let ((_, mean), (shape, matrix)) = (floats("mean")?, floats("matrix")?);
        let pixels = mean.len();
        if shape != [pixels, pixels] {
            return Err(format!("`{name}`: `mean` has {pixels} values, but `matrix` has the shape {shape:?}"));
        }
        let transposed = (0..pixels * pixels).map(|at| matrix[at % pixels * pixels + at / pixels]).collect();
        Ok(Self { mean, matrix: transposed })
    }
}

impl Defense for ZcaWhitening {
    fn forward(&self, pixels: Tensor<4>, _: &Draws) -> Result<Tensor<4>, Stop> {
        let (dims, device) = (pixels.dims(), pixels.device());
        let count = self.mean.len();
        if dims[1..].iter().product::<usize>() != count {
            let [_, channels, height, width] = dims;
            let message = format!("its file is for images of {count} values, not for {channels}x{height}x{width}");
            return Err(Stop::Component { failure: ComponentFailure::Failed, message });
        }
        let mean = Tensor::<2>::from_data(TensorData::new(self.mean.clone(), [1, count]), &device);
        let matrix = Tensor::<2>::from_data(TensorData::new(self.matrix.clone(), [count, count]), &device);
        let rows = pixels.flatten(1, 3) - mean;
        // One row at a time: in larger products the last bit of a row depends on how many there are.
        let whitened = (0..dims[0]).map(|row| rows.clone().narrow(0, row, 1).matmul(matrix.clone()));
        Ok(images(Tensor::cat(whitened.collect(), 0), dims))
    }
}

inventory::submit! {
    DefenseEntry {
        component: Component {
            id: "zca-whitening",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("zca_whitening.rs"),
            parameters: &[Parameter {
                name: "file",
                kind: ParameterKind::File,
                unit: "",
                fallback: Fallback::Required,
                documentation: "A safetensors file with `mean` and `matrix`.",
            }],
            example: "file = \"zca.safetensors\"",
            traits: Traits::Defense(DefenseTraits {
                gradients: &[GradientMode::Exact, GradientMode::Identity, GradientMode::Blocked],
                randomised: false,
                output: DefenseTraits::SAME_SHAPE,
            }),
        },
        build: &|values, locations| Ok(Box::new(ZcaWhitening::read(&locations.file(values.text("file")))?)),
    }
}
