//! The Python extension `wakefd._wakefd`: classes around the core. No algorithm lives here.

mod byte_queue;
mod event;
mod exclusive;
mod fast;
mod heap;
mod hub;
mod native;
mod portal;
mod queue;
mod steps;
mod task;
mod turn;
mod waiter;

use pyo3::prelude::*;
use std::io;

// A Python class, so that the generated stubs know it.
pyo3::import_exception!(wakefd._errors, ClosedResourceError);
pyo3::import_exception!(wakefd._errors, LoopClosedError);

/// Finds what is raised of other modules' classes, at the import.
///
/// PyO3 would look for each when it is first raised. While the interpreter ends nothing can be imported: it would panic on
/// the way out to CPython, which aborts the process.
fn find_exceptions(py: Python<'_>) {
    for class in [
        py.get_type::<ClosedResourceError>(),
        py.get_type::<LoopClosedError>(),
        py.get_type::<queue::Empty>(),
        py.get_type::<queue::QueueFull>(),
        py.get_type::<queue::QueueShutDown>(),
    ] {
        drop(class); // PyO3 keeps it
    }
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
        byte_queue::ByteQueue,
        event::{IoEvent, seconds, wait_for_one},
        fast::{install_fast_methods, items},
        hub::{Hub, Reader},
        native::{NativeHandle, c_api},
        portal::{Inbox, Portal, Receiver},
        queue::Queue,
        task::{Items, Place, Ready},
        turn::Turn,
        waiter::Waiter,
    };
    use pyo3::prelude::*;

    /// The version of the package, from Cargo.toml.
    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");

    /// Which notifier the operating system gives us: "eventfd", "socketpair" or "tcp".
    ///
    /// Raises OSError if it gives none.
    #[pyfunction]
    fn backend() -> PyResult<&'static str> {
        Ok(crate::notifier::Notifier::new().map_err(super::os_error)?.name())
    }
}
