//! From the caller's pointers and lengths to slices, references and structs, each checked first.
//!
//! What cannot be checked is the caller's promise, and stands at the top of the header: a pointer that is not NULL points to what its
//! type says, and what is handed in stays as it is for the time of the call.

use std::ffi::c_void;
use std::mem::MaybeUninit;

use crate::status::WTCACHE_ERR_ARGUMENT;

/// Why a call was refused before anything was done.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: i32,
    pub(crate) message: String,
}

impl Refused {
    pub(crate) fn new(status: i32, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    pub(crate) fn argument(message: impl Into<String>) -> Self {
        Self::new(WTCACHE_ERR_ARGUMENT, message)
    }
}

/// `len` bytes at `pointer`; NULL stands for none.
///
/// # Safety
/// `pointer` is NULL or points to `len` bytes that outlive `'a`.
pub(crate) unsafe fn bytes<'a>(name: &str, pointer: *const c_void, len: usize) -> Result<&'a [u8], Refused> {
    if pointer.is_null() {
        return if len == 0 { Ok(&[]) } else { Err(Refused::argument(format!("{name} is NULL, but not empty"))) };
    }
    if isize::try_from(len).is_err() {
        return Err(Refused::argument(format!("{name} has a length that no memory has: {len}")));
    }
    // SAFETY: not NULL, so the caller's promise holds; a byte is always aligned.
    Ok(unsafe { std::slice::from_raw_parts(pointer.cast(), len) })
}

/// `count` values at `pointer`; NULL stands for none.
///
/// # Safety
/// `pointer` is NULL or points to `count` values of its type that outlive `'a`.
pub(crate) unsafe fn array<'a, T>(name: &str, pointer: *const T, count: usize) -> Result<&'a [T], Refused> {
    if pointer.is_null() {
        return if count == 0 { Ok(&[]) } else { Err(Refused::argument(format!("{name} is NULL, but not empty"))) };
    }
    if !pointer.is_aligned() {
        return Err(Refused::argument(format!("{name} is not aligned")));
    }
    if count.checked_mul(size_of::<T>()).is_none_or(|bytes| isize::try_from(bytes).is_err()) {
        return Err(Refused::argument(format!("{name} has a length that no memory has: {count}")));
    }
    // SAFETY: not NULL and aligned, so the caller's promise holds.
    Ok(unsafe { std::slice::from_raw_parts(pointer, count) })
}

/// The same, as text.
///
/// # Safety
/// As [`bytes`].
pub(crate) unsafe fn text<'a>(name: &str, pointer: *const c_void, len: usize) -> Result<&'a str, Refused> {
    // SAFETY: the caller's promise is ours.
    let bytes = unsafe { bytes(name, pointer, len) }?;
    std::str::from_utf8(bytes).map_err(|_| Refused::argument(format!("{name} is not UTF-8")))
}

/// What a handle or a struct of the caller's points to.
///
/// # Safety
/// `pointer` is NULL or points to a `T` that outlives `'a`.
pub(crate) unsafe fn required<'a, T>(name: &str, pointer: *const T) -> Result<&'a T, Refused> {
    // SAFETY: the caller's promise is ours.
    unsafe { pointer.as_ref() }.ok_or_else(|| Refused::argument(format!("{name} is NULL")))
}

/// Where an output goes. It is set to `nothing` at once.
///
/// # Safety
/// `pointer` is NULL or may be written for `'a`; what is there is overwritten.
pub(crate) unsafe fn output<'a, T>(name: &str, pointer: *mut T, nothing: T) -> Result<&'a mut T, Refused> {
    // SAFETY: the caller's promise is ours.
    unsafe { optional_output(pointer, nothing) }.ok_or_else(|| Refused::argument(format!("{name} is NULL")))
}

/// The same, where NULL says that nobody asks for it.
///
/// # Safety
/// As [`output`].
pub(crate) unsafe fn optional_output<'a, T>(pointer: *mut T, nothing: T) -> Option<&'a mut T> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: not NULL, so it may be written, and is initialised from then on.
    unsafe {
        pointer.write(nothing);
        Some(&mut *pointer)
    }
}

/// A flag: 0 or 1, and nothing else.
pub(crate) fn flag(name: &str, value: i32) -> Result<bool, Refused> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(Refused::argument(format!("{name} is 0 or 1, not {other}"))),
    }
}

/// A struct that crosses the border. It begins with its own size, and only ever grows at its end, by members whose zero
/// stands for "as before".
///
/// # Safety
/// `repr(C)`, begins with a `usize`, and is valid with every byte zero.
pub(crate) unsafe trait Growing: Copy {
    /// What its name is in messages.
    const NAME: &'static str;
    /// The size of its shortest version.
    const LEAST: usize;
}

/// No version of any struct is as large: a size beyond it was never set.
const MOST: usize = 4096;

/// What this library knows of a struct of the caller's.
pub(crate) struct Known<T> {
    /// The members that are known here; what the caller's version does not have is zero.
    pub(crate) members: T,
    beyond: bool,
}

impl<T: Growing> Known<T> {
    /// The members, if there is nothing else: what is not known here must be zero, else the caller counts on something that
    /// this library does not do.
    pub(crate) fn all(self) -> Result<T, Refused> {
        if self.beyond {
            return Err(Refused::argument(format!("{} has members that this library does not know", T::NAME)));
        }
        Ok(self.members)
    }
}

/// A struct of the caller's, which may be of an older or a newer version.
///
/// # Safety
/// `pointer` is NULL or points to as many readable bytes as its first member says.
pub(crate) unsafe fn growing<T: Growing>(pointer: *const T) -> Result<Known<T>, Refused> {
    let name = T::NAME;
    // SAFETY: the caller's promise.
    let size = unsafe { struct_size(pointer) }?;
    if size < T::LEAST {
        return Err(Refused::argument(format!("{name}.struct_size is {size}, and {} at the least", T::LEAST)));
    }
    let known = size.min(size_of::<T>());
    let mut ours = MaybeUninit::<T>::zeroed();
    // SAFETY: both have `known` bytes, and `ours` is a value of its own.
    unsafe { std::ptr::copy_nonoverlapping(pointer.cast::<u8>(), ours.as_mut_ptr().cast::<u8>(), known) };
    // SAFETY: the caller's struct has `size` bytes.
    let unknown = unsafe { std::slice::from_raw_parts(pointer.cast::<u8>().add(known), size - known) };
    let beyond = unknown.iter().any(|byte| *byte != 0);
    // SAFETY: zero is valid for each member (`Growing`), and so is what the caller put there (its promise).
    Ok(Known { members: unsafe { ours.assume_init() }, beyond })
}

/// Writes `value` into a struct of the caller's, as far as that goes; what is beyond is set to zero, and its size stays.
///
/// # Safety
/// `pointer` is NULL or points to as many writable bytes as its first member says.
pub(crate) unsafe fn fill<T: Growing>(pointer: *mut T, value: &T) -> Result<(), Refused> {
    // SAFETY: the caller's promise.
    let size = unsafe { struct_size(pointer) }?;
    let (after_size, known) = (size_of::<usize>(), size.min(size_of::<T>()));
    // SAFETY: the caller's struct has `size` bytes, the first of them its size, which is left alone.
    unsafe {
        let there = pointer.cast::<u8>();
        let ours = std::ptr::from_ref(value).cast::<u8>();
        std::ptr::copy_nonoverlapping(ours.add(after_size), there.add(after_size), known - after_size);
        std::ptr::write_bytes(there.add(known), 0, size - known);
    }
    Ok(())
}

/// # Safety
/// `pointer` is NULL or points to a `usize`.
unsafe fn struct_size<T: Growing>(pointer: *const T) -> Result<usize, Refused> {
    let name = T::NAME;
    if pointer.is_null() {
        return Err(Refused::argument(format!("{name} is NULL")));
    }
    if !pointer.is_aligned() {
        return Err(Refused::argument(format!("{name} is not aligned")));
    }
    // SAFETY: not NULL and aligned; the first member is a `usize` (`Growing`).
    let size = unsafe { pointer.cast::<usize>().read() };
    // A size that is no multiple of the alignment would end within a member.
    if size < size_of::<usize>() || size > MOST || !size.is_multiple_of(align_of::<T>()) {
        return Err(Refused::argument(format!("{name}.struct_size is {size}: set it to sizeof")));
    }
    Ok(size)
}
