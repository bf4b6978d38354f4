//! One small vector trait, implemented once for each instruction set and element type.
//!
//! Kernels are written over [`Vector`] and inlined into functions that enable the instruction set's features;
//! every method is `#[inline(always)]` for that. Values are made by `unsafe` constructors, whose callers know that
//! the CPU has the features; operations on values that exist are safe: the value is the proof.

use crate::element::Element;

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512vl;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
#[cfg(target_arch = "x86_64")]
mod picks;
pub(crate) mod portable;

/// A vector of `LANES` elements.
pub(crate) trait Vector: Copy {
    type Elem: Element;
    /// `LANES` vectors.
    type Square: AsRef<[Self]> + AsMut<[Self]>;
    const LANES: usize;
    /// `SPLATS` vectors: as many as come from one load.
    type Splats: AsRef<[Self]>;
    const SPLATS: usize = size_of::<Self::Splats>() / size_of::<Self>();
    /// Consecutive lanes.
    type Mask: Copy;
    /// Whether [`Vector::load_masked`] takes no longer than [`Vector::load`].
    const FREE_MASKS: bool = false;
    /// Whether multiply-adds leave room to copy [`BLOCK`] bytes at a time beside them.
    const HIDES_COPIES: bool = false;
    /// Vector registers of the instruction set, in vectors of this type.
    const REGISTERS: usize;
    /// The largest stride that [`Vector::load_strided`] reads with a few shuffles.
    const SHUFFLED: usize = 1;

    /// All lanes `x`.
    ///
    /// # Safety
    /// The CPU has this vector's instruction set.
    unsafe fn splat(x: Self::Elem) -> Self;

    /// A vector of each of `SPLATS` consecutive elements.
    ///
    /// # Safety
    /// As [`Vector::splat`]; `from` is valid for reading `SPLATS` elements.
    unsafe fn splats(from: *const Self::Elem) -> Self::Splats;

    /// # Safety
    /// As [`Vector::splat`]; `from` is valid for reading `LANES` elements.
    unsafe fn load(from: *const Self::Elem) -> Self;

    /// # Safety
    /// `to` is valid for writing `LANES` elements.
    unsafe fn store(self, to: *mut Self::Elem);

    /// [`Vector::store`] past the caches, where there is such an instruction. [`fence`] has to follow.
    ///
    /// # Safety
    /// As [`Vector::store`]; `to` is aligned to a cache line.
    #[inline(always)]
    unsafe fn stream(self, to: *mut Self::Elem) {
        // SAFETY: the caller's obligations are the same.
        unsafe { self.store(to) }
    }

    /// Lanes `first..end`.
    ///
    /// # Safety
    /// As [`Vector::splat`]; `first ≤ end ≤ LANES`.
    unsafe fn mask(first: usize, end: usize) -> Self::Mask;

    /// Lane `l` becomes `from[l]` where it is in `mask`; the others become 0.
    ///
    /// # Safety
    /// As [`Vector::splat`]; `from + l` is valid for reading for `l` in `mask`. `from` itself need not be.
    unsafe fn load_masked(from: *const Self::Elem, mask: Self::Mask) -> Self;

    /// Lane `l` becomes `from[l·stride]`.
    ///
    /// # Safety
    /// As [`Vector::splat`]; what lies from `from` to `from + (LANES − 1)·stride` is valid for reading.
    #[inline(always)]
    unsafe fn load_strided(from: *const Self::Elem, stride: usize) -> Self {
        // SAFETY: the caller's obligations are the same.
        unsafe { merge_lanes(Self::splat(Self::Elem::ZERO), from, stride, 0, Self::LANES) }
    }

    /// Lane `l` becomes `from[l·stride]` for `l` in `first..end`; the others keep theirs.
    ///
    /// # Safety
    /// `first ≤ end ≤ LANES`; what lies from `from + first·stride` to `from + (end − 1)·stride` is valid for reading.
    #[inline(always)]
    unsafe fn merge_strided(self, from: *const Self::Elem, stride: usize, first: usize, end: usize) -> Self {
        // SAFETY: the caller's obligations are the same.
        unsafe { merge_lanes(self, from, stride, first, end) }
    }

    /// Lane `l` becomes lane `l + by` where there is one, for `by` below 7; the others become anything.
    #[inline(always)]
    fn rotated(self, by: usize) -> Self {
        let mut lanes = [Self::Elem::ZERO; MAX_LANES + 7];
        // SAFETY: the array holds a vector and seven elements more; a vector proves the instruction set.
        unsafe {
            self.store(lanes.as_mut_ptr());
            Self::load(lanes.as_ptr().add(by))
        }
    }

    /// Every second element of the vectors of `blocks` in a row from the one that is `first` behind the first of the second vector, for `first`
    /// from -[`BEFORE`] to 6: in an order of the set's own, the same for each `first`, which [`in_order`](Self::in_order) ends. On Zen 4 a
    /// shuffle of 512 bits within 16 bytes costs a multiply-add beside it a tenth of a cycle, one across the vector eight tenths. AVX2's
    /// 3×3 s2 lost 5 % so: it has them in order.
    #[inline(always)]
    fn every_second(blocks: &[Self; BLOCKS], first: isize) -> Self {
        debug_assert!(-(BEFORE as isize) <= first && first < 7);
        let mut all = [Self::Elem::ZERO; (BLOCKS + 1) * MAX_LANES];
        // SAFETY: the array holds seven vectors, of which no more than LANES + 7 + 2·LANES elements are read; a vector proves the
        // instruction set.
        unsafe {
            for (i, block) in blocks.iter().enumerate() {
                block.store(all.as_mut_ptr().add(i * Self::LANES));
            }
            Self::load_strided(all.as_ptr().add(Self::LANES.wrapping_add_signed(first)), 2)
        }
    }

    /// Lane `l` becomes element `l` of what [`every_second`](Self::every_second) takes, whose order it has.
    #[inline(always)]
    fn in_order(self) -> Self {
        self
    }

    /// Lane `l` becomes element `3·l + first` of the vectors of `blocks` in a row, for `first` below 3.
    #[inline(always)]
    fn every_third(blocks: &[Self; 3], first: usize) -> Self {
        let mut all = [Self::Elem::ZERO; 3 * MAX_LANES];
        // SAFETY: the array holds three vectors, of which no more than 3·LANES elements are read; a vector proves the
        // instruction set.
        unsafe {
            for (i, block) in blocks.iter().enumerate() {
                block.store(all.as_mut_ptr().add(i * Self::LANES));
            }
            Self::load_strided(all.as_ptr().add(first), 3)
        }
    }

    /// Writes the first `lanes` lanes only.
    ///
    /// # Safety
    /// `lanes ≤ LANES`; `to` is valid for writing `lanes` elements.
    unsafe fn store_first(self, to: *mut Self::Elem, lanes: usize);

    /// Asks for the cache line of `at`, which need not be valid. Nothing where there is no such instruction.
    #[inline(always)]
    fn prefetch(_at: *const Self::Elem) {}

    /// [`Vector::prefetch`] for a line that will be written.
    #[inline(always)]
    fn prefetch_write(_at: *mut Self::Elem) {}

    /// `self · b + c`, rounded once where the instruction set is fused.
    fn mul_add(self, b: Self, c: Self) -> Self;
    fn add(self, b: Self) -> Self;
    fn mul(self, b: Self) -> Self;
    fn div(self, b: Self) -> Self;
    /// `lo` where `lo > self`, else `self`: NaN and −0 stay.
    fn at_least(self, lo: Self) -> Self;
    /// `hi` where `hi < self`, else `self`: NaN and −0 stay.
    fn at_most(self, hi: Self) -> Self;
    /// `then` where `self < bound`, else `otherwise`.
    fn if_less(self, bound: Self, then: Self, otherwise: Self) -> Self;

    /// `LANES` copies of `self`.
    fn square(self) -> Self::Square;
    /// Lane `i` of vector `j` becomes lane `j` of vector `i`.
    fn transpose(square: &mut Self::Square);
    /// The same within blocks of [`BLOCK`] bytes, of E elements each: lane `i` of a block of vector `j·E + r` becomes lane `r` of that block of
    /// vector `j·E + i`. Called where [`Vector::HIDES_COPIES`].
    #[inline(always)]
    fn transpose_blocks(square: &mut Self::Square) {
        let each = BLOCK / size_of::<Self::Elem>();
        for vectors in square.as_mut().chunks_mut(each) {
            let mut rows = [[Self::Elem::ZERO; MAX_LANES]; BLOCK / size_of::<f32>()];
            // SAFETY: the vectors prove the instruction set; a row has room for one.
            unsafe {
                for (vector, row) in vectors.iter().zip(&mut rows) {
                    vector.store(row.as_mut_ptr());
                }
                for (i, vector) in vectors.iter_mut().enumerate() {
                    let mut row = [Self::Elem::ZERO; MAX_LANES];
                    for (lane, element) in row.iter_mut().enumerate().take(Self::LANES) {
                        *element = rows[lane % each][lane / each * each + i];
                    }
                    *vector = Self::load(row.as_ptr());
                }
            }
        }
    }

    /// Lane `i` of vector `j` becomes element `j` of row `i`.
    ///
    /// # Safety
    /// As [`Vector::splat`]; each of `LANES` rows is valid for reading `LANES` elements.
    #[inline(always)]
    unsafe fn load_columns(row: impl Fn(usize) -> *const Self::Elem) -> Self::Square {
        // SAFETY: the caller's obligations are passed on.
        unsafe {
            let mut square = Self::splat(Self::Elem::ZERO).square();
            for (i, vector) in square.as_mut().iter_mut().enumerate() {
                *vector = Self::load(row(i));
            }
            Self::transpose(&mut square);
            square
        }
    }
}

/// Makes what [`Vector::stream`] wrote visible to others before anything that is written later.
pub(crate) fn fence() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 has the instruction.
    unsafe {
        core::arch::x86_64::_mm_sfence();
    }
}

/// What the activations need beyond arithmetic.
pub(crate) trait Bits: Vector<Elem = f32> {
    /// Each lane's bits shifted left by 23: the low bits become an exponent.
    fn shift_to_exponent(self) -> Self;
}

/// Reads lane by lane with a stride; the generic way for vectors without a cheap gather.
///
/// # Safety
/// As [`Vector::splat`]; `first ≤ end ≤ LANES`; `from + l·stride` is valid for reading for `l` in `first..end`.
#[inline(always)]
unsafe fn merge_lanes<V: Vector>(
    onto: V,
    from: *const V::Elem,
    stride: usize,
    first: usize,
    end: usize,
) -> V {
    debug_assert!(first <= end && end <= V::LANES);
    let mut lanes = [V::Elem::ZERO; MAX_LANES];
    // SAFETY: `lanes` holds MAX_LANES ≥ LANES elements; the caller vouches for the reads.
    unsafe {
        onto.store(lanes.as_mut_ptr());
        for (l, lane) in lanes.iter_mut().enumerate().take(end).skip(first) {
            *lane = *from.wrapping_add(l.wrapping_mul(stride));
        }
        V::load(lanes.as_ptr())
    }
}

/// Bytes of what [`Vector::transpose_blocks`] leaves together.
pub(crate) const BLOCK: usize = 16;

/// The widest vector's lanes.
pub(crate) const MAX_LANES: usize = 16;

/// Vectors that [`Vector::every_second`] takes from: one, then as many as 7 more elements behind two vectors of two lanes lie in.
pub(crate) const BLOCKS: usize = 6;

/// Elements of the first of them at most.
pub(crate) const BEFORE: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    /// # Safety
    /// The CPU has the instruction set.
    unsafe fn check_blocks<V: Vector>() {
        let each = BLOCK / size_of::<V::Elem>();
        // Element `lane` of vector `j`.
        let at = |j: usize, lane: usize| V::Elem::from_f64((j * MAX_LANES + lane) as f64);
        // SAFETY: the caller vouches for the instruction set; an array holds a vector.
        unsafe {
            let mut square = V::splat(V::Elem::ZERO).square();
            for (j, vector) in square.as_mut().iter_mut().enumerate() {
                let row: [_; MAX_LANES] = std::array::from_fn(|lane| at(j, lane));
                *vector = V::load(row.as_ptr());
            }
            V::transpose_blocks(&mut square);
            for (j, vector) in square.as_ref().iter().enumerate() {
                let mut row = [V::Elem::ZERO; MAX_LANES];
                vector.store(row.as_mut_ptr());
                for (lane, &y) in row.iter().enumerate().take(V::LANES) {
                    let from = at(j / each * each + lane % each, lane / each * each + j % each);
                    assert!(y == from, "vector {j}, lane {lane}");
                }
            }
        }
    }

    /// # Safety
    /// The CPU has the instruction set.
    unsafe fn check_every_second<V: Vector>() {
        let all: [_; BLOCKS * MAX_LANES] = std::array::from_fn(|i| V::Elem::from_f64(i as f64));
        // SAFETY: the caller vouches for the instruction set; the array holds so many vectors.
        unsafe {
            let blocks = std::array::from_fn(|i| V::load(all.as_ptr().add(i * V::LANES)));
            // Of two vectors and one more, before or behind.
            let begin = -(BEFORE.min(V::LANES) as isize);
            for first in
                (begin..7).filter(|first| 2 * (V::LANES as isize - 1) + first < 3 * V::LANES as isize)
            {
                let mut row = [V::Elem::ZERO; MAX_LANES];
                V::every_second(&blocks, first).in_order().store(row.as_mut_ptr());
                for (lane, &y) in row.iter().enumerate().take(V::LANES) {
                    let at = (V::LANES + 2 * lane).wrapping_add_signed(first);
                    assert!(y == all[at], "{first}, lane {lane}");
                }
            }
        }
    }

    /// Calls a check for the vectors of every set that the CPU has.
    macro_rules! on_every_set {
        ($check:ident) => {
            // SAFETY: every CPU has the portable set; the others are asked for.
            unsafe {
                $check::<portable::F32>();
                $check::<portable::F64>();
                #[cfg(target_arch = "x86_64")]
                if crate::isa::Isa::Avx2.is_available() {
                    $check::<avx2::F32>();
                    $check::<avx2::F64>();
                }
                #[cfg(target_arch = "x86_64")]
                if crate::isa::Isa::Avx512.is_available() {
                    $check::<avx512::F32>();
                    $check::<avx512::F64>();
                    $check::<avx512vl::HalfF32>();
                }
                #[cfg(target_arch = "aarch64")]
                if crate::isa::Isa::Neon.is_available() {
                    $check::<neon::F32>();
                    $check::<neon::F64>();
                }
            }
        };
    }

    #[test]
    fn every_second_element_is_put_in_order() {
        on_every_set!(check_every_second);
    }

    #[test]
    fn blocks_are_transposed() {
        on_every_set!(check_blocks);
    }
}
