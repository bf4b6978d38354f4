//! Pointers of which the compiler forgets where they come from.

/// `pointer`, which the compiler takes for any. [`std::hint::black_box`] writes it to memory and reads it again, and has everything else that
/// is in memory read again.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline(always)]
pub(crate) fn opaque<T>(mut pointer: *const T) -> *const T {
    #[allow(clippy::pointers_in_nomem_asm_block, reason = "there is no instruction that could read or write")]
    // SAFETY: as said.
    unsafe {
        core::arch::asm!("/* {0} */", inout(reg) pointer, options(nomem, nostack, preserves_flags));
    }
    pointer
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) use std::hint::black_box as opaque;
