//! Reading structs, texts and lists behind pointers, with errors that say where.

use std::mem::MaybeUninit;

use realsafe_abi::RealsafeText;

use crate::LoadError;

/// The most entries of a list, and the most bytes of a text. More is a mistake.
const MOST_ENTRIES: u64 = 1024;
const MOST_BYTES: u64 = 1 << 20;

/// What is being read: the plugin, and the place in its table.
#[derive(Clone)]
pub(crate) struct Place<'a> {
    /// The plugin, for errors.
    pub(crate) plugin: &'a str,
    /// The component and the field.
    pub(crate) name: String,
}

impl<'a> Place<'a> {
    pub(crate) fn at(&self, name: impl std::fmt::Display) -> Self {
        let separator = if self.name.is_empty() { "" } else { ", " };
        Self { plugin: self.plugin, name: format!("{}{separator}{name}", self.name) }
    }

    pub(crate) fn malformed(&self, reason: impl Into<String>) -> LoadError {
        LoadError::Malformed { plugin: self.plugin.to_owned(), place: self.name.clone(), reason: reason.into() }
    }

    /// Checks that a pointer can be read.
    pub(crate) fn check<T>(&self, pointer: *const T) -> Result<(), LoadError> {
        if pointer.is_null() {
            return Err(self.malformed("is a null pointer"));
        }
        if pointer.is_aligned() { Ok(()) } else { Err(self.malformed("is a pointer that is not aligned")) }
    }

    /// Reads a struct that begins with its size; what it does not have is zero.
    ///
    /// # Safety
    /// The pointer is null, not aligned, or points to such a struct. All zeros are a value of the type.
    pub(crate) unsafe fn read<T: Copy>(&self, pointer: *const T, least: usize) -> Result<T, LoadError> {
        self.check(pointer)?;
        // SAFETY: the struct begins with its size, by the ABI.
        let found = unsafe { pointer.cast::<u32>().read() };
        if (found as usize) < least {
            let plugin = self.plugin.to_owned();
            return Err(LoadError::Truncated { plugin, place: self.name.clone(), found, least: least as u32 });
        }
        let mut value = MaybeUninit::<T>::zeroed();
        let size = size_of::<T>().min(found as usize);
        // SAFETY: as many bytes are there as the struct says, and as many fit; the rest is zero.
        unsafe {
            std::ptr::copy_nonoverlapping(pointer.cast::<u8>(), value.as_mut_ptr().cast::<u8>(), size);
            Ok(value.assume_init())
        }
    }

    /// # Safety
    /// The text's pointer is null or points to as many bytes as it says.
    pub(crate) unsafe fn text(&self, text: RealsafeText) -> Result<String, LoadError> {
        if text.length == 0 {
            return Ok(String::new());
        }
        self.check(text.data)?;
        if text.length > MOST_BYTES {
            return Err(self.malformed(format!("has {} bytes, more than {MOST_BYTES}", text.length)));
        }
        // SAFETY: promised by the caller.
        let bytes = unsafe { std::slice::from_raw_parts(text.data.cast::<u8>(), text.length as usize) };
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| self.malformed("is not UTF-8"))
    }

    /// # Safety
    /// That of [`text`](Self::text).
    pub(crate) unsafe fn kebab(&self, text: RealsafeText) -> Result<String, LoadError> {
        // SAFETY: passed on to the caller.
        let name = unsafe { self.text(text) }?;
        if is_kebab_case(&name) {
            return Ok(name);
        }
        Err(self.malformed(format!("is {name:?}, but has to be in kebab case: `my-attack-2`")))
    }

    /// # Safety
    /// The pointer is null, not aligned, or points to that many entries.
    pub(crate) unsafe fn list<T>(&self, pointer: *const T, count: u64) -> Result<&'a [T], LoadError> {
        if count == 0 {
            return Ok(&[]);
        }
        self.check(pointer)?;
        if count > MOST_ENTRIES {
            return Err(self.malformed(format!("has {count} entries, more than {MOST_ENTRIES}")));
        }
        // SAFETY: checked, and promised by the caller.
        Ok(unsafe { std::slice::from_raw_parts(pointer, count as usize) })
    }

    pub(crate) fn required<T>(&self, function: Option<T>, name: &str) -> Result<(), LoadError> {
        function.map(drop).ok_or_else(|| self.at(name).malformed("is null, but is needed"))
    }

    pub(crate) fn flag(&self, value: u32) -> Result<bool, LoadError> {
        match value {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.malformed(format!("is {value} instead of 0 or 1"))),
        }
    }
}

/// Whether plugins and their components may have that name: lowercase words and numbers, joined by hyphens.
pub fn is_kebab_case(name: &str) -> bool {
    let word =
        |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    name.starts_with(|first: char| first.is_ascii_lowercase()) && name.split('-').all(word)
}
