//! The Python extension `wakefd._wakefd`: classes around the core. No algorithm lives here.

mod arguments;
mod asyncio;
mod attached_cell;
mod byte_queue;
mod call;
mod context;
mod event;
mod fairness;
#[cfg(not(wakefd_no_fast_methods))]
mod fast_methods;
#[cfg(wakefd_no_fast_methods)]
mod fast_methods {
    //! The build without fast methods, for the tests: each call is PyO3's method.

    use super::queue::{
        Queue,
        async_iter::{Items, Ready},
    };
    use pyo3::prelude::*;

    pub(super) fn install(_: Python<'_>) -> PyResult<()> {
        Ok(())
    }

    pub(super) fn take(_: &Queue, _: Python<'_>) -> Option<Py<PyAny>> {
        None
    }

    /// Begin an `async for` over a queue or a byte queue; `wait` makes the coroutine that waits for an item.
    #[pyfunction]
    pub(super) fn items<'py>(
        py: Python<'py>,
        queue: &Bound<'py, PyAny>,
        wait: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, Items>> {
        Ok(py.get_type::<Items>().call1((queue, wait))?.cast_into::<Items>()?)
    }

    pub(super) fn ready(py: Python<'_>) -> PyResult<Bound<'_, Ready>> {
        Ok(py.get_type::<Ready>().call0()?.cast_into::<Ready>()?)
    }
}
mod hub;
mod native;
mod portal;
mod queue;

use pyo3::{exceptions::PyImportError, ffi, prelude::*, types::PyType};
use std::{
    io,
    sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed},
};

// A Python class, so that the generated stubs know it.
pyo3::import_exception!(wakefd._errors, ClosedResourceError);
pyo3::import_exception!(wakefd._errors, LoopClosedError);

/// Finds what is raised of other modules' classes, at the import.
///
/// PyO3 would look for each when it is first raised. While the interpreter ends nothing can be imported: it would panic on
/// the way out to CPython, which aborts the process.
fn find_exceptions(py: Python<'_>) {
    drop(own_exceptions(py)); // PyO3 keeps them
    drop(py.get_type::<queue::Empty>());
    FOUND.store(true, Relaxed);
}

static FOUND: AtomicBool = AtomicBool::new(false);

fn own_exceptions(py: Python<'_>) -> Vec<(&'static str, Bound<'_, PyType>)> {
    vec![
        ("ClosedResourceError", py.get_type::<ClosedResourceError>()),
        ("LoopClosedError", py.get_type::<LoopClosedError>()),
        ("QueueFull", py.get_type::<queue::QueueFull>()),
        ("QueueShutDown", py.get_type::<queue::QueueShutDown>()),
    ]
}

/// Return the classes of the exceptions that are raised, by name; none at the first import of the process.
///
/// An import anew, after somebody has taken the modules out of `sys.modules`, is to offer the same. Raise ImportError if
/// another interpreter of this process has imported us.
#[pyfunction]
fn exceptions(py: Python<'_>) -> PyResult<Vec<(&'static str, Bound<'_, PyType>)>> {
    refuse_a_second_interpreter()?;
    let found = FOUND.load(Relaxed);
    Ok(if found { own_exceptions(py) } else { vec![] })
}

/// # Errors
/// Another interpreter of this process has imported us: ImportError. CPython refuses isolated ones by itself, but not those
/// that share the GIL; they would share the classes, too, and whatever Python objects the statics of this library hold.
fn refuse_a_second_interpreter() -> PyResult<()> {
    static FIRST: AtomicI64 = AtomicI64::new(-1);
    // SAFETY: this thread is attached to an interpreter.
    let here = unsafe { ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) };
    match FIRST.compare_exchange(-1, here, Relaxed, Relaxed) {
        Err(first) if first != here => Err(PyImportError::new_err(
            "wakefd works in one interpreter of a process, and another one has imported it: use threads or processes instead \
             of subinterpreters, or import wakefd in one of them alone",
        )),
        _ => Ok(()),
    }
}

/// Do what comes before the first use: find exceptions, find out about the GIL, install the fast methods. To be called once, at
/// the import.
#[pyfunction]
fn set_up(py: Python<'_>) -> PyResult<()> {
    find_exceptions(py);
    let version: String = py.import("sys")?.getattr("version")?.extract()?;
    attached_cell::free_threaded(version.contains("free-threading")); // an import may switch the GIL off or on
    fast_methods::install(py)
}

/// Tells PyO3 that this thread is attached, where CPython has called us without PyO3's wrapper.
///
/// `Python::attach` would first ask whether it may attach. While the interpreter ends it may not, but `__del__` still runs,
/// and calls us: it would panic.
#[inline]
fn attached<R>(py: Python<'_>, act: impl FnOnce(Python<'_>) -> R) -> R {
    let _ = py;
    // SAFETY: `py` proves that this thread is attached. A thread that has a thread state may take it once more, and let go of it.
    unsafe { Python::attach_unchecked(act) }
}

/// Keeps the errno; OSError then picks its subclass itself.
fn os_error(error: io::Error) -> PyErr {
    match error.raw_os_error() {
        Some(errno) => {
            let message = error.to_string();
            let message = message.split(" (os error").next().unwrap_or_default().to_owned();
            pyo3::exceptions::PyOSError::new_err((errno, message))
        }
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            pyo3::exceptions::PyConnectionResetError::new_err("the descriptor's connection to itself has ended")
        }
        None => error.into(),
    }
}

fn closed() -> PyErr {
    ClosedResourceError::new_err("this event is closed")
}

fn closed_handle() -> PyErr {
    ClosedResourceError::new_err("this handle is closed: native code cannot be given its argument any more")
}

/// The compiled half of wakefd. Use the package `wakefd`.
#[pymodule]
mod _wakefd {
    #[pymodule_export]
    use super::{
        asyncio::{Reader, Waiter},
        attached_cell::assume_free_threaded,
        byte_queue::ByteQueue,
        event::{IoEvent, seconds, wait_for_one},
        exceptions,
        fairness::Turn,
        fast_methods::items,
        hub::Hub,
        native::{NativeHandle, c_api},
        portal::{Inbox, Portal, Receiver},
        queue::Queue,
        queue::async_iter::{Items, Place, Ready},
        set_up,
    };
    use pyo3::prelude::*;

    /// The version of the package, from Cargo.toml.
    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");

    /// Which notifier the operating system gives us for a loop: "eventfd", "socketpair" or "tcp". `thread`: for a thread that
    /// blocks, which is one of these or "futex".
    ///
    /// Raises OSError if it gives none.
    #[pyfunction]
    #[pyo3(signature = (thread=false))]
    fn backend(thread: bool) -> PyResult<&'static str> {
        use crate::notifier::{Notifier, for_a_thread};

        let made = if thread { for_a_thread() } else { Notifier::new() };
        Ok(made.map_err(super::os_error)?.name())
    }
}

/// An attached cell gives its value to a thread that has a `Python` token:
///
/// ```no_run
/// # #[path = "attached_cell.rs"] mod attached_cell;
/// use attached_cell::AttachedCell;
/// use pyo3::Python;
///
/// fn add_one(cell: &AttachedCell<u64>, py: Python<'_>) {
///     cell.with(py, |number| *number += 1);
/// }
/// # fn main() {}
/// ```
///
/// It gives the value to no other thread:
///
/// ```compile_fail,E0061
/// # #[path = "attached_cell.rs"] mod attached_cell;
/// use attached_cell::AttachedCell;
/// use pyo3::Python;
///
/// fn add_one(cell: &AttachedCell<u64>) {
///     cell.with(|number| *number += 1);
/// }
/// # fn main() {}
/// ```
#[cfg(doctest)]
struct AttachedCellTests;
