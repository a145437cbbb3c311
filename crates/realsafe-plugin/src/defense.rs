//! Defenses.

use std::ffi::c_void;

use realsafe_abi::{
    REALSAFE_GRADIENT_BLOCKED, REALSAFE_GRADIENT_EXACT, REALSAFE_GRADIENT_IDENTITY, RealsafeDefense, RealsafeHost,
    RealsafeShape, RealsafeStatus, RealsafeValue,
};

use crate::boundary::{destroy, give, guard, instance, reference, slice, slice_mut};
use crate::{About, Error, Shape, Values};

/// The gradient of a defense that attackers are given by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Gradient {
    /// The derivative, from [`Defense::pull`].
    Exact = REALSAFE_GRADIENT_EXACT,
    /// The identity: backward pass differentiable approximation (BPDA).
    Identity = REALSAFE_GRADIENT_IDENTITY,
    /// Zeros.
    Blocked = REALSAFE_GRADIENT_BLOCKED,
}

/// A component that stands in front of a model: deterministic, images to images of the same shape in `[0, 1]`, row by row.
pub trait Defense: Send + Sized + 'static {
    /// What the defense says about itself.
    const ABOUT: About;
    /// The gradient that attackers are given by default.
    const GRADIENT: Gradient;
    /// Whether there is a [`pull`](Self::pull).
    const DIFFERENTIABLE: bool;

    /// Sets up the defense.
    ///
    /// # Errors
    /// Parameters that do not fit.
    fn create(values: &Values<'_>) -> Result<Self, Error>;

    /// What the model gets to see of images, row by row.
    ///
    /// # Errors
    /// The defense's own reason.
    fn forward(&self, shape: &Shape, images: &[f32], output: &mut [f32]) -> Result<(), Error>;

    /// The vector-Jacobian product of `forward` at the images: cotangents of its output to gradients.
    ///
    /// # Errors
    /// The defense's own reason; there is none unless it is [`DIFFERENTIABLE`](Self::DIFFERENTIABLE).
    fn pull(&self, shape: &Shape, images: &[f32], cotangents: &[f32], gradients: &mut [f32]) -> Result<(), Error> {
        let _ = (shape, images, cotangents, gradients);
        Err(Error::unsupported("the defense has no derivative"))
    }
}

/// The functions of `D`.
pub(crate) const fn table<D: Defense>() -> RealsafeDefense {
    RealsafeDefense {
        size: size_of::<RealsafeDefense>() as u32,
        gradient: D::GRADIENT as u32,
        create: Some(create::<D>),
        destroy: Some(destroy::<D>),
        forward: Some(forward::<D>),
        pull: if D::DIFFERENTIABLE { Some(pull::<D>) } else { None },
    }
}

unsafe extern "C" fn create<D: Defense>(
    host: *const RealsafeHost,
    values: *const *const RealsafeValue,
    value_count: u64,
    instance: *mut *mut c_void,
) -> RealsafeStatus {
    // SAFETY: the host passes what the ABI says.
    let work = || unsafe { give(D::create(&Values::new(&D::ABOUT, values, value_count)?)?, instance) };
    // SAFETY: the host passes its own table.
    unsafe { guard(host, work) }
}

unsafe extern "C" fn forward<D: Defense>(
    pointer: *mut c_void,
    host: *const RealsafeHost,
    shape: *const RealsafeShape,
    rows: u32,
    images: *const f32,
    output: *mut f32,
) -> RealsafeStatus {
    let work = || {
        // SAFETY: the host passes what `create` gave, and so many images.
        let (defense, shape) = unsafe { (instance::<D>(pointer)?, Shape::from(reference(shape)?)) };
        let length = rows as usize * shape.values();
        // SAFETY: as above.
        unsafe { defense.forward(&shape, slice(images, length)?, slice_mut(output, length)?) }
    };
    // SAFETY: the host passes its own table.
    unsafe { guard(host, work) }
}

unsafe extern "C" fn pull<D: Defense>(
    pointer: *mut c_void,
    host: *const RealsafeHost,
    shape: *const RealsafeShape,
    rows: u32,
    images: *const f32,
    cotangents: *const f32,
    gradients: *mut f32,
) -> RealsafeStatus {
    let work = || {
        // SAFETY: the host passes what `create` gave, and so many images.
        let (defense, shape) = unsafe { (instance::<D>(pointer)?, Shape::from(reference(shape)?)) };
        let length = rows as usize * shape.values();
        // SAFETY: as above.
        let (images, cotangents, gradients) =
            unsafe { (slice(images, length)?, slice(cotangents, length)?, slice_mut(gradients, length)?) };
        defense.pull(&shape, images, cotangents, gradients)
    };
    // SAFETY: the host passes its own table.
    unsafe { guard(host, work) }
}
