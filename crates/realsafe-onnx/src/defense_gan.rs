//! Defense-GAN: classifies the image nearest to the input among those that a generator makes.
//!
//! ## What it does
//! Looks for the code z that minimises the mean squared difference between the generator's image G(z) and the input, and hands on
//! G(z). From each of `restarts` codes it makes `steps` steps of gradient descent with momentum, with a tenth of the
//! learning rate in the last fifth of them; the best of what they end with is taken. The codes to start from are drawn once from
//! a normal distribution and are the same for every image, so that the defense is a fixed function.
//!
//! The generator is an ONNX file, exported as the manual of the model `onnx` says, in one file: codes `[n, length]` in, images
//! `[n, channels, height, width]` with pixels in [0, 1] out. It may as well be the decoder of an autoencoder.
//! `builtin:digits-generator` was trained on the digits as a Wasserstein GAN.
//!
//! ## What an attacker sees
//! `identity`: the projection as if it did nothing (BPDA). Its own gradient, through all steps of descent, vanishes or explodes.
//! `cw` with `variables = "codes"` goes around it: it varies z, and what the generator makes the projection leaves nearly as it is.
//!
//! ## Cost
//! `steps` times `restarts` passes forward and backward through the generator for every image. They are the defense's own
//! and are not counted.
//!
//! ## References
//! Samangouei, Kabkab, Chellappa: Defense-GAN, ICLR 2018 (arXiv:1805.06605); attacked by Athalye, Carlini, Wagner: Obfuscated
//! Gradients Give a False Sense of Security, ICML 2018 (arXiv:1802.00420).

use std::sync::OnceLock;

use burn::tensor::{Device, Int, Tensor, TensorData};
use realsafe_core::random::Purpose;
use realsafe_core::{
    ComponentFailure, Defense, DefenseEntry, Draws, Locations, Parametrisation, Stop, fill_gaussian, inventory, read,
};
use realsafe_plan::{
    Component, DefenseTraits, Fallback, GradientMode, Origin, Parameter, ParameterKind, Traits, Values,
};

use crate::dense::Dense;
use crate::file::File;
use crate::graph::Graph;
use crate::signature::Signature;
use crate::source;

/// How much of the last step is repeated, as in the authors' program.
const MOMENTUM: f64 = 0.7;

/// What the file of a generator says.
struct Interface {
    input: String,
    output: String,
    /// How many numbers a code has.
    length: usize,
    /// Channels, height and width of what it makes.
    images: [usize; 3],
}

impl Interface {
    fn new(signature: Signature) -> Result<Self, String> {
        let output = signature.output(None)?;
        let Some([_, Some(length)]) = signature.input.shape.as_deref() else {
            return Err(format!("its input `{}` is not `[n, length]` with a fixed length", signature.input.name));
        };
        let Some([_, Some(channels), Some(height), Some(width)]) = output.shape.as_deref() else {
            let output = output.name;
            return Err(format!("its output `{output}` is not `[n, channels, height, width]` with fixed sizes"));
        };
        let images = [*channels, *height, *width];
        Ok(Self { length: *length, images, output: output.name.clone(), input: signature.input.name })
    }

    /// By what is known when specs are read.
    fn known(values: &Values) -> Result<Self, String> {
        let interface = source::signature(values, "generator").and_then(Self::new);
        interface.map_err(|error| format!("the generator `{}`: {error}", values.text("generator")))
    }
}

struct DefenseGan {
    bytes: Vec<u8>,
    interface: Interface,
    steps: u64,
    restarts: usize,
    learning_rate: f64,
    /// The generator on the device of the first images.
    generator: OnceLock<Result<Graph, String>>,
}

impl DefenseGan {
    fn new(values: &Values, locations: &Locations) -> Result<Self, String> {
        let name = values.text("generator");
        let wrong = |error: String| format!("the generator `{name}`: {error}");
        let bytes = source::bytes(values, "generator", locations).map_err(wrong)?;
        let defense = Self {
            interface: Signature::read(&bytes).and_then(Interface::new).map_err(wrong)?,
            bytes,
            steps: values.count("steps"),
            restarts: usize::try_from(values.count("restarts")).map_err(|error| error.to_string())?,
            learning_rate: values.number("learning-rate"),
            generator: OnceLock::new(),
        };
        // What is wrong with the graph is wrong on every device.
        defense.graph(&Device::flex()).map_err(wrong)?;
        Ok(defense)
    }

    fn graph(&self, device: &Device) -> Result<Graph, String> {
        let file = File::read(&self.bytes, None, device)?;
        Graph::new(file, &self.interface.input, &self.interface.output, device)
    }

    /// What the generator makes of codes `[n, length]`, a row of pixels per code.
    fn generate(&self, codes: Tensor<2>) -> Result<Tensor<2>, Stop> {
        let ([rows, _], device) = (codes.dims(), codes.device());
        let generator = self.generator.get_or_init(|| self.graph(&device)).as_ref();
        let generator = generator.map_err(|message| failed(message.clone()))?;
        let images = generator.run(Dense::from_static(codes), rows).map_err(failed)?.dense(&device);
        let (shape, expected) = (images.shape(), self.interface.images);
        if shape.first() != Some(&rows) || shape[1..] != expected {
            return Err(failed(format!(
                "the generator makes {shape:?} of {rows} codes, not {rows} images {expected:?}"
            )));
        }
        Ok(images.into_static([rows, expected.iter().product()]))
    }

    /// The code of the nearest image of each row.
    fn nearest(&self, images: Tensor<4>) -> Result<Tensor<2>, Stop> {
        let ([rows, channels, height, width], device) = (images.dims(), images.device());
        let (pixels, length) = (channels * height * width, self.interface.length);
        let targets = images.reshape([rows, 1, pixels]).repeat_dim(1, self.restarts);
        let targets = targets.reshape([rows * self.restarts, pixels]);
        let mut starts = vec![0.0; self.restarts * length];
        fill_gaussian(&mut Draws::new(0, Purpose::Defense, [(0, 0)]).stream(0), &mut starts);
        let starts = Tensor::<2>::from_data(TensorData::new(starts, [self.restarts, length]), &device);
        let mut codes = starts.repeat_dim(0, rows);
        let mut step = codes.zeros_like();
        for number in 0..self.steps {
            let leaf = codes.clone().autodiff().require_grad();
            let differences = self.differences(leaf.clone(), targets.clone())?;
            let gradient = leaf.grad(&differences.sum().backward()).unwrap_or_else(|| codes.zeros_like());
            let rate = if number * 5 < self.steps * 4 { self.learning_rate } else { self.learning_rate / 10.0 };
            step = step * MOMENTUM - gradient * rate;
            codes = codes + step.clone();
        }
        let differences = read(self.differences(codes.clone(), targets)?)?;
        let best = differences.chunks_exact(self.restarts).enumerate().map(|(row, differences)| {
            let best = (0..self.restarts).min_by(|a, b| differences[*a].total_cmp(&differences[*b])).unwrap_or(0);
            i64::try_from(row * self.restarts + best).unwrap_or(i64::MAX)
        });
        let best = Tensor::<1, Int>::from_data(TensorData::new(best.collect(), [rows]), &device);
        Ok(codes.select(0, best))
    }

    /// The mean squared differences between what codes make and rows of pixels, `[n, 1]`.
    fn differences(&self, codes: Tensor<2>, targets: Tensor<2>) -> Result<Tensor<2>, Stop> {
        let targets = if codes.is_tracked() { targets.autodiff() } else { targets };
        Ok((self.generate(codes)? - targets).square().mean_dim(1))
    }
}

fn failed(message: String) -> Stop {
    Stop::Component { failure: ComponentFailure::Failed, message }
}

impl Defense for DefenseGan {
    fn forward(&self, images: Tensor<4>, _: &Draws) -> Result<Tensor<4>, Stop> {
        let dims = images.dims();
        let codes = self.nearest(images)?;
        Ok(self.generate(codes)?.reshape(dims))
    }

    fn parametrisation(&self) -> Option<&dyn Parametrisation> {
        Some(self)
    }
}

impl Parametrisation for DefenseGan {
    fn codes(&self, images: Tensor<4>) -> Result<Tensor<4>, Stop> {
        let rows = images.dims()[0];
        Ok(self.nearest(images)?.reshape([rows, self.interface.length, 1, 1]))
    }

    fn images(&self, codes: Tensor<4>) -> Result<Tensor<4>, Stop> {
        let (rows, [channels, height, width]) = (codes.dims()[0], self.interface.images);
        Ok(self.generate(codes.flatten(1, 3))?.reshape([rows, channels, height, width]))
    }
}

inventory::submit! {
    DefenseEntry {
        component: Component {
            id: "defense-gan",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("defense_gan.rs"),
            parameters: &[
                Parameter {
                    name: "generator",
                    kind: ParameterKind::File,
                    unit: "",
                    fallback: Fallback::Required,
                    documentation: "The ONNX file of the generator, relative to the data directory, or `builtin:NAME`.",
                },
                Parameter {
                    name: "steps",
                    kind: ParameterKind::Count { minimum: 1, maximum: 100_000 },
                    unit: "gradient steps",
                    fallback: Fallback::Value("200"),
                    documentation: "How many steps of descent are made from each start.",
                },
                Parameter {
                    name: "restarts",
                    kind: ParameterKind::Count { minimum: 1, maximum: 1000 },
                    unit: "codes",
                    fallback: Fallback::Value("10"),
                    documentation: "From how many codes the descent starts.",
                },
                Parameter {
                    name: "learning-rate",
                    kind: ParameterKind::Number { minimum: 1e-6, maximum: 1e6 },
                    unit: "code per derivative of the mean squared difference",
                    fallback: Fallback::Value("10"),
                    documentation: "The step size of the descent.",
                },
            ],
            example: "generator = \"builtin:digits-generator\"",
            traits: Traits::Defense(DefenseTraits {
                gradients: &[GradientMode::Identity, GradientMode::Blocked],
                optimises: true,
                projects: true,
                output: |values, shape| {
                    let Interface { images, .. } = Interface::known(values)?;
                    if images == shape { Ok(shape) } else { Err(format!("its generator makes images of {images:?}")) }
                },
                ..DefenseTraits::PLAIN
            }),
        },
        build: &|values, locations| Ok(Box::new(DefenseGan::new(values, locations)?)),
    }
}
