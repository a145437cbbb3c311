//! Models.

use std::ffi::c_void;

use realsafe_abi::{RealsafeHost, RealsafeModel, RealsafeShape, RealsafeStatus, RealsafeValue};

use crate::boundary::{destroy, give, guard, instance, reference, slice, slice_mut};
use crate::{About, Error, Shape, Values};

/// A component that maps images to logits: deterministic, row by row.
pub trait Model: Send + Sized + 'static {
    /// What the model says about itself.
    const ABOUT: About;
    /// Whether there is a [`pull`](Self::pull).
    const DIFFERENTIABLE: bool;

    /// The shape that it takes and the number of logits that it gives. Files are not there yet.
    ///
    /// # Errors
    /// Parameters that do not fit.
    fn shape(values: &Values<'_>) -> Result<Shape, Error>;

    /// Sets up the model.
    ///
    /// # Errors
    /// Parameters, or a file, that do not fit.
    fn create(values: &Values<'_>) -> Result<Self, Error>;

    /// The logits of images, row by row.
    ///
    /// # Errors
    /// The model's own reason.
    fn logits(&self, images: &[f32], logits: &mut [f32]) -> Result<(), Error>;

    /// The vector-Jacobian product of `logits` at the images: cotangents of the logits to gradients.
    ///
    /// # Errors
    /// The model's own reason; there is none unless it is [`DIFFERENTIABLE`](Self::DIFFERENTIABLE).
    fn pull(&self, images: &[f32], cotangents: &[f32], gradients: &mut [f32]) -> Result<(), Error> {
        let _ = (images, cotangents, gradients);
        Err(Error::unsupported("the model has no derivative"))
    }
}

/// A model, and the shape that it takes.
struct Instance<M> {
    model: M,
    shape: Shape,
}

/// The functions of `M`.
pub(crate) const fn table<M: Model>() -> RealsafeModel {
    RealsafeModel {
        size: size_of::<RealsafeModel>() as u32,
        shape: Some(shape::<M>),
        create: Some(create::<M>),
        destroy: Some(destroy::<Instance<M>>),
        logits: Some(logits::<M>),
        pull: if M::DIFFERENTIABLE { Some(pull::<M>) } else { None },
    }
}

unsafe extern "C" fn shape<M: Model>(
    host: *const RealsafeHost,
    values: *const *const RealsafeValue,
    value_count: u64,
    shape: *mut RealsafeShape,
) -> RealsafeStatus {
    let work = || {
        // SAFETY: the host passes what the ABI says; only the size of the shape is read.
        let (values, size) = unsafe { (Values::new(&M::ABOUT, values, value_count)?, reference(shape)?.size) };
        let Shape { channels, height, width, classes } = M::shape(&values)?;
        // SAFETY: it is large enough, as `reference` checked, and the host lends it to be written.
        unsafe { shape.write(RealsafeShape { size, channels, height, width, classes }) };
        Ok(())
    };
    // SAFETY: the host passes its own table.
    unsafe { guard(host, work) }
}

unsafe extern "C" fn create<M: Model>(
    host: *const RealsafeHost,
    values: *const *const RealsafeValue,
    value_count: u64,
    instance: *mut *mut c_void,
) -> RealsafeStatus {
    let work = || {
        // SAFETY: the host passes what the ABI says.
        let values = unsafe { Values::new(&M::ABOUT, values, value_count) }?;
        // SAFETY: as above.
        unsafe { give(Instance { model: M::create(&values)?, shape: M::shape(&values)? }, instance) }
    };
    // SAFETY: the host passes its own table.
    unsafe { guard(host, work) }
}

unsafe extern "C" fn logits<M: Model>(
    pointer: *mut c_void,
    host: *const RealsafeHost,
    rows: u32,
    images: *const f32,
    logits: *mut f32,
) -> RealsafeStatus {
    let work = || {
        // SAFETY: the host passes what `create` gave.
        let Instance { model, shape } = unsafe { instance::<Instance<M>>(pointer) }?;
        let (pixels, scores) = (rows as usize * shape.values(), rows as usize * shape.classes as usize);
        // SAFETY: the host passes so many images, and room for their logits.
        unsafe { model.logits(slice(images, pixels)?, slice_mut(logits, scores)?) }
    };
    // SAFETY: the host passes its own table.
    unsafe { guard(host, work) }
}

unsafe extern "C" fn pull<M: Model>(
    pointer: *mut c_void,
    host: *const RealsafeHost,
    rows: u32,
    images: *const f32,
    cotangents: *const f32,
    gradients: *mut f32,
) -> RealsafeStatus {
    let work = || {
        // SAFETY: the host passes what `create` gave.
        let Instance { model, shape } = unsafe { instance::<Instance<M>>(pointer) }?;
        let (pixels, scores) = (rows as usize * shape.values(), rows as usize * shape.classes as usize);
        // SAFETY: the host passes so many images and cotangents, and room for gradients.
        let (images, cotangents, gradients) =
            unsafe { (slice(images, pixels)?, slice(cotangents, scores)?, slice_mut(gradients, pixels)?) };
        model.pull(images, cotangents, gradients)
    };
    // SAFETY: the host passes its own table.
    unsafe { guard(host, work) }
}
