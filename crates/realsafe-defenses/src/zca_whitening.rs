//! ZCA whitening: decorrelates pixels with a matrix from a file, or of the images of a dataset.
//!
//! ## What it does
//! `W (x − m)`, with an image as a column of its pixels, channel by channel and row by row. Of training images with mean m and
//! covariance `U diag(λ) Uᵀ`, the matrix W is `U diag((λ + ε)^(−1/2)) Uᵀ`. With `images` it is that of the images of a dataset,
//! computed before anything runs: at once for small images, in minutes for those of CIFAR-10. Where
//! `global-contrast-normalisation` stands in front, set `scale` and what else it has, so that the images are normalised, too.
//!
//! Instead, `file` may name a safetensors file: its `mean` is m, with as many 32-bit floats as an image has pixels, and its
//! `matrix` W, with their square. What comes out is not in `[0, 1]`, so this stands last, right before the network.
//!
//! ## What an attacker sees
//! `exact`: the function is linear. `identity` passes over it, which an attacker who knows of it has no reason to do.
//!
//! ## References
//! Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009; the input of Maxout networks, and of the network of
//! Yan, Guo, Zhang: Deep Defense, NeurIPS 2018 (arXiv:1803.00404).

use std::path::Path;

use burn::tensor::{DType, Device, Tensor, TensorData};
use fs_err as fs;
use realsafe_core::{ComponentFailure, DatasetEntry, Defense, DefenseEntry, Draws, Locations, Stop, inventory, read};
use realsafe_plan::{
    Component, DefenseTraits, Fallback, GradientMode, Origin, Parameter, ParameterKind, Traits, Values,
};
use safetensors::{Dtype, SafeTensors};

use crate::global_contrast_normalisation::{CONTRAST, FLOOR, GlobalContrastNormalisation, SCALE};
use crate::shared::standardisation::{WHITE, images};

/// How many images are read at a time.
const AT_A_TIME: usize = 1000;
/// How many steps of Newton's are made at most: enough where the largest eigenvalue is 10^15 times the smallest.
const ITERATIONS: usize = 60;

struct ZcaWhitening {
    mean: Vec<f32>,
    /// The transposed matrix, row by row.
    matrix: Vec<f32>,
}

impl ZcaWhitening {
    fn new(values: &Values, locations: &Locations) -> Result<Self, String> {
        // The plan has seen to it that it is one of both.
        if values.is_set("images") {
            return Self::of_images(values, locations);
        }
        Self::read(&locations.file(values.text("file")))
    }

    /// Of the images of a dataset, normalised where the values say so.
    fn of_images(values: &Values, locations: &Locations) -> Result<Self, String> {
        let dataset = DatasetEntry::open(values.component("images"), locations)?;
        let normalisation = values.is_set(SCALE.name).then(|| GlobalContrastNormalisation::of(values));
        let (count, device) = (dataset.len(), Device::flex());
        let numbers: Vec<u32> = (0..).take(count).collect();
        // The sum of all images, and of their products with themselves.
        let mut moments: Option<[Tensor<2>; 2]> = None;
        for numbers in numbers.chunks(AT_A_TIME) {
            let samples = dataset.read(numbers)?;
            let [channels, height, width] = samples.shape;
            let data = TensorData::new(samples.pixels, [numbers.len(), channels, height, width]);
            let mut pixels = Tensor::from_data(data, &device);
            if let Some(normalisation) = &normalisation {
                pixels = normalisation.normalise(pixels);
            }
            let rows: Tensor<2> = pixels.flatten(1, 3).cast(DType::F64);
            let more = [rows.clone().sum_dim(0), rows.clone().transpose().matmul(rows)];
            moments = Some(match moments {
                Some([sum, products]) => {
                    let [more_sum, more_products] = more;
                    [sum + more_sum, products + more_products]
                }
                None => more,
            });
        }
        let [sum, products] = moments.ok_or("the dataset of its `images` is empty")?;
        let mean = sum / count as f64;
        let covariance = products / count as f64 - mean.clone().transpose().matmul(mean.clone());
        let matrix = inverse_root(covariance, values.number("epsilon"))?;
        // The matrix is its own transpose.
        let single = |tensor: Tensor<2>| read(tensor.cast(DType::F32)).map_err(|stop| stop.to_string());
        Ok(Self { mean: single(mean)?, matrix: single(matrix)? })
    }

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

/// The inverse of the square root of a symmetric matrix without negative eigenvalues plus `epsilon` times the identity, by the
/// coupled iteration of Newton and Schulz, which needs nothing but products.
fn inverse_root(matrix: Tensor<2>, epsilon: f64) -> Result<Tensor<2>, String> {
    let [size, _] = matrix.dims();
    let device = matrix.device();
    let diagonal = (0..size * size).map(|at| f64::from(u8::from(at / size == at % size))).collect::<Vec<f64>>();
    let identity = Tensor::<2>::from_data(TensorData::new(diagonal, [size, size]), (&device, DType::F64));
    let matrix = matrix + identity.clone() * epsilon;
    let scale = scalar(matrix.clone().square().sum())?.sqrt();
    let (mut root, mut inverse) = (matrix / scale, identity.clone());
    for _ in 0..ITERATIONS {
        let product = inverse.clone().matmul(root.clone());
        let error = scalar((product.clone() - identity.clone()).abs().max())?;
        if error < 1e-9 {
            return Ok(inverse / scale.sqrt());
        }
        let step = (identity.clone() * 3.0 - product) / 2.0;
        root = root.matmul(step.clone());
        inverse = step.matmul(inverse);
    }
    Err("the images hardly differ in some direction: raise `epsilon`".to_owned())
}

fn scalar(tensor: Tensor<1>) -> Result<f64, String> {
    tensor.try_into_scalar::<f64>().map_err(|error| error.to_string())
}

impl Defense for ZcaWhitening {
    fn forward(&self, pixels: Tensor<4>, _: &Draws) -> Result<Tensor<4>, Stop> {
        let (dims, device) = (pixels.dims(), pixels.device());
        let count = self.mean.len();
        if dims[1..].iter().product::<usize>() != count {
            let [_, channels, height, width] = dims;
            let message = format!("its matrix is for images of {count} values, not for {channels}x{height}x{width}");
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

/// The shape of its images, or what is wrong.
fn output(values: &Values, shape: [usize; 3]) -> Result<[usize; 3], String> {
    if values.is_set("file") == values.is_set("images") {
        return Err("it takes its matrix from a `file` or from `images`: set one of them".to_owned());
    }
    if values.is_set("images") {
        let dataset = values.component("images");
        let images = dataset.component.dataset().map_or(shape, |traits| (traits.shape)(&dataset.values));
        if images != shape {
            let [channels, height, width] = images;
            return Err(format!("the images of `{}` are of {channels}x{height}x{width}", dataset.id));
        }
    }
    Ok(shape)
}

inventory::submit! {
    DefenseEntry {
        component: Component {
            id: "zca-whitening",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("zca_whitening.rs"),
            parameters: &[
                Parameter {
                    name: "images",
                    kind: ParameterKind::Dataset,
                    unit: "",
                    fallback: Fallback::Unset,
                    documentation: "The dataset whose mean and covariance are taken; training images, as a rule.",
                },
                Parameter {
                    name: "epsilon",
                    kind: ParameterKind::Number { minimum: 1e-9, maximum: 1e6 },
                    unit: "variance",
                    fallback: Fallback::Value("0.1"),
                    documentation: "With `images`: what is added to each eigenvalue, so that noise is not blown up.",
                },
                Parameter {
                    fallback: Fallback::Unset,
                    documentation: "With `images`: the contrast of the global contrast normalisation in front; unset, there is none.",
                    ..SCALE
                },
                WHITE,
                CONTRAST,
                FLOOR,
                Parameter {
                    name: "file",
                    kind: ParameterKind::File,
                    unit: "",
                    fallback: Fallback::Unset,
                    documentation: "A safetensors file with `mean` and `matrix`, instead of `images`.",
                },
            ],
            example: "file = \"zca.safetensors\"",
            traits: Traits::Defense(DefenseTraits {
                gradients: &[GradientMode::Exact, GradientMode::Identity, GradientMode::Blocked],
                output,
                ..DefenseTraits::PLAIN
            }),
        },
        build: &|values, locations| Ok(Box::new(ZcaWhitening::new(values, locations)?)),
    }
}
