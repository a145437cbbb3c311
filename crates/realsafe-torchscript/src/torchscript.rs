//! A classifier in a TorchScript file, computed by LibTorch itself.
//!
//! ## What it does
//! The file is a program of PyTorch, with weights and control flow. LibTorch runs it, forwards and backwards, so that every
//! attack works on it, those with gradients too, for whatever PyTorch can script or trace. It needs a program that is built with
//! `--features tch`, and `--device tch` or `--device tch:cuda:N`; for other devices there is `onnx`.
//!
//! ## How to export
//! From PyTorch, in evaluation state:
//!
//! ```python
//! model.eval()
//! torch.jit.trace(model, torch.rand(2, 3, 32, 32)).save("model.pt")
//! # or, where what is computed depends on values
//! torch.jit.script(model).save("model.pt")
//! ```
//!
//! Images have pixels in [0, 1]. What else the network expects is said by `mean` and `standard-deviation`: with
//! `mean = [0.485, 0.456, 0.406]`, `standard-deviation = [0.229, 0.224, 0.225]` it gets what most networks trained on
//! ImageNet expect. Attacks raise losses of logits: a network that ends in a softmax has to be exported without it.
//!
//! ## What is checked
//! A TorchScript file does not say shapes, so `height`, `width` and `classes` have to, and `check` compares them with the dataset.
//! When the model is loaded it is tried on noise, in which the images of a batch must not influence each other. The
//! module is put into evaluation state, and its parameters get no gradients. A module that draws random numbers is not reproducible.
//!
//! ## Safety
//! TorchScript is a program, but one that can only compute. LibTorch's reader is C++: load files of people you trust.
//!
//! ## Reference
//! <https://docs.pytorch.org/docs/stable/jit.html>

use burn::tensor::Device;
use realsafe_core::{Locations, Model, ModelEntry, inventory};
use realsafe_models::foreign::{MEAN, STANDARD_DEVIATION};
use realsafe_plan::{Component, Fallback, ModelTraits, Origin, Parameter, ParameterKind, Traits, Values};

const fn size(name: &'static str, fallback: Fallback, documentation: &'static str) -> Parameter {
    let kind = ParameterKind::Count { minimum: 1, maximum: 1 << 20 };
    Parameter { name, kind, unit: "", fallback, documentation }
}

const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "file",
        kind: ParameterKind::File,
        unit: "",
        fallback: Fallback::Required,
        documentation: "The TorchScript file, relative to the data directory",
    },
    MEAN,
    STANDARD_DEVIATION,
    size("channels", Fallback::Value("3"), "The channels of images"),
    size("height", Fallback::Required, "The height of images in pixels"),
    size("width", Fallback::Required, "The width of images in pixels"),
    size("classes", Fallback::Required, "The number of logits"),
];

/// Channels, height and width of the images.
fn images(values: &Values) -> [usize; 3] {
    ["channels", "height", "width"].map(|name| count(values, name))
}

fn count(values: &Values, name: &str) -> usize {
    usize::try_from(values.count(name)).unwrap_or(usize::MAX)
}

#[cfg(feature = "tch")]
fn build(values: &Values, locations: &Locations, device: &Device) -> Result<Box<dyn Model>, String> {
    use crate::module::Module;

    let name = values.text("file");
    let wrong = |error: String| format!("the model `{name}` cannot be used: {error}");
    let images = images(values);
    let normalisation = realsafe_models::foreign::normalisation(values, images[0]).map_err(wrong)?;
    let module = Module::load(&locations.file(name), normalisation, count(values, "classes"), device).map_err(wrong)?;
    realsafe_models::foreign::try_out(|images| module.run(images), images, device).map_err(wrong)?;
    Ok(Box::new(module))
}

#[cfg(not(feature = "tch"))]
fn build(_: &Values, _: &Locations, _: &Device) -> Result<Box<dyn Model>, String> {
    Err("LibTorch computes TorchScript files: build with `--features tch`, and run with `--device tch`".to_owned())
}

inventory::submit! {
    ModelEntry {
        component: Component {
            id: "torchscript",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("torchscript.rs"),
            parameters: PARAMETERS,
            example: "file = \"model.pt\"\nheight = 32\nwidth = 32\nclasses = 10",
            traits: Traits::Model(ModelTraits {
                input: &|values| Ok(images(values)),
                classes: &|values| Ok(count(values, "classes")),
                differentiable: true,
                randomised: &|_| false,
            }),
        },
        build: &build,
    }
}
