//! Losses.

use std::ffi::c_void;

use realsafe_abi::{RealsafeHost, RealsafeLoss, RealsafeStatus, RealsafeValue};

use crate::boundary::{destroy, give, guard, instance, slice, slice_mut};
use crate::{About, Error, NO_CLASS, Values};

/// A component that gradient attacks raise, as a function of one sample's logits.
pub trait Loss: Send + Sized + 'static {
    /// What the loss says about itself.
    const ABOUT: About;

    /// Sets up the loss.
    ///
    /// # Errors
    /// Parameters that do not fit.
    fn create(values: &Values<'_>) -> Result<Self, Error>;

    /// What the attacker raises: away from the label or, where there is one, towards the target. Its derivative with
    /// respect to each logit goes to `derivatives`.
    ///
    /// # Errors
    /// The loss's own reason.
    fn evaluate(&self, logits: &[f32], label: u32, target: Option<u32>, derivatives: &mut [f32]) -> Result<f32, Error>;
}

/// The functions of `L`.
pub(crate) const fn table<L: Loss>() -> RealsafeLoss {
    RealsafeLoss {
        size: size_of::<RealsafeLoss>() as u32,
        create: Some(create::<L>),
        destroy: Some(destroy::<L>),
        evaluate: Some(evaluate::<L>),
    }
}

unsafe extern "C" fn create<L: Loss>(
    host: *const RealsafeHost,
    values: *const *const RealsafeValue,
    value_count: u64,
    instance: *mut *mut c_void,
) -> RealsafeStatus {
    // SAFETY: the host passes what the ABI says.
    let work = || unsafe { give(L::create(&Values::new(&L::ABOUT, values, value_count)?)?, instance) };
    // SAFETY: the host passes its own table.
    unsafe { guard(host, work) }
}

unsafe extern "C" fn evaluate<L: Loss>(
    pointer: *mut c_void,
    host: *const RealsafeHost,
    rows: u32,
    classes: u32,
    logits: *const f32,
    labels: *const u32,
    targets: *const u32,
    objectives: *mut f32,
    derivatives: *mut f32,
) -> RealsafeStatus {
    let work = || {
        let (rows, classes) = (rows as usize, classes as usize);
        // SAFETY: the host passes what `create` gave, so many rows, and room for results.
        let (loss, logits, labels, targets) = unsafe {
            (instance::<L>(pointer)?, slice(logits, rows * classes)?, slice(labels, rows)?, slice(targets, rows)?)
        };
        // SAFETY: as above.
        let (objectives, derivatives) =
            unsafe { (slice_mut(objectives, rows)?, slice_mut(derivatives, rows * classes)?) };
        for row in 0..rows {
            let (from, to) = (row * classes, (row + 1) * classes);
            let target = Some(targets[row]).filter(|target| *target != NO_CLASS);
            objectives[row] = loss.evaluate(&logits[from..to], labels[row], target, &mut derivatives[from..to])?;
        }
        Ok(())
    };
    // SAFETY: the host passes its own table.
    unsafe { guard(host, work) }
}
