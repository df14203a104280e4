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
mod hub;
mod list;
mod native;
mod once;
mod portal;
mod queue;

use pyo3::prelude::*;

/// Do what comes before the first use: find exceptions, find out about the GIL, install the fast methods. To be called once, at
/// the import.
#[pyfunction]
fn set_up(py: Python<'_>) -> PyResult<()> {
    errors::find_exceptions(py);
    let version: String = py.import("sys")?.getattr("version")?.extract()?;
    attached_cell::set_free_threaded(version.contains("free-threading")); // an import may switch the GIL off or on
    event::hand_over(std::env::var_os("WAKEFD_HAND_OVER").is_none_or(|value| value != "0"));
    #[cfg(not(wakefd_no_fast_methods))] // the tests have a build in which each call is PyO3's method
    fast_methods::install(py)?;
    Ok(())
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
        event::{IoEvent, hand_over, hand_over_limits, seconds, wait_for_one},
        fairness::Turn,
        hub::Hub,
        native::{NativeHandle, c_api},
        portal::{Inbox, Portal, Receiver},
        queue::Queue,
        queue::async_iter::{Items, Ready, items},
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
