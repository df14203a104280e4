//! One loop's end of a hub, and the callback that the loop owns.

use super::{closed, event::IoEvent, os_error, turn, waiter::Waiter};
use crate::{
    self_pipe::Descriptor,
    waiters::{self, Begun, Outcome},
};
use pyo3::{PyTraverseError, PyVisit, exceptions::PyRuntimeError, prelude::*};
use slotmap::{Key as _, KeyData};

/// The number that a selector wants.
pub(super) fn number(descriptor: &Descriptor) -> i64 {
    #[cfg(unix)]
    return std::os::fd::AsRawFd::as_raw_fd(descriptor).into();
    #[cfg(windows)]
    {
        use std::os::windows::io::{AsRawSocket, AsSocket};
        descriptor.as_socket().as_raw_socket() as i64
    }
}

/// One event loop's hub: the descriptor that the loop watches, and those of its tasks that wait.
///
/// To be used in the loop's own thread.
#[pyclass(module = "wakefd._wakefd", weakref)]
pub(crate) struct Hub {
    table: waiters::Hub<Py<PyAny>>,
}

#[pymethods]
impl Hub {
    /// Raise OSError if no descriptor is to be had.
    #[new]
    fn new() -> PyResult<Self> {
        Ok(Self {
            table: waiters::Hub::new(false).map_err(os_error)?,
        })
    }

    /// Return the descriptor to watch for reading.
    fn fileno(&self) -> PyResult<i64> {
        self.table
            .descriptor()
            .map(|descriptor| number(&descriptor))
            .ok_or_else(|| unusable(&self.table))
    }

    /// Call `who(outcome)` once the flag of `event` rises (outcome True) or the event is closed (False).
    ///
    /// Return a ticket for cancel(), or None if the flag is up now. Raise ClosedResourceError if the event is closed now,
    /// RuntimeError if this hub cannot be used (any more).
    pub(super) fn wait(&mut self, event: &IoEvent, who: Py<PyAny>) -> PyResult<Option<u64>> {
        if !self.table.is_usable() {
            return Err(unusable(&self.table));
        }
        match self.table.wait(&event.inner.event, who) {
            Begun::Up => Ok(None),
            Begun::Closed => Err(closed()),
            Begun::Waiting(ticket) => Ok(Some(ticket.data().as_ffi())),
        }
    }

    /// Call `who(outcome)`, as wait() does, once the generation of `event` is not `seen`. None: a flag that is up now counts.
    ///
    /// For those who watch every rise and leave the flag to others. Return a ticket for cancel(); whatever has happened
    /// already, the call comes from dispatch(). Raise RuntimeError if this hub cannot be used (any more), OSError if the
    /// system refused to make it readable.
    #[pyo3(signature = (event, seen, who))]
    pub(super) fn wait_after(&mut self, event: &IoEvent, seen: Option<u64>, who: Py<PyAny>) -> PyResult<u64> {
        if !self.table.is_usable() {
            return Err(unusable(&self.table));
        }
        let ticket = self.table.wait_after(&event.inner.event, seen, who);
        Ok(ticket.map_err(os_error)?.data().as_ffi())
    }

    /// End a wait. Harmless if it has ended.
    pub(super) fn cancel(slf: &Bound<'_, Self>, ticket: u64) {
        let who = slf.borrow_mut().table.cancel(KeyData::from_ffi(ticket).into());
        drop(who); // may run Python code: not while we are borrowed
    }

    /// Call those who are to be released. To be called when the descriptor is readable, and harmless otherwise.
    ///
    /// If the descriptor was dead and has been replaced, `rewatch(old_number)` is called first: watch the new fileno() then
    /// instead of the old, which is open until `rewatch` returns. All are called; if some raised, the first exception is
    /// raised then (a loop's adapter knows a better place).
    #[pyo3(signature = (rewatch=None))]
    #[allow(clippy::needless_pass_by_value)] // PyO3's signature
    fn dispatch(slf: &Bound<'_, Self>, rewatch: Option<Bound<'_, PyAny>>) -> PyResult<()> {
        let errors = dispatch(slf, |old| {
            rewatch.map_or(Ok(()), |rewatch| rewatch.call1((old,)).map(drop))
        });
        errors.into_iter().next().map_or(Ok(()), Err)
    }

    /// The loop is gone. Harmless if it is closed.
    pub(super) fn close(slf: &Bound<'_, Self>) {
        let left = slf.borrow_mut().table.close();
        drop(left); // may run Python code: not while we are borrowed
    }

    /// True in the child of a fork if this hub was made on the other side.
    #[getter]
    pub(super) fn inherited(&self) -> bool {
        self.table.is_inherited()
    }

    #[allow(clippy::needless_pass_by_value)] // PyO3's signature
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.table.iter().try_for_each(|who| visit.call(who))
    }

    fn __clear__(slf: &Bound<'_, Self>) {
        Self::close(slf);
    }
}

fn unusable(table: &waiters::Hub<Py<PyAny>>) -> PyErr {
    PyRuntimeError::new_err(if table.is_inherited() {
        "this event loop ran before the fork, in the parent process, and still polls the parent's descriptors: \
         start a new loop in the child (asyncio.run, trio.run)"
    } else {
        "this event loop has been closed"
    })
}

/// Nobody is called while the table is borrowed: what is called may wait, cancel and close.
fn dispatch(hub: &Bound<'_, Hub>, rewatch: impl FnOnce(i64) -> PyResult<()>) -> Vec<PyErr> {
    turn::began(); // the loop has looked at its descriptors
    let py = hub.py();
    let mut released = Vec::new();
    let replaced = hub.borrow_mut().table.dispatch(&mut released);
    let mut errors = Vec::new();
    if let Some(dead) = replaced {
        // It is open meanwhile: its number is not given to another one while the loop still watches it.
        errors.extend(rewatch(number(&dead)).err());
    }
    for (who, outcome) in released {
        let result = match who.bind(py).cast::<Waiter>() {
            Ok(waiter) => Waiter::resume(waiter, outcome),
            Err(_) => who.call1(py, (outcome == Outcome::Rose,)).map(drop),
        };
        errors.extend(result.err());
    }
    errors
}

/// What an asyncio loop calls (`dispatch`) when its hub is readable.
///
/// The loop alone owns it: when the loop is closed or collected it goes, and the hub is closed with it.
#[pyclass(module = "wakefd._wakefd", frozen, weakref)]
pub(crate) struct Reader {
    #[pyo3(get)]
    hub: Py<Hub>,
    /// A weak reference.
    event_loop: Py<PyAny>,
}

#[pymethods]
impl Reader {
    #[new]
    fn new(hub: Py<Hub>, event_loop: &Bound<'_, PyAny>) -> PyResult<Self> {
        let event_loop = pyo3::types::PyWeakrefReference::new(event_loop)?.into_any().unbind();
        Ok(Self { hub, event_loop })
    }

    /// Release those who are to be released. The bound method is the callback: it owns the reader.
    fn dispatch(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let errors = dispatch(this.hub.bind(py), |old| {
            let event_loop = this.event_loop.call0(py)?;
            event_loop.call_method1(py, "remove_reader", (old,))?;
            let new = this.hub.borrow(py).fileno()?;
            event_loop.call_method1(py, "add_reader", (new, slf.getattr("dispatch")?))?;
            Ok(())
        });
        if errors.is_empty() {
            return Ok(());
        }
        let event_loop = this.event_loop.call0(py)?;
        for error in errors {
            // Raised here, the traceback would keep this callback, and so the hub, alive past the end of the loop.
            let raise = Bound::new(
                py,
                Raise {
                    error: error.into_value(py).into_any(),
                },
            )?;
            event_loop.call_method1(py, "call_soon", (raise,))?;
        }
        Ok(())
    }

    #[allow(clippy::needless_pass_by_value)] // PyO3's signature
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.hub)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // Without an interpreter there is no loop either.
        Python::try_attach(|py| Hub::close(self.hub.bind(py)));
    }
}

/// Raises what came out of a task's step (KeyboardInterrupt, SystemExit) where it ends the loop.
#[pyclass(frozen)]
pub(super) struct Raise {
    pub(super) error: Py<PyAny>,
}

#[pymethods]
impl Raise {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        Err(PyErr::from_value(self.error.bind(py).clone()))
    }
}
