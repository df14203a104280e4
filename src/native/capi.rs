//! The C interface, as `python/wakefd/include/wakefd.h` declares it. No Python here: any thread may call all of it.
//!
//! Every function takes the argument of a [`NativeHandle`](crate::NativeHandle). It may be any number: what is no argument
//! (any more) is answered, and does no harm.

use super::handle_table::{self, CallError, TABLE};
use crate::ring::PushError;
use std::ffi::{c_int, c_void};

/// The table that compiled code gets through the capsule `wakefd._C_API`: `struct wakefd_api` of the header.
///
/// Append-only: a function keeps its place and its meaning for ever, and a new one raises `version` and `size`. So only this
/// crate makes one:
///
/// ```compile_fail,E0639
/// let table = wakefd::capi::Api { version: 2, ..wakefd::capi::API };
/// ```
#[repr(C)]
#[derive(Debug)]
#[non_exhaustive]
pub struct Api {
    /// How many times functions were added, from 1.
    pub version: u32,
    /// Of this struct, in bytes.
    pub size: u32,
    /// Raises the flag: 1 if it was down, 0 if it was up or the event is closed, or -errno. In signal handlers, too.
    pub notify: extern "C" fn(*mut c_void) -> c_int,
    /// Lowers the flag: 1 if it was up, else 0, or -errno.
    pub clear: extern "C" fn(*mut c_void) -> c_int,
    /// 1 if the flag is up, else 0, or -errno.
    pub is_set: extern "C" fn(*mut c_void) -> c_int,
    /// One hold more on the argument: 0 or -errno.
    pub retain: extern "C" fn(*mut c_void) -> c_int,
    /// One hold less: 0 or -errno.
    pub release: extern "C" fn(*mut c_void) -> c_int,
    /// A descriptor that is readable while the flag is up, or -errno.
    pub fileno: extern "C" fn(*mut c_void) -> isize,
    /// One more message (its bytes, how many) into a [`ByteQueue`](crate::ByteQueue): 1, or 0 if that is full, or -errno. In
    /// signal handlers, too.
    pub push: unsafe extern "C" fn(*mut c_void, *const c_void, usize) -> c_int,
}

/// The table.
pub static API: Api = Api {
    version: 1,
    size: size_of::<Api>() as u32,
    notify,
    clear,
    is_set,
    retain,
    release,
    fileno,
    push,
};

/// The function of every handle: `notify` without its answer.
pub(crate) extern "C" fn function(argument: *mut c_void) {
    let _ = handle_table::notify(argument.addr());
}

extern "C" fn notify(argument: *mut c_void) -> c_int {
    answer(handle_table::notify(argument.addr()))
}

extern "C" fn clear(argument: *mut c_void) -> c_int {
    answer(try_clear(argument.addr()))
}

/// A byte queue's flag rises again at once while something is in there.
fn try_clear(argument: usize) -> Result<bool, CallError> {
    let (slot, generation) = TABLE.find(argument)?;
    let visit = slot.visit(generation)?;
    Ok(match visit.ring() {
        Some(ring) => ring.clear(),
        None => visit.event.clear(),
    }?)
}

extern "C" fn is_set(argument: *mut c_void) -> c_int {
    answer(handle_table::with(argument.addr(), |event| event.pipe.word().is_set()))
}

extern "C" fn retain(argument: *mut c_void) -> c_int {
    answer(handle_table::retain(argument.addr()).map(|()| false))
}

extern "C" fn release(argument: *mut c_void) -> c_int {
    answer(handle_table::release(argument.addr()).map(|()| false))
}

extern "C" fn fileno(argument: *mut c_void) -> isize {
    match handle_table::with(argument.addr(), |event| event.expose()).and_then(|exposed| Ok(exposed?)) {
        Ok(Some(descriptor)) => descriptor.number() as isize,
        Ok(None) => -(libc::EBADF as isize), // closed
        Err(error) => -(errno(&error) as isize),
    }
}

/// # Safety
/// `data` is null, or points to `length` bytes to read.
unsafe extern "C" fn push(argument: *mut c_void, data: *const c_void, length: usize) -> c_int {
    // SAFETY: so says the caller.
    unsafe { try_push(argument.addr(), data.cast(), length) }.unwrap_or_else(|errno| -errno)
}

/// # Safety
/// As of `push`.
unsafe fn try_push(argument: usize, data: *const u8, length: usize) -> Result<c_int, c_int> {
    let (slot, generation) = TABLE.find(argument).map_err(|error| errno(&error))?;
    if data.is_null() && length > 0 {
        return Err(libc::EINVAL);
    }
    let visit = slot.visit(generation).map_err(|error| errno(&error))?;
    let ring = visit.ring().ok_or(libc::EINVAL)?; // an event's argument
    // SAFETY: so says the caller.
    match unsafe { ring.push(data, length) } {
        Ok(()) => Ok(1),
        Err(PushError::Full) => Ok(0),
        Err(PushError::TooLong) => Err(libc::EMSGSIZE),
        Err(PushError::Shut) => Err(libc::EPIPE),
    }
}

#[inline]
fn answer(result: Result<bool, CallError>) -> c_int {
    match result {
        Ok(yes) => yes.into(),
        Err(error) => -errno(&error),
    }
}

/// The error's number in C.
#[cold]
fn errno(error: &CallError) -> c_int {
    match error {
        CallError::Null => libc::EINVAL,
        CallError::Stale => libc::EBADF,
        CallError::TooMany => libc::EOVERFLOW,
        #[cfg(unix)]
        CallError::System(error) => error.raw_os_error().unwrap_or(libc::EIO),
        #[cfg(not(unix))] // its numbers are not errno's
        CallError::System(_) => libc::EIO,
    }
}
