//! Tensors that lie as those of inference engines do.

use std::ops::{Deref, DerefMut};

use aligned_vec::{AVec, ConstAlign};

/// Elements from a chosen place on behind the beginning of a cache line.
pub(crate) struct Tensor<T> {
    offset: usize,
    padded: AVec<T, ConstAlign<64>>,
}

impl<T: Copy> Tensor<T> {
    /// `elements` from `offset` elements behind the beginning of a cache line on.
    pub(crate) fn new(offset: usize, elements: Vec<T>) -> Self {
        let padding = elements.first().copied().into_iter().cycle().take(offset);
        Self { offset, padded: AVec::from_iter(64, padding.chain(elements.iter().copied())) }
    }
}

impl<T> Deref for Tensor<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // An empty one has no padding.
        self.padded.get(self.offset..).unwrap_or_default()
    }
}

impl<T> DerefMut for Tensor<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        self.padded.get_mut(self.offset..).unwrap_or_default()
    }
}
