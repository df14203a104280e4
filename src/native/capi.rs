//! The C interface, as `python/wakefd/include/wakefd.h` declares it. No Python here: any thread may call all of it.
//!
//! Every function takes the argument of a [`NativeHandle`](crate::NativeHandle). It may be any number: what is no argument
//! (any more) is answered, and does no harm.

use super::handle_table::{self, CallError};
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
    answer(handle_table::clear(argument.addr()))
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
    let descriptor = handle_table::with(argument.addr(), |event| event.expose()).and_then(|descriptor| {
        let descriptor = descriptor?.ok_or(CallError::Closed)?;
        #[cfg(unix)]
        return Ok(std::os::fd::AsRawFd::as_raw_fd(&descriptor) as isize);
        #[cfg(windows)]
        {
            use std::os::windows::io::{AsRawSocket, AsSocket};
            Ok(descriptor.as_socket().as_raw_socket() as isize)
        }
    });
    descriptor.unwrap_or_else(|error| -(error.errno() as isize))
}

/// # Safety
/// `data` is null, or points to `length` bytes to read.
unsafe extern "C" fn push(argument: *mut c_void, data: *const c_void, length: usize) -> c_int {
    // SAFETY: so says the caller.
    answer(unsafe { handle_table::push(argument.addr(), data.cast(), length) })
}

#[inline]
fn answer(result: Result<bool, CallError>) -> c_int {
    match result {
        Ok(yes) => yes.into(),
        Err(error) => -error.errno(),
    }
}
