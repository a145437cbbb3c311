//! A host of two functions' worth of sense: it notes what it is asked.

use std::ffi::c_void;
use std::ptr::{from_mut, from_ref, null_mut};

use realsafe_plugin::abi::*;

/// What was asked of a host, and what it answers.
#[derive(Default)]
pub(crate) struct Host {
    pub(crate) calls: Vec<String>,
    pub(crate) errors: Vec<String>,
    /// What questions about images return.
    pub(crate) status: RealsafeStatus,
}

pub(crate) const SHAPE: RealsafeShape =
    RealsafeShape { size: size_of::<RealsafeShape>() as u32, channels: 1, height: 1, width: 2, classes: 2 };
const PIXELS: usize = 2;
const CLASSES: usize = 2;

impl Host {
    /// The table that plugins are given.
    pub(crate) fn table(&mut self) -> RealsafeHost {
        RealsafeHost {
            size: size_of::<RealsafeHost>() as u32,
            minor: REALSAFE_MINOR,
            context: from_mut(self).cast(),
            labels: Some(labels),
            scores: Some(scores),
            gradient: Some(gradient),
            forward: Some(forward),
            pull: Some(pull),
            discard: Some(discard),
            random: Some(random),
            stream_seed: Some(stream_seed),
            steepest: Some(steepest),
            project: Some(project),
            remaining: Some(remaining),
            cancelled: Some(cancelled),
            log: Some(log),
            set_error: Some(set_error),
        }
    }
}

/// # Safety
/// The context is a host, and pointers have the lengths of the ABI. That holds for all functions here.
unsafe fn asked(context: *mut c_void, name: &str, rows: *const u32, count: u32, images: *const f32) -> RealsafeStatus {
    // SAFETY: the caller's promise.
    let (host, rows, images) = unsafe {
        let images = std::slice::from_raw_parts(images, count as usize * PIXELS);
        (&mut *context.cast::<Host>(), std::slice::from_raw_parts(rows, count as usize), images)
    };
    host.calls.push(format!("{name} {rows:?} {images:?}"));
    host.status
}

unsafe extern "C" fn labels(
    context: *mut c_void,
    count: u32,
    rows: *const u32,
    images: *const f32,
    role: u32,
    predictions: *mut u32,
) -> RealsafeStatus {
    // SAFETY: see `asked`.
    unsafe {
        std::slice::from_raw_parts_mut(predictions, count as usize).fill(1);
        asked(context, &format!("labels as {role}"), rows, count, images)
    }
}

/// Logits 1, 2, 3, ...
unsafe fn count_up(values: *mut f32, count: usize) {
    // SAFETY: see `asked`.
    let values = unsafe { std::slice::from_raw_parts_mut(values, count) };
    values.iter_mut().zip(1_u8..).for_each(|(value, number)| *value = number.into());
}

unsafe extern "C" fn scores(
    context: *mut c_void,
    network: u32,
    count: u32,
    rows: *const u32,
    images: *const f32,
    _: u32,
    logits: *mut f32,
) -> RealsafeStatus {
    // SAFETY: see `asked`.
    unsafe {
        count_up(logits, count as usize * CLASSES);
        asked(context, &format!("scores of {network}"), rows, count, images)
    }
}

unsafe extern "C" fn gradient(
    context: *mut c_void,
    network: u32,
    count: u32,
    rows: *const u32,
    images: *const f32,
    loss: u64,
    _: u32,
    logits: *mut f32,
    gradients: *mut f32,
) -> RealsafeStatus {
    // SAFETY: see `asked`.
    unsafe {
        count_up(logits, count as usize * CLASSES);
        count_up(gradients, count as usize * PIXELS);
        asked(context, &format!("gradient {loss} of {network}"), rows, count, images)
    }
}

unsafe extern "C" fn forward(
    context: *mut c_void,
    network: u32,
    count: u32,
    rows: *const u32,
    images: *const f32,
    _: u32,
    logits: *mut f32,
    tape: *mut u64,
) -> RealsafeStatus {
    // SAFETY: see `asked`.
    unsafe {
        count_up(logits, count as usize * CLASSES);
        tape.write(7);
        asked(context, &format!("forward of {network}"), rows, count, images)
    }
}

unsafe extern "C" fn pull(
    context: *mut c_void,
    tape: u64,
    cotangents: *const f32,
    gradients: *mut f32,
) -> RealsafeStatus {
    // SAFETY: see `asked`; the tests pull tapes of one image.
    unsafe {
        let cotangents = std::slice::from_raw_parts(cotangents, CLASSES);
        let host = &mut *context.cast::<Host>();
        host.calls.push(format!("pull {tape} {cotangents:?}"));
        count_up(gradients, PIXELS);
        host.status
    }
}

unsafe extern "C" fn discard(context: *mut c_void, tape: u64) -> RealsafeStatus {
    // SAFETY: see `asked`.
    unsafe { &mut *context.cast::<Host>() }.calls.push(format!("discard {tape}"));
    REALSAFE_OK
}

unsafe extern "C" fn random(
    context: *mut c_void,
    row: u32,
    stream: u32,
    distribution: u32,
    radius: f32,
    count: u64,
    values: *mut f32,
) -> RealsafeStatus {
    // SAFETY: see `asked`.
    unsafe {
        count_up(values, count as usize);
        (&mut *context.cast::<Host>()).calls.push(format!("random {row} {stream} {distribution} {radius} {count}"));
    }
    REALSAFE_OK
}

unsafe extern "C" fn stream_seed(_: *mut c_void, row: u32, stream: u32, seed: *mut u8) -> RealsafeStatus {
    // SAFETY: see `asked`.
    unsafe { std::slice::from_raw_parts_mut(seed, 32).fill((row + stream) as u8) };
    REALSAFE_OK
}

unsafe extern "C" fn steepest(_: *mut c_void, count: u32, _: *const u32, gradients: *mut f32) -> RealsafeStatus {
    // SAFETY: see `asked`.
    let gradients = unsafe { std::slice::from_raw_parts_mut(gradients, count as usize * PIXELS) };
    gradients.iter_mut().for_each(|gradient| *gradient = gradient.signum());
    REALSAFE_OK
}

unsafe extern "C" fn project(_: *mut c_void, count: u32, _: *const u32, images: *mut f32) -> RealsafeStatus {
    // SAFETY: see `asked`.
    let images = unsafe { std::slice::from_raw_parts_mut(images, count as usize * PIXELS) };
    images.iter_mut().for_each(|pixel| *pixel = pixel.clamp(0.0, 1.0));
    REALSAFE_OK
}

unsafe extern "C" fn remaining(_: *mut c_void, row: u32, remaining: *mut RealsafeCost) -> RealsafeStatus {
    // SAFETY: see `asked`.
    unsafe {
        remaining.write(RealsafeCost { queries: row.into(), forwards: 5, backwards: REALSAFE_UNLIMITED });
    }
    REALSAFE_OK
}

unsafe extern "C" fn cancelled(context: *mut c_void) -> u32 {
    // SAFETY: see `asked`.
    u32::from(unsafe { &*context.cast::<Host>() }.status == REALSAFE_CANCELLED)
}

unsafe extern "C" fn log(context: *mut c_void, level: u32, message: RealsafeText) {
    // SAFETY: see `asked`.
    unsafe { (&mut *context.cast::<Host>()).calls.push(format!("log {level} {}", read(message))) };
}

unsafe extern "C" fn set_error(context: *mut c_void, message: RealsafeText) {
    // SAFETY: see `asked`.
    unsafe { (&mut *context.cast::<Host>()).errors.push(read(message)) };
}

/// # Safety
/// The text lives.
pub(crate) unsafe fn read(text: RealsafeText) -> String {
    // SAFETY: the caller's promise.
    let bytes = unsafe { std::slice::from_raw_parts(text.data.cast::<u8>(), text.length as usize) };
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub(crate) const UNSET: RealsafeValue = RealsafeValue {
    size: size_of::<RealsafeValue>() as u32,
    kind: 0,
    count: 0,
    number: 0.0,
    numbers: std::ptr::null(),
    number_count: 0,
    text: RealsafeText { data: std::ptr::null(), length: 0 },
    bytes: std::ptr::null(),
    byte_count: 0,
};

/// Creates an instance of an attack for two surrogates.
pub(crate) fn create(
    host: &mut Host,
    attack: &RealsafeAttack,
    values: &[RealsafeValue],
) -> Result<*mut c_void, RealsafeStatus> {
    let problem = RealsafeProblem {
        size: size_of::<RealsafeProblem>() as u32,
        norm: REALSAFE_LINF,
        goal: REALSAFE_UNTARGETED,
        surrogates: 2,
        shape: SHAPE,
    };
    let pointers: Vec<_> = values.iter().map(from_ref).collect();
    let mut instance = null_mut();
    // SAFETY: everything lives during the call.
    let status = unsafe {
        let create = attack.create.unwrap();
        create(&host.table(), &problem, pointers.as_ptr(), pointers.len() as u64, &mut instance)
    };
    if status == REALSAFE_OK { Ok(instance) } else { Err(status) }
}
