//! A classifier in an ONNX file, differentiable on every device.
//!
//! ## What it does
//! The graph is read when the program runs and computed with the same differentiable operations as the networks that are
//! written in Rust. So every attack works on it, those with gradients too, on every device: models of PyTorch, timm,
//! TensorFlow or JAX need no line of Rust.
//!
//! ## How to export
//! From PyTorch, in evaluation state, with an open number of images and everything in one file:
//!
//! ```python
//! model.eval()
//! torch.onnx.export(model, (torch.rand(2, 3, 32, 32),), "model.onnx", dynamo=True, external_data=False,
//!                   dynamic_shapes=({0: torch.export.Dim("n", min=2, max=1024)},))
//! # or with the older exporter
//! torch.onnx.export(model, (torch.rand(2, 3, 32, 32),), "model.onnx", dynamo=False, opset_version=17,
//!                   input_names=["images"], dynamic_axes={"images": {0: "n"}})
//! ```
//!
//! Images have pixels in [0, 1]. What else the network expects is said by `mean` and `standard-deviation`: with
//! `mean = [0.485, 0.456, 0.406]`, `standard-deviation = [0.229, 0.224, 0.225]` it gets what most networks trained on
//! ImageNet expect; with 0 and `"1/255"`, pixels in [0, 255].
//!
//! Attacks raise losses of logits. A file that ends in a softmax gives probabilities: name the edge before it with `output`.
//!
//! ## What is checked
//! `check` compares shapes and classes with those of the dataset. When the model is loaded, all operators that are missing are
//! named with their nodes, and the graph is tried on noise, in which the images of a batch must not influence each other.
//! Constants may lie in one more file, which `weights` names, so that it is part of the cell's key.
//!
//! ## Numbers of images
//! With an open first axis, images are computed together. A file that fixes their number, to 1 say, is run on that many at a
//! time, which is slow on GPUs. On `flex`, an image's logits do not depend on what it is computed with, to the last bit.
//!
//! ## Limits
//! Elements become single-precision floats, those of 16 bits too. Tensors have at most six axes, sizes and indices must not depend on pixels,
//! control flow (`If`, `Loop`), recurrent layers and quantised operators are not there.
//!
//! ## References
//! The operators are those of the standard at <https://onnx.ai/onnx/operators/>; versions 11 to 20 are compared with PyTorch.

use burn::tensor::{Device, Tensor};
use realsafe_core::{ComponentFailure, Draws, Locations, Model, ModelEntry, Stop, inventory};
use realsafe_models::Normalisation;
use realsafe_models::foreign::{MEAN, STANDARD_DEVIATION, normalisation, try_out};
use realsafe_plan::{Component, Fallback, ModelTraits, Origin, Parameter, ParameterKind, Traits, Values};

use crate::dense::Dense;
use crate::file::File;
use crate::graph::Graph;
use crate::signature::Signature;
use crate::source;

/// What a graph takes and gives, the file and the parameters put together.
#[derive(Clone, Debug)]
struct Interface {
    input: String,
    output: String,
    /// How many images it is run on at a time, where the file fixes that.
    rows: Option<usize>,
    /// Channels, height and width.
    images: [usize; 3],
    classes: usize,
    /// Whether it takes images as one axis.
    flat: bool,
    channels_last: bool,
}

impl Interface {
    /// Puts together what a file says and what parameters say.
    fn new(signature: &Signature, values: &Values) -> Result<Self, String> {
        let channels_last = values.text("layout") == "channels-last";
        let declared = declared(values);
        let shape = signature.input.shape.clone().unwrap_or_else(|| vec![None; 4]);
        let (rows, sizes, flat) = match shape[..] {
            [rows, height, width, channels] if channels_last => (rows, [channels, height, width], None),
            [rows, channels, height, width] => (rows, [channels, height, width], None),
            [rows, all] => (rows, [None; 3], Some(all)),
            _ => {
                return Err(format!("the input `{}` has {} axes; images have four", signature.input.name, shape.len()));
            }
        };
        let mut images = [0; 3];
        for (place, name) in SIZES.iter().enumerate() {
            images[place] = agreed(name, sizes[place], declared[place])?;
        }
        if let Some(Some(all)) = flat
            && all != images.iter().product::<usize>()
        {
            return Err(format!("the input `{}` has {all} pixels, not those of {images:?}", signature.input.name));
        }
        let name = values.is_set("output").then(|| values.text("output"));
        let output = signature.output(name)?;
        let classes = match output.shape.as_deref() {
            Some([_, classes] | [_, classes, Some(1), Some(1)]) => *classes,
            None => None,
            Some(shape) => {
                let message = format!("the output `{}` has {} axes; logits have two", output.name, shape.len());
                return Err(format!("{message}: images and classes"));
            }
        };
        let classes = agreed("classes", classes, declared[3])?;
        let (input, output) = (signature.input.name.clone(), output.name);
        Ok(Self { input, output, rows, images, classes, flat: flat.is_some(), channels_last })
    }
}

const SIZES: [&str; 3] = ["channels", "height", "width"];

fn declared(values: &Values) -> [Option<usize>; 4] {
    let count = |name: &str| values.is_set(name).then(|| usize::try_from(values.count(name)).unwrap_or(usize::MAX));
    [count("channels"), count("height"), count("width"), count("classes")]
}

/// A size that the file or a parameter says.
fn agreed(name: &str, file: Option<usize>, parameter: Option<usize>) -> Result<usize, String> {
    match (file, parameter) {
        (Some(file), Some(parameter)) if file != parameter => {
            Err(format!("`{name}` is {parameter}, but {file} in the file; leave the parameter out"))
        }
        (Some(size), _) | (None, Some(size)) => Ok(size),
        (None, None) => Err(format!("the file leaves `{name}` open; say it with that parameter")),
    }
}

/// The interface by what is known when specs are read.
fn interface(values: &Values) -> Result<Interface, String> {
    let interface = source::signature(values, "file").and_then(|signature| Interface::new(&signature, values));
    interface.map_err(|error| format!("`{}`: {error}", values.text("file")))
}

/// A graph as a model.
struct Onnx {
    graph: Graph,
    interface: Interface,
    normalisation: Normalisation,
}

impl Onnx {
    /// The logits of as many images as the graph can take at once.
    fn run(&self, images: Tensor<4>) -> Result<Tensor<2>, String> {
        let Interface { flat, channels_last, classes, .. } = self.interface;
        let images = if channels_last { images.permute([0, 2, 3, 1]) } else { images };
        let [rows, a, b, c] = images.dims();
        let images = Dense::from_static(images);
        let images = if flat { images.reshape(&[rows, a * b * c]) } else { images };
        let device = images.device();
        let logits = self.graph.run(images, rows)?.dense(&device);
        let shape = logits.shape();
        if shape.first() != Some(&rows) || shape[1..].iter().product::<usize>() != classes {
            let output = &self.interface.output;
            return Err(format!("`{output}` has the shape {shape:?} for {rows} images and {classes} classes"));
        }
        Ok(logits.into_static([rows, classes]))
    }

    fn all(&self, images: Tensor<4>) -> Result<Tensor<2>, String> {
        let images = self.normalisation.forward(images);
        let Some(most) = self.interface.rows else { return self.run(images) };
        let [rows, ..] = images.dims();
        let mut parts = Vec::new();
        for start in (0..rows).step_by(most) {
            let taken = most.min(rows - start);
            let part = images.clone().narrow(0, start, taken);
            let missing = most - taken;
            let part = if missing == 0 { part } else { part.pad([(0, missing), (0, 0), (0, 0), (0, 0)], 0.0) };
            parts.push(self.run(part)?.narrow(0, 0, taken));
        }
        Ok(Tensor::cat(parts, 0))
    }
}

impl Model for Onnx {
    fn logits(&self, images: Tensor<4>, _: &Draws) -> Result<Tensor<2>, Stop> {
        self.all(images).map_err(|message| Stop::Component { failure: ComponentFailure::Failed, message })
    }
}

fn build(values: &Values, locations: &Locations, device: &Device) -> Result<Box<dyn Model>, String> {
    let name = values.text("file");
    let wrong = |error: String| format!("the model `{name}` cannot be used: {error}");
    let bytes = source::bytes(values, "file", locations).map_err(wrong)?;
    let external = values.is_set("weights").then(|| source::bytes(values, "weights", locations)).transpose();
    let external = external.map_err(wrong)?;
    let interface = Signature::read(&bytes).and_then(|signature| Interface::new(&signature, values)).map_err(wrong)?;
    let normalisation = normalisation(values, interface.images[0]).map_err(wrong)?;
    let file = File::read(&bytes, external.as_deref(), device).map_err(wrong)?;
    let graph = Graph::new(file, &interface.input, &interface.output, device).map_err(wrong)?;
    let model = Onnx { graph, interface, normalisation };
    try_out(|images| model.all(images), model.interface.images, device).map_err(wrong)?;
    Ok(Box::new(model))
}

const fn size(name: &'static str, documentation: &'static str) -> Parameter {
    let kind = ParameterKind::Count { minimum: 1, maximum: 1 << 20 };
    Parameter { name, kind, unit: "", fallback: Fallback::Unset, documentation }
}

const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "file",
        kind: ParameterKind::File,
        unit: "",
        fallback: Fallback::Required,
        documentation: "The ONNX file, relative to the data directory, or `builtin:NAME`",
    },
    Parameter {
        name: "weights",
        kind: ParameterKind::File,
        unit: "",
        fallback: Fallback::Unset,
        documentation: "The file of constants that lie outside of the ONNX file, where they do",
    },
    Parameter {
        name: "output",
        kind: ParameterKind::Text,
        unit: "",
        fallback: Fallback::Unset,
        documentation: "The edge of the graph that carries the logits; the first output of the file where it is unset",
    },
    Parameter {
        name: "layout",
        kind: ParameterKind::Choice(&["channels-first", "channels-last"]),
        unit: "",
        fallback: Fallback::Value("channels-first"),
        documentation: "Whether the graph takes images as channels, height, width, or as height, width, channels",
    },
    MEAN,
    STANDARD_DEVIATION,
    size("channels", "The channels of images, where the file leaves them open"),
    size("height", "The height of images in pixels, where the file leaves it open"),
    size("width", "The width of images in pixels, where the file leaves it open"),
    size("classes", "The number of logits, where the file leaves it open"),
];

inventory::submit! {
    ModelEntry {
        component: Component {
            id: "onnx",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("onnx.rs"),
            parameters: PARAMETERS,
            example: "file = \"builtin:digits-standard-onnx\"",
            traits: Traits::Model(ModelTraits {
                input: &|values| Ok(interface(values)?.images),
                classes: &|values| Ok(interface(values)?.classes),
                differentiable: true,
                randomised: &|_| false,
            }),
        },
        build: &build,
    }
}
