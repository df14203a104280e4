//! The Python extension `wakefd._wakefd`: classes around the core. No algorithm lives here.

mod arguments;
mod asyncio;
mod attached_cell;
mod byte_queue;
mod call;
mod context;
mod errors;
mod event;
mod fairness;
#[cfg(not(wakefd_no_fast_methods))]
mod fast_methods;
#[cfg(wakefd_no_fast_methods)]
mod fast_methods {
    //! The build without fast methods, for the tests: each call is PyO3's method.

    use super::queue::async_iter::Items;
    use pyo3::prelude::*;

    pub(super) fn install(_: Python<'_>) -> PyResult<()> {
        Ok(())
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
}
mod hub;
mod list;
mod native;
mod portal;
mod queue;

use errors::{FOUND, find_exceptions, own_exceptions};
use pyo3::{exceptions::PyImportError, ffi, prelude::*, types::PyType};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

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
    errors::find_exceptions(py);
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

/// The compiled half of wakefd. Use the package `wakefd`.
#[pymodule]
mod _wakefd {
    #[pymodule_export]
    use super::{
        asyncio::{Reader, Waiter},
        attached_cell::assume_free_threaded,
        byte_queue::ByteQueue,
        errors::exceptions,
        event::{IoEvent, seconds, wait_for_one},
        fairness::Turn,
        fast_methods::items,
        hub::Hub,
        native::{NativeHandle, c_api},
        portal::{Inbox, Portal, Receiver},
        queue::Queue,
        queue::async_iter::{Items, Ready},
        queue::place::Place,
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
        Ok(made.map_err(super::errors::os_error)?.name())
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
