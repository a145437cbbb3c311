//! Memory as the ABI wants it: aligned to 64 bytes.

use bytemuck::{AnyBitPattern, NoUninit, Pod, Zeroable};

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Lane([u8; 64]);

// SAFETY: an array of bytes, all of which may be zero.
unsafe impl Zeroable for Lane {}
// SAFETY: an array of bytes without padding: its size is its alignment.
unsafe impl Pod for Lane {}

/// Bytes whose first one is aligned to 64 bytes.
pub(crate) struct Aligned {
    lanes: Vec<Lane>,
    length: usize,
}

impl Aligned {
    /// That many zeros.
    pub(crate) fn zeroed(length: usize) -> Self {
        Self { lanes: bytemuck::zeroed_vec(length.div_ceil(size_of::<Lane>())), length }
    }

    pub(crate) fn copy_of<T: NoUninit>(values: &[T]) -> Self {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        let mut copy = Self::zeroed(bytes.len());
        copy.bytes_mut().copy_from_slice(bytes);
        copy
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.lanes)[..self.length]
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.lanes)[..self.length]
    }

    /// The content as values; none if their size does not divide its length.
    pub(crate) fn values<T: AnyBitPattern>(&self) -> &[T] {
        bytemuck::try_cast_slice(self.bytes()).unwrap_or_default()
    }

    /// The content as values that can be changed; none if their size does not divide its length.
    pub(crate) fn values_mut<T: Pod>(&mut self) -> &mut [T] {
        bytemuck::try_cast_slice_mut(self.bytes_mut()).unwrap_or_default()
    }
}

fn is_aligned<T>(values: &[T]) -> bool {
    values.as_ptr().cast::<Lane>().is_aligned()
}

/// Values to be read by a plugin; copied only where they are not aligned.
pub(crate) struct Lent<'a, T> {
    values: &'a [T],
    copy: Option<Aligned>,
}

impl<'a, T: NoUninit> Lent<'a, T> {
    pub(crate) fn new(values: &'a [T]) -> Self {
        Self { values, copy: (!is_aligned(values)).then(|| Aligned::copy_of(values)) }
    }

    pub(crate) fn pointer(&self) -> *const T {
        self.copy.as_ref().map_or(self.values.as_ptr(), |copy| copy.bytes().as_ptr().cast())
    }

    /// What has to be kept for the pointer, beside the values.
    pub(crate) fn into_copy(self) -> Option<Aligned> {
        self.copy
    }
}

/// Values to be changed by a plugin. They are changed when this is dropped, at the latest.
pub(crate) struct LentMut<'a, T: Pod> {
    values: &'a mut [T],
    copy: Option<Aligned>,
}

impl<'a, T: Pod> LentMut<'a, T> {
    pub(crate) fn new(values: &'a mut [T]) -> Self {
        let copy = (!is_aligned(values)).then(|| Aligned::copy_of(values));
        Self { values, copy }
    }

    pub(crate) fn pointer(&mut self) -> *mut T {
        match &mut self.copy {
            Some(copy) => copy.bytes_mut().as_mut_ptr().cast(),
            None => self.values.as_mut_ptr(),
        }
    }
}

impl<T: Pod> Drop for LentMut<'_, T> {
    fn drop(&mut self) {
        if let Some(copy) = &self.copy {
            self.values.copy_from_slice(copy.values());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_slices_are_copied_once_and_written_back() {
        let mut buffer = Aligned::copy_of(&[1_f32, 2.0, 3.0, 4.0]);
        assert_eq!(Lent::new(buffer.values::<f32>()).pointer(), buffer.values::<f32>().as_ptr());
        let odd = &mut buffer.values_mut::<f32>()[1..];
        let mut lent = LentMut::new(odd);
        assert!(lent.pointer().cast::<Lane>().is_aligned());
        // SAFETY: three values were lent.
        unsafe { *lent.pointer().add(2) += 0.5 };
        drop(lent);
        assert_eq!(buffer.values::<f32>(), [1.0, 2.0, 3.0, 4.5]);
        assert!(Lent::<f32>::new(&[]).pointer().cast::<Lane>().is_aligned());
        assert!(Aligned::zeroed(5).values::<f32>().is_empty());
    }
}
