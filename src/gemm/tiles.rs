//! The output while it is written: uninitialised memory, shared by tasks that own disjoint tiles of it.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use crate::element::Element;
use crate::error::{Error, Result};

/// An output tensor that nobody reads before it is written.
pub(crate) struct Output<'a, T> {
    start: *mut T,
    len: usize,
    borrowed: PhantomData<&'a mut [MaybeUninit<T>]>,
}

// SAFETY: it stands for an exclusive borrow of numbers; what is done through `at` is up to the tasks, which own
// disjoint tiles.
unsafe impl<T: Send> Send for Output<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Output<'_, T> {}

impl<'a, T: Element> Output<'a, T> {
    pub(crate) fn new(y: &'a mut [T]) -> Self {
        Self { start: y.as_mut_ptr(), len: y.len(), borrowed: PhantomData }
    }

    pub(crate) fn uninit(y: &'a mut [MaybeUninit<T>]) -> Self {
        Self { start: y.as_mut_ptr().cast(), len: y.len(), borrowed: PhantomData }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// A pointer to the elements from `index` on.
    ///
    /// # Panics
    /// Where `index` is over the length.
    pub(crate) fn at(&self, index: usize) -> *mut T {
        assert!(index <= self.len);
        self.start.wrapping_add(index)
    }

    /// `len` elements from `index` on.
    ///
    /// # Safety
    /// Nobody else uses them meanwhile.
    ///
    /// # Panics
    /// Where there are not so many.
    #[allow(clippy::mut_from_ref, reason = "as of a cell")]
    pub(crate) unsafe fn slice(&self, index: usize, len: usize) -> &mut [MaybeUninit<T>] {
        assert!(index <= self.len && len <= self.len - index);
        // SAFETY: they lie inside; the caller vouches that they are this slice's alone.
        unsafe { std::slice::from_raw_parts_mut(self.start.wrapping_add(index).cast(), len) }
    }

    /// All of it, as zeros.
    pub(crate) fn zeroed(self) -> &'a mut [T] {
        // SAFETY: the borrow is exclusive and ends here; the elements are initialised before they are seen.
        unsafe {
            std::slice::from_raw_parts_mut(self.start.cast::<MaybeUninit<T>>(), self.len)
                .fill(MaybeUninit::new(T::ZERO));
            std::slice::from_raw_parts_mut(self.start, self.len)
        }
    }
}

/// A new vector of `len` elements, every one of which `write` writes where it succeeds.
///
/// # Errors
/// Those of `write`, and [`Error::OutOfMemory`].
pub(crate) fn collect<T: Element>(
    len: usize,
    write: impl FnOnce(Output<'_, T>) -> Result<()>,
) -> Result<Vec<T>> {
    let mut y = Vec::new();
    let bytes = len.saturating_mul(size_of::<T>());
    y.try_reserve_exact(len).map_err(|_| Error::OutOfMemory { bytes })?;
    write(Output::uninit(&mut y.spare_capacity_mut()[..len]))?;
    // SAFETY: `write` has written all `len` elements; the capacity is at least that.
    unsafe { y.set_len(len) };
    Ok(y)
}
