//! Defenses, models and losses behind their tables.

use std::ffi::c_void;
use std::ptr::{null, null_mut};

use realsafe_plugin::abi::*;
use realsafe_plugin::{About, Component, Defense, Error, Gradient, Loss, Model, Package, Plugin, Shape, Values};

use crate::host::{Host, SHAPE};

const ABOUT: About = About { id: "test", revision: 1, documentation: "", example: "", parameters: &[] };

/// Halves pixels.
struct Halves;

impl Defense for Halves {
    const ABOUT: About = ABOUT;
    const GRADIENT: Gradient = Gradient::Identity;
    const DIFFERENTIABLE: bool = true;

    fn create(_: &Values<'_>) -> Result<Self, Error> {
        Ok(Self)
    }

    fn forward(&self, shape: &Shape, images: &[f32], output: &mut [f32]) -> Result<(), Error> {
        assert_eq!(images.len() % shape.values(), 0);
        output.iter_mut().zip(images).for_each(|(output, pixel)| *output = pixel / 2.0);
        Ok(())
    }

    fn pull(&self, _: &Shape, _: &[f32], cotangents: &[f32], gradients: &mut [f32]) -> Result<(), Error> {
        gradients.iter_mut().zip(cotangents).for_each(|(gradient, cotangent)| *gradient = cotangent / 2.0);
        Ok(())
    }
}

/// Three logits: the sum of two pixels, and that twice.
struct Sums;

impl Model for Sums {
    const ABOUT: About = ABOUT;
    const DIFFERENTIABLE: bool = false;

    fn shape(_: &Values<'_>) -> Result<Shape, Error> {
        Ok(Shape { channels: 2, height: 1, width: 1, classes: 3 })
    }

    fn create(_: &Values<'_>) -> Result<Self, Error> {
        Ok(Self)
    }

    fn logits(&self, images: &[f32], logits: &mut [f32]) -> Result<(), Error> {
        let rows = images.chunks_exact(2).zip(logits.chunks_exact_mut(3));
        rows.for_each(|(image, logits)| logits.fill(image[0] + image[1]));
        Ok(())
    }
}

/// The logit of the class, with its sign.
struct Logit;

impl Loss for Logit {
    const ABOUT: About = ABOUT;

    fn create(_: &Values<'_>) -> Result<Self, Error> {
        Ok(Self)
    }

    fn evaluate(&self, logits: &[f32], label: u32, target: Option<u32>, derivatives: &mut [f32]) -> Result<f32, Error> {
        let (class, sign) = target.map_or((label, -1.0), |target| (target, 1.0));
        let logit = logits.get(class as usize).ok_or("no such class")?;
        derivatives[class as usize] = sign;
        Ok(sign * logit)
    }
}

static PLUGIN: Plugin = Plugin::new(
    Package { name: "tests", version: "1", licence: "MIT", documentation: "", homepage: "" },
    &[Component::defense::<Halves>(), Component::model::<Sums>(), Component::loss::<Logit>()],
);

/// The functions of a component.
fn interface<T>(place: usize, kind: u32) -> &'static T {
    // SAFETY: tables live as long as the process, and the kind says which one it is.
    unsafe {
        let component = &**PLUGIN.table().components.add(place);
        assert_eq!(component.kind, kind);
        &*component.interface.cast()
    }
}

fn create(create: CreateFunction) -> *mut c_void {
    let mut instance = null_mut();
    // SAFETY: there are no parameters.
    let status = unsafe { create.unwrap()(&Host::default().table(), null(), 0, &mut instance) };
    assert_eq!(status, REALSAFE_OK);
    instance
}

#[test]
fn defenses_map_images_and_cotangents() {
    let defense: &RealsafeDefense = interface(0, REALSAFE_KIND_DEFENSE);
    assert_eq!(defense.gradient, REALSAFE_GRADIENT_IDENTITY);
    let (instance, mut host) = (create(defense.create), Host::default());
    let (images, mut output, mut gradients) = ([0.0, 0.5, 1.0, 0.25], [9.0; 4], [9.0; 4]);
    // SAFETY: two rows of two pixels, and everything lives during the calls.
    unsafe {
        let forward = defense.forward.unwrap();
        assert_eq!(forward(instance, &host.table(), &SHAPE, 2, images.as_ptr(), output.as_mut_ptr()), REALSAFE_OK);
        assert_eq!(forward(instance, &host.table(), null(), 2, images.as_ptr(), output.as_mut_ptr()), REALSAFE_FAILED);
        let (pull, ones) = (defense.pull.unwrap(), [1.0; 4]);
        let to_gradients = gradients.as_mut_ptr();
        pull(instance, &host.table(), &SHAPE, 2, images.as_ptr(), ones.as_ptr(), to_gradients);
        defense.destroy.unwrap()(instance);
    }
    assert_eq!((output, gradients), ([0.0, 0.25, 0.5, 0.125], [0.5; 4]));
    assert_eq!(host.errors.len(), 1);
}

#[test]
fn models_say_their_shape_and_lack_what_they_lack() {
    let model: &RealsafeModel = interface(1, REALSAFE_KIND_MODEL);
    assert!(model.pull.is_none());
    let (instance, mut host) = (create(model.create), Host::default());
    let (mut shape, mut logits) = (SHAPE, [9.0; 6]);
    // SAFETY: two rows of two pixels, and everything lives during the calls.
    unsafe {
        assert_eq!(model.shape.unwrap()(&host.table(), null(), 0, &mut shape), REALSAFE_OK);
        let run = model.logits.unwrap();
        let status = run(instance, &host.table(), 2, [0.0, 0.5, 1.0, 0.25].as_ptr(), logits.as_mut_ptr());
        assert_eq!(status, REALSAFE_OK);
        model.destroy.unwrap()(instance);
    }
    assert_eq!((shape.channels, shape.height, shape.width, shape.classes), (2, 1, 1, 3));
    assert_eq!(logits, [0.5, 0.5, 0.5, 1.25, 1.25, 1.25]);
}

#[test]
fn losses_are_evaluated_row_by_row() {
    let loss: &RealsafeLoss = interface(2, REALSAFE_KIND_LOSS);
    let (instance, mut host) = (create(loss.create), Host::default());
    let mut evaluate = |labels: [u32; 2]| {
        let (logits, targets) = ([1.0, 2.0, 3.0, 4.0], [REALSAFE_NO_CLASS, 0]);
        let (mut objectives, mut derivatives) = ([9.0; 2], [0.0; 4]);
        let (to_objectives, to_derivatives) = (objectives.as_mut_ptr(), derivatives.as_mut_ptr());
        let (logits, labels, targets) = (logits.as_ptr(), labels.as_ptr(), targets.as_ptr());
        // SAFETY: two rows of two classes, and everything lives during the call.
        let status = unsafe {
            let evaluate = loss.evaluate.unwrap();
            evaluate(instance, &host.table(), 2, 2, logits, labels, targets, to_objectives, to_derivatives)
        };
        (status, objectives, derivatives)
    };
    assert_eq!(evaluate([1, 1]), (REALSAFE_OK, [-2.0, 3.0], [0.0, -1.0, 1.0, 0.0]));
    assert_eq!(evaluate([2, 1]).0, REALSAFE_FAILED);
    assert_eq!(host.errors, ["no such class"]);
    // SAFETY: it is not used again.
    unsafe { loss.destroy.unwrap()(instance) };
}
