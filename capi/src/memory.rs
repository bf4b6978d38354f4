//! Pointers of the caller's as references.

use std::mem::MaybeUninit;

use crate::status::{CONVGEMM_BAD_POINTER, CONVGEMM_WRONG_LENGTH, Failure, Result};

/// # Errors
/// A pointer that is null or not aligned.
fn check<T>(name: &str, pointer: *const T) -> Result<()> {
    let wrong = if pointer.is_null() {
        "null"
    } else if !pointer.is_aligned() {
        "not aligned"
    } else {
        return Ok(());
    };
    let message = format!("{name} is {wrong}, it has to point to {}s", std::any::type_name::<T>());
    Err(Failure::new(CONVGEMM_BAD_POINTER, message))
}

fn check_slice<T>(name: &str, pointer: *const T, len: usize) -> Result<()> {
    check(name, pointer)?;
    if len > isize::MAX as usize / size_of::<T>() {
        let message = format!("{name} is said to have {len} elements, that is over {} bytes", isize::MAX);
        return Err(Failure::new(CONVGEMM_WRONG_LENGTH, message));
    }
    Ok(())
}

/// # Safety
/// `pointer` is null, or an object lies there for as long as `'a`, which nobody changes meanwhile.
pub(crate) unsafe fn shared<'a, T>(name: &str, pointer: *const T) -> Result<&'a T> {
    check(name, pointer)?;
    // SAFETY: it is not null and aligned; the caller vouches for the rest.
    Ok(unsafe { &*pointer })
}

/// # Safety
/// `pointer` is null, or an object lies there for as long as `'a`, which nobody else uses meanwhile.
pub(crate) unsafe fn exclusive<'a, T>(name: &str, pointer: *mut T) -> Result<&'a mut T> {
    check(name, pointer)?;
    // SAFETY: it is not null and aligned; the caller vouches for the rest.
    Ok(unsafe { &mut *pointer })
}

/// # Safety
/// `pointer` is null, or room for a value lies there, which nobody else uses.
pub(crate) unsafe fn put<T>(name: &str, pointer: *mut T, value: impl FnOnce() -> Result<T>) -> Result<()> {
    check(name, pointer)?;
    let value = value()?;
    // SAFETY: it is not null and aligned; the caller vouches for the rest.
    unsafe { pointer.write(value) };
    Ok(())
}

/// # Safety
/// `len` is 0, or `pointer` is null, or so many elements lie there for as long as `'a`, which nobody changes meanwhile.
pub(crate) unsafe fn slice<'a, T>(name: &str, pointer: *const T, len: usize) -> Result<&'a [T]> {
    if len == 0 {
        return Ok(&[]);
    }
    check_slice(name, pointer, len)?;
    // SAFETY: it is not null, aligned, and not too long; the caller vouches for the rest.
    Ok(unsafe { std::slice::from_raw_parts(pointer, len) })
}

/// [`slice`], or nothing where `pointer` is null and `len` 0.
///
/// # Safety
/// As [`slice`].
pub(crate) unsafe fn optional<'a, T>(name: &str, pointer: *const T, len: usize) -> Result<Option<&'a [T]>> {
    if pointer.is_null() && len == 0 {
        return Ok(None);
    }
    // SAFETY: the caller's obligations are the same.
    unsafe { slice(name, pointer, len) }.map(Some)
}

/// # Safety
/// `len` is 0, or `pointer` is null, or room for so many elements lies there for as long as `'a`, which nobody else uses
/// meanwhile.
pub(crate) unsafe fn room<'a, T>(
    name: &str,
    pointer: *mut T,
    len: usize,
) -> Result<&'a mut [MaybeUninit<T>]> {
    if len == 0 {
        return Ok(&mut []);
    }
    check_slice(name, pointer, len)?;
    // SAFETY: it is not null, aligned, and not too long; the caller vouches for the rest.
    Ok(unsafe { std::slice::from_raw_parts_mut(pointer.cast(), len) })
}

/// # Safety
/// As [`room`], and the elements are initialised.
pub(crate) unsafe fn slice_mut<'a, T>(name: &str, pointer: *mut T, len: usize) -> Result<&'a mut [T]> {
    if len == 0 {
        return Ok(&mut []);
    }
    check_slice(name, pointer, len)?;
    // SAFETY: it is not null, aligned, and not too long; the caller vouches for the rest.
    Ok(unsafe { std::slice::from_raw_parts_mut(pointer, len) })
}
