//! The functions that a plugin may call: from C pointers to slices and back.

use std::ffi::c_void;

use realsafe_abi::{
    REALSAFE_ACCESS_GRADIENTS, REALSAFE_ACCESS_LABELS, REALSAFE_ACCESS_SCORES, REALSAFE_MINOR, REALSAFE_OK,
    RealsafeCost, RealsafeHost, RealsafeStatus, RealsafeText,
};

use crate::context::{Context, status};
use crate::gate::{Gate, Rights, nonsense};
use crate::{Callbacks, Failure};

/// How much of a message is kept, in bytes.
const MESSAGE_KEPT: u64 = 4096;
/// How many numbers may be drawn at once.
pub(crate) const MOST_NUMBERS: u64 = 1 << 27;

/// The host table of a call with these rights.
pub(crate) fn table(context: *mut Context<'_, '_>, rights: Rights) -> RealsafeHost {
    let asks = rights.rows > 0;
    let tapes = rights.any(REALSAFE_ACCESS_GRADIENTS);
    RealsafeHost {
        size: size_of::<RealsafeHost>() as u32,
        minor: REALSAFE_MINOR,
        context: context.cast(),
        labels: (asks && rights.access >= REALSAFE_ACCESS_LABELS).then_some(labels as _),
        scores: rights.any(REALSAFE_ACCESS_SCORES).then_some(scores as _),
        gradient: tapes.then_some(gradient as _),
        forward: tapes.then_some(forward as _),
        pull: tapes.then_some(pull as _),
        discard: tapes.then_some(discard as _),
        random: asks.then_some(random as _),
        stream_seed: asks.then_some(stream_seed as _),
        steepest: asks.then_some(steepest as _),
        project: asks.then_some(project as _),
        remaining: asks.then_some(remaining as _),
        cancelled: Some(cancelled),
        log: Some(log),
        set_error: Some(set_error),
    }
}

/// The context behind a host table's pointer.
///
/// # Safety
/// The pointer is the one of a table that `call` made, during that call.
unsafe fn context<'a>(context: *mut c_void) -> &'a mut Context<'a, 'a> {
    // SAFETY: `call` made it from a context, and uses that again only after the plugin's function returned.
    unsafe { &mut *context.cast() }
}

/// Answers a question: what is refused or panics is kept by the gate.
///
/// # Safety
/// That of [`context`].
unsafe fn answer(pointer: *mut c_void, action: impl FnOnce(&mut Gate<'_>) -> Result<(), Failure>) -> RealsafeStatus {
    // SAFETY: passed on to the caller.
    let context = unsafe { context(pointer) };
    match context.gate.guard(action) {
        Ok(()) => REALSAFE_OK,
        Err(failure) => {
            context.message.get_or_insert_with(|| failure.message.clone());
            status(&failure)
        }
    }
}

fn check_pointer<T>(pointer: *const T, length: usize) -> Result<(), Failure> {
    if pointer.is_null() {
        return Err(nonsense("the plugin passed a null pointer to its host"));
    }
    if !pointer.is_aligned() || length.checked_mul(size_of::<T>()).is_none_or(|bytes| bytes > isize::MAX as usize) {
        return Err(nonsense(
            "the plugin passed its host a pointer that is not aligned, or a length beyond all memory",
        ));
    }
    Ok(())
}

/// # Safety
/// If the pointer is not null, that many values can be read there.
unsafe fn read<'a, T>(pointer: *const T, length: usize) -> Result<&'a [T], Failure> {
    if length == 0 {
        return Ok(&[]);
    }
    check_pointer(pointer, length)?;
    // SAFETY: checked, and promised by the caller.
    Ok(unsafe { std::slice::from_raw_parts(pointer, length) })
}

/// # Safety
/// If the pointer is not null, that many values can be written there, and were before.
unsafe fn change<'a, T>(pointer: *mut T, length: usize) -> Result<&'a mut [T], Failure> {
    if length == 0 {
        return Ok(&mut []);
    }
    check_pointer(pointer, length)?;
    // SAFETY: checked, and promised by the caller.
    Ok(unsafe { std::slice::from_raw_parts_mut(pointer, length) })
}

/// Writes an answer.
///
/// # Safety
/// If the pointer is not null, as many values can be written there.
unsafe fn write<T: Copy>(pointer: *mut T, values: &[T]) -> Result<(), Failure> {
    if values.is_empty() {
        return Ok(());
    }
    check_pointer(pointer, values.len())?;
    // SAFETY: checked, and promised by the caller; the values are the host's own.
    unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), pointer, values.len()) };
    Ok(())
}

/// # Safety
/// If the pointer is not null, it points to that many bytes.
unsafe fn text(text: RealsafeText) -> Option<String> {
    // SAFETY: promised by the caller.
    let bytes = unsafe { read(text.data.cast::<u8>(), text.length.min(MESSAGE_KEPT) as usize) };
    bytes.ok().filter(|bytes| !bytes.is_empty()).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

// SAFETY of all functions below: the ABI asks the plugin to pass the context of the table during the call that it
// got the table for, and pointers to as many values as the other arguments say.

unsafe extern "C" fn labels(
    context: *mut c_void,
    count: u32,
    rows: *const u32,
    images: *const f32,
    role: u32,
    predictions: *mut u32,
) -> RealsafeStatus {
    // SAFETY: see above.
    unsafe {
        answer(context, |gate| {
            let images = read(images, count as usize * gate.rights().values())?;
            write(predictions, &gate.labels(read(rows, count as usize)?, images, role)?)
        })
    }
}

unsafe extern "C" fn scores(
    context: *mut c_void,
    network: u32,
    count: u32,
    rows: *const u32,
    images: *const f32,
    role: u32,
    logits: *mut f32,
) -> RealsafeStatus {
    // SAFETY: see above.
    unsafe {
        answer(context, |gate| {
            let images = read(images, count as usize * gate.rights().values())?;
            write(logits, &gate.scores(network, read(rows, count as usize)?, images, role)?)
        })
    }
}

unsafe extern "C" fn gradient(
    context: *mut c_void,
    network: u32,
    count: u32,
    rows: *const u32,
    images: *const f32,
    loss: u64,
    role: u32,
    logits: *mut f32,
    gradients: *mut f32,
) -> RealsafeStatus {
    // SAFETY: see above.
    unsafe {
        answer(context, |gate| {
            let images = read(images, count as usize * gate.rights().values())?;
            let (found_logits, found) = gate.gradient(network, read(rows, count as usize)?, images, loss, role)?;
            write(logits, &found_logits)?;
            write(gradients, &found)
        })
    }
}

unsafe extern "C" fn forward(
    context: *mut c_void,
    network: u32,
    count: u32,
    rows: *const u32,
    images: *const f32,
    role: u32,
    logits: *mut f32,
    tape: *mut u64,
) -> RealsafeStatus {
    // SAFETY: see above.
    unsafe {
        answer(context, |gate| {
            check_pointer(tape, 1)?;
            let images = read(images, count as usize * gate.rights().values())?;
            let (found, number) = gate.forward(network, read(rows, count as usize)?, images, role)?;
            write(tape, &[number])?;
            write(logits, &found)
        })
    }
}

unsafe extern "C" fn pull(
    context: *mut c_void,
    tape: u64,
    cotangents: *const f32,
    gradients: *mut f32,
) -> RealsafeStatus {
    // SAFETY: see above.
    unsafe {
        answer(context, |gate| {
            let count = gate.live(tape)?;
            write(gradients, &gate.pull(tape, read(cotangents, count * gate.rights().classes())?)?)
        })
    }
}

unsafe extern "C" fn discard(context: *mut c_void, tape: u64) -> RealsafeStatus {
    // SAFETY: see above.
    unsafe { answer(context, |gate| gate.discard(tape)) }
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
    // SAFETY: see above. The values are zeros before the host sees them.
    unsafe {
        answer(context, |gate| {
            if count > MOST_NUMBERS {
                return Err(nonsense(format!("the plugin asked for {count} random numbers at once")));
            }
            if count > 0 {
                check_pointer(values, count as usize)?;
                values.write_bytes(0, count as usize);
            }
            gate.random(row, stream, distribution, radius, change(values, count as usize)?)
        })
    }
}

unsafe extern "C" fn stream_seed(context: *mut c_void, row: u32, stream: u32, seed: *mut u8) -> RealsafeStatus {
    // SAFETY: see above.
    unsafe { answer(context, |gate| write(seed, &gate.stream_seed(row, stream)?)) }
}

unsafe extern "C" fn steepest(
    context: *mut c_void,
    count: u32,
    rows: *const u32,
    gradients: *mut f32,
) -> RealsafeStatus {
    // SAFETY: see above.
    unsafe {
        answer(context, |gate| {
            let gradients = change(gradients, count as usize * gate.rights().values())?;
            gate.steepest(read(rows, count as usize)?, gradients)
        })
    }
}

unsafe extern "C" fn project(context: *mut c_void, count: u32, rows: *const u32, images: *mut f32) -> RealsafeStatus {
    // SAFETY: see above.
    unsafe {
        answer(context, |gate| {
            let images = change(images, count as usize * gate.rights().values())?;
            gate.project(read(rows, count as usize)?, images)
        })
    }
}

unsafe extern "C" fn remaining(context: *mut c_void, row: u32, remaining: *mut RealsafeCost) -> RealsafeStatus {
    // SAFETY: see above.
    unsafe {
        answer(context, |gate| {
            let work = gate.remaining(row)?;
            let cost = RealsafeCost { queries: work.queries, forwards: work.forwards, backwards: work.backwards };
            write(remaining, &[cost])
        })
    }
}

unsafe extern "C" fn cancelled(pointer: *mut c_void) -> u32 {
    // SAFETY: see above.
    unsafe { context(pointer) }.gate.cancelled().into()
}

unsafe extern "C" fn log(pointer: *mut c_void, level: u32, message: RealsafeText) {
    // SAFETY: see above.
    unsafe {
        if let Some(message) = text(message) {
            context(pointer).gate.log(level, &message);
        }
    }
}

unsafe extern "C" fn set_error(pointer: *mut c_void, message: RealsafeText) {
    // SAFETY: see above.
    unsafe {
        if let Some(message) = text(message) {
            context(pointer).message = Some(message);
        }
    }
}
