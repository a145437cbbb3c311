//! Where C calls in: pointers become slices, errors and panics become a status.

use std::any::Any;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};

use realsafe_abi::{REALSAFE_OK, RealsafeHost, RealsafeShape, RealsafeStatus, RealsafeText};

use crate::{Error, Shape};

/// Runs what a function of a table does; what goes wrong is told to the host.
///
/// # Safety
/// The host is null, or a table that is valid during this call.
pub(crate) unsafe fn guard(host: *const RealsafeHost, work: impl FnOnce() -> Result<(), Error>) -> RealsafeStatus {
    let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(Error::panicked(reason(&*panic))));
    let Err(error) = result else { return REALSAFE_OK };
    // SAFETY: the caller's promise.
    let host = unsafe { reference(host) };
    if let Some((host, set_error)) = host.ok().and_then(|host| host.set_error.map(|set_error| (host, set_error)))
        && !error.message().is_empty()
    {
        // SAFETY: the context belongs to the function, and the text lives during the call.
        unsafe { set_error(host.context, text(error.message())) };
    }
    error.status()
}

fn reason(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no reason given".to_owned())
}

/// A text to be read during a call.
pub(crate) fn text(text: &str) -> RealsafeText {
    RealsafeText { data: text.as_ptr().cast(), length: text.len() as u64 }
}

/// A struct of the host, at least as large as the plugin knows it.
///
/// # Safety
/// The pointer is null, or points to a struct of the ABI that begins with its size and lives for `'a`.
pub(crate) unsafe fn reference<'a, T>(pointer: *const T) -> Result<&'a T, Error> {
    let name = std::any::type_name::<T>();
    if pointer.is_null() {
        return Err(Error::failed(format!("the host passed no {name}")));
    }
    // SAFETY: every struct begins with its size, a `u32`.
    let size = unsafe { pointer.cast::<u32>().read() } as usize;
    if size < size_of::<T>() {
        return Err(Error::failed(format!("the host's {name} has {size} bytes instead of {}", size_of::<T>())));
    }
    // SAFETY: it is as large as it says, the caller promises.
    Ok(unsafe { &*pointer })
}

/// `length` values that the host lends.
///
/// # Safety
/// The pointer is null, or points to that many values that nobody changes during `'a`.
pub(crate) unsafe fn slice<'a, T>(data: *const T, length: usize) -> Result<&'a [T], Error> {
    check(data, length)?;
    // SAFETY: not null and aligned, as was just checked; the rest is the caller's promise.
    Ok(if length == 0 { &[] } else { unsafe { std::slice::from_raw_parts(data, length) } })
}

/// `length` values that the host lends to be changed.
///
/// # Safety
/// The pointer is null, or points to that many values that nobody else uses during `'a`.
pub(crate) unsafe fn slice_mut<'a, T>(data: *mut T, length: usize) -> Result<&'a mut [T], Error> {
    check(data, length)?;
    // SAFETY: not null and aligned, as was just checked; the rest is the caller's promise.
    Ok(if length == 0 { &mut [] } else { unsafe { std::slice::from_raw_parts_mut(data, length) } })
}

fn check<T>(data: *const T, length: usize) -> Result<(), Error> {
    if length > 0 && (data.is_null() || !data.is_aligned()) {
        return Err(Error::failed("the host passed an array that is null or not aligned"));
    }
    Ok(())
}

/// Hands an instance to the host.
///
/// # Safety
/// The place is null, or can be written to.
pub(crate) unsafe fn give<T>(instance: T, place: *mut *mut c_void) -> Result<(), Error> {
    if place.is_null() {
        return Err(Error::failed("the host has no place for the instance"));
    }
    // SAFETY: not null, and the caller's promise.
    unsafe { place.write(Box::into_raw(Box::new(instance)).cast()) };
    Ok(())
}

/// The instance that the host passes back.
///
/// # Safety
/// The pointer is null, or what [`give`] gave for the same type and nobody destroyed.
pub(crate) unsafe fn instance<'a, T>(pointer: *mut c_void) -> Result<&'a T, Error> {
    // SAFETY: the caller's promise.
    unsafe { pointer.cast::<T>().as_ref() }.ok_or_else(|| Error::failed("the host passed no instance"))
}

/// Ends an instance of the type.
///
/// # Safety
/// As for [`instance`]; nobody uses the instance afterwards.
pub(crate) unsafe extern "C" fn destroy<T>(pointer: *mut c_void) {
    if !pointer.is_null() {
        // SAFETY: it came from `Box::into_raw`, the caller promises.
        let instance = unsafe { Box::from_raw(pointer.cast::<T>()) };
        // Nobody could be told about a panic.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(instance)));
    }
}

impl From<&RealsafeShape> for Shape {
    fn from(shape: &RealsafeShape) -> Self {
        Self { channels: shape.channels, height: shape.height, width: shape.width, classes: shape.classes }
    }
}
