//! The errors that Python gets: the exceptions of the package, and what becomes of an error of the core.

use crate::queue::Side;
use pyo3::{
    PyTypeInfo,
    call::PyCallArgs,
    exceptions::{PyConnectionResetError, PyException, PyImportError, PyOSError},
    ffi, intern,
    prelude::*,
    types::PyType,
};
use std::{
    io,
    sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed},
};

// These are Python classes, which is how the generated stubs know them.
pyo3::import_exception!(queue, Empty);
pyo3::import_exception!(wakefd._errors, ClosedResourceError);
pyo3::import_exception!(wakefd._errors, LoopClosedError);
pyo3::import_exception!(wakefd._errors, QueueFull);
pyo3::import_exception!(wakefd._errors, QueueShutDown);

/// Whether the import has found the exceptions.
static FOUND: AtomicBool = AtomicBool::new(false);

/// Finds the exceptions that other modules define, at the import.
///
/// PyO3 would look for each when it is first raised. While the interpreter ends nothing can be imported, and PyO3 would
/// panic.
pub(super) fn find_exceptions(py: Python<'_>) {
    drop(own_exceptions(py)); // PyO3 keeps them
    drop(py.get_type::<Empty>());
    FOUND.store(true, Relaxed);
}

fn own_exceptions(py: Python<'_>) -> Vec<(&'static str, Bound<'_, PyType>)> {
    vec![
        ("ClosedResourceError", py.get_type::<ClosedResourceError>()),
        ("LoopClosedError", py.get_type::<LoopClosedError>()),
        ("QueueFull", py.get_type::<QueueFull>()),
        ("QueueShutDown", py.get_type::<QueueShutDown>()),
    ]
}

/// Return the classes of the exceptions that are raised, by name; none at the first import of the process.
///
/// A second import, after somebody has taken the modules out of `sys.modules`, has to offer the same classes. Raise
/// ImportError if another interpreter of this process has imported wakefd.
#[pyfunction]
pub(super) fn exceptions(py: Python<'_>) -> PyResult<Vec<(&'static str, Bound<'_, PyType>)>> {
    refuse_a_second_interpreter()?;
    let found = FOUND.load(Relaxed);
    Ok(if found { own_exceptions(py) } else { vec![] })
}

/// # Errors
/// ImportError if another interpreter of this process has imported wakefd. CPython itself refuses isolated
/// interpreters, but not those that share the GIL: they would share the classes, too, and the Python objects in the
/// statics of this library.
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

/// An error of the system, with its errno, by which OSError picks its subclass.
pub(super) fn os_error(error: io::Error) -> PyErr {
    match error.raw_os_error() {
        Some(errno) => {
            let message = error.to_string();
            let message = message.split(" (os error").next().unwrap_or_default().to_owned();
            PyOSError::new_err((errno, message))
        }
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            PyConnectionResetError::new_err("the descriptor's connection to itself has ended")
        }
        None => error.into(),
    }
}

pub(super) fn closed() -> PyErr {
    ClosedResourceError::new_err("this event is closed")
}

pub(super) fn closed_handle() -> PyErr {
    ClosedResourceError::new_err("this handle is closed: native code cannot be given its argument any more")
}

pub(super) fn shut(py: Python<'_>, side: Side) -> PyErr {
    let why = match side {
        Side::Get => "the queue is shut down, and empty",
        Side::Put => "the queue is shut down",
    };
    refusal::<QueueShutDown>(py, (why,))
}

/// MemoryError, without asking for memory.
#[cold]
pub(super) fn no_memory(py: Python<'_>) -> PyErr {
    // SAFETY: this thread is attached. It sets the exception, and returns null.
    unsafe { ffi::PyErr_NoMemory() };
    PyErr::fetch(py)
}

pub(super) fn full(py: Python<'_>) -> PyErr {
    refusal::<QueueFull>(py, ())
}

/// An exception with the attribute `accepted`, which the standard library's QueueShutDown does not have by itself.
///
/// The exception is made at once: PyO3 makes a lazy one by an attach of its own, which panics while the interpreter
/// ends.
fn refusal<'py, E: PyTypeInfo>(py: Python<'py>, args: impl PyCallArgs<'py>) -> PyErr {
    let error = py.get_type::<E>().call1(args).and_then(|error| {
        error.setattr(intern!(py, "accepted"), 0)?;
        Ok(PyErr::from_value(error))
    });
    error.unwrap_or_else(|failed| failed)
}

/// Logs a refused wake-up of `whose`, and what follows from it.
#[cold]
pub(super) fn report(py: Python<'_>, whose: &str, consequence: &str, error: io::Error) {
    let error = os_error(error);
    let report = || {
        py.import("wakefd._log")?
            .call_method1("refused", (whose, consequence, error.value(py)))
    };
    if let Err(error) = report() {
        error.write_unraisable(py, None);
    }
}

pub(super) fn empty() -> PyErr {
    Empty::new_err(())
}

/// Drops an exception from a comparison, because the next attempt raises it again: here the queue counts as empty.
///
/// # Errors
/// An exception that no attempt raises again: KeyboardInterrupt, SystemExit and the like, which a signal handler may have
/// raised while a comparison ran. To drop such an exception would be to swallow it.
pub(super) fn or_again<T>(py: Python<'_>, result: PyResult<Option<T>>) -> PyResult<Option<T>> {
    result.or_else(|error| if comes_again(py, &error) { Ok(None) } else { Err(error) })
}

pub(super) fn comes_again(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyException>(py)
}
