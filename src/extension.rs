//! For extension modules in Rust: what Python hands over, as a handle that needs no Python.
//!
//! An extension of yours takes an [`EventHandle`] where Python passes a `wakefd.IoEvent`, and a [`ByteQueueHandle`] where it
//! passes a `wakefd.ByteQueue`. They notify, and push messages, from any thread, which need not attach to the interpreter. In
//! your `Cargo.toml`:
//!
//! ```toml
//! wakefd = { version = "0.1", features = ["pyo3"] }
//! ```
//!
//! ```ignore
//! #[pyfunction]
//! fn begin(done: wakefd::extension::EventHandle) {
//!     std::thread::spawn(move || {
//!         work();
//!         done.notify()
//!     });
//! }
//! ```
//!
//! The event is one of the installed package `wakefd`, which has been compiled by somebody else, from another version perhaps.
//! So nothing here looks into it: all goes through the table in the capsule `wakefd._C_API`, as for C. (An
//! [`IoEvent`](crate::IoEvent) is of your own copy of this crate, and Python does not see it.)
//!
//! `examples/rust-extension` is a whole one.

use crate::native::capi::{API, Api};
use pyo3::{
    exceptions::{PyImportError, PyTypeError},
    ffi::c_str,
    prelude::*,
    types::{PyCapsule, PyType},
};
use std::{
    ffi::{c_int, c_void},
    fmt, io, ptr,
    sync::Arc,
};

/// The table of the package that is installed.
///
/// # Errors
/// ImportError: there is no such package, or it is older than this crate.
fn table(py: Python<'_>) -> PyResult<&'static Api> {
    let table = PyCapsule::import_pointer(py, c_str!("wakefd._C_API"))?.cast::<u32>();
    // SAFETY: every version of the table begins with these two numbers.
    let (version, size) = unsafe { (table.read(), table.add(1).read()) };
    if version < API.version || size < API.size {
        return Err(PyImportError::new_err(format!(
            "the installed wakefd has version {version} of its C API, and this was compiled for version {}: upgrade wakefd",
            API.version
        )));
    }
    // SAFETY: so long is the table, at least; it begins with what this crate knows of, and is there for ever.
    Ok(unsafe { table.cast().as_ref() })
}

/// A hold on an argument.
struct Hold {
    api: &'static Api,
    argument: usize,
}

impl Hold {
    /// Of what `obj.native()` returns.
    ///
    /// # Errors
    /// TypeError: it is no `wakefd.CLASS`. ImportError: see `table`. Others: no handle can be had.
    fn new(obj: Borrowed<'_, '_, PyAny>, class: &str) -> PyResult<Self> {
        let py = obj.py();
        let api = table(py)?;
        if !obj.is_instance(py.import("wakefd")?.getattr(class)?.cast::<PyType>()?)? {
            let other = obj.get_type().fully_qualified_name()?;
            return Err(PyTypeError::new_err(format!(
                "a wakefd.{class} is needed, not a {other}"
            )));
        }
        let handle = obj.call_method0("native")?;
        let argument = handle.getattr("argument")?.extract()?;
        let hold = answer((api.retain)(ptr::without_provenance_mut(argument))).map(|_| Self { api, argument });
        handle.call_method0("close")?;
        Ok(hold?)
    }

    fn argument(&self) -> *mut c_void {
        ptr::without_provenance_mut(self.argument)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        (self.api.release)(self.argument());
    }
}

/// 1 or 0, or a negative errno.
fn answer(code: c_int) -> io::Result<bool> {
    if code >= 0 {
        return Ok(code > 0);
    }
    #[cfg(unix)]
    return Err(io::Error::from_raw_os_error(-code));
    #[cfg(not(unix))] // its errors have other numbers
    return Err(io::Error::other(format!("wakefd: errno {}", -code)));
}

/// A `wakefd.IoEvent` of Python, for threads that know nothing of Python.
///
/// A pyo3 function takes it as an argument: what is no IoEvent is a TypeError, and a wakefd older than this crate an
/// ImportError. Clones share one hold, which keeps the event alive. All its methods, and `drop`, may run in any thread,
/// attached to the interpreter or not, and also while the interpreter exits and afterwards.
#[derive(Clone)]
pub struct EventHandle(Arc<Hold>);

impl EventHandle {
    /// Raises the flag and wakes whoever waits. True if this call raised it; false if it was up already, or the event is
    /// closed.
    ///
    /// # Errors
    /// The operating system has refused to make a descriptor readable. The flag is up all the same, and the next call tries
    /// again.
    #[inline]
    pub fn notify(&self) -> io::Result<bool> {
        answer((self.0.api.notify)(self.0.argument()))
    }

    /// Lowers the flag; true if it was up. Clear first, and look at your data afterwards.
    ///
    /// # Errors
    /// The event's descriptor is dead. It is given up, and the flag stays as it is.
    pub fn clear(&self) -> io::Result<bool> {
        answer((self.0.api.clear)(self.0.argument()))
    }

    /// Whether the flag is up, for this instant.
    pub fn is_set(&self) -> bool {
        (self.0.api.is_set)(self.0.argument()) > 0
    }

    /// A descriptor that is readable while the flag is up, made at the first call. The event keeps it and closes it: poll it
    /// while you have this handle, and never read it.
    ///
    /// # Errors
    /// The event is closed (EBADF), or no descriptor is to be had.
    #[cfg(unix)]
    pub fn fileno(&self) -> io::Result<std::os::fd::RawFd> {
        let number = (self.0.api.fileno)(self.0.argument()) as c_int;
        answer(number).map(|_| number)
    }
}

impl fmt::Debug for EventHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventHandle({:#x})", self.0.argument)
    }
}

impl FromPyObject<'_, '_> for EventHandle {
    type Error = PyErr;

    fn extract(obj: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        Ok(Self(Arc::new(Hold::new(obj, "IoEvent")?)))
    }
}

/// A `wakefd.ByteQueue` of Python, for threads that know nothing of Python: messages in, which a coroutine takes.
///
/// As [`EventHandle`], in all else.
#[derive(Clone)]
pub struct ByteQueueHandle(Arc<Hold>);

impl ByteQueueHandle {
    /// One more message, copied; false if the queue is full, and nothing was done. It never waits.
    ///
    /// # Errors
    /// The message is longer than the queue allows (EMSGSIZE), or the queue is shut down (EPIPE).
    #[inline]
    pub fn push(&self, message: &[u8]) -> io::Result<bool> {
        let data = message.as_ptr().cast();
        // SAFETY: so many bytes are there.
        answer(unsafe { (self.0.api.push)(self.0.argument(), data, message.len()) })
    }
}

impl fmt::Debug for ByteQueueHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ByteQueueHandle({:#x})", self.0.argument)
    }
}

impl FromPyObject<'_, '_> for ByteQueueHandle {
    type Error = PyErr;

    fn extract(obj: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        Ok(Self(Arc::new(Hold::new(obj, "ByteQueue")?)))
    }
}
