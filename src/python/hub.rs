//! One loop's end of a hub, and the callback that the loop owns.

use super::{
    asyncio::Waiter,
    attached_cell::AttachedCell,
    call::{call, call_method},
    closed, context,
    event::IoEvent,
    fairness, os_error,
    queue::async_iter::{Awaited, Place, Places, all_leave},
};
use crate::{
    event::descriptor::Descriptor,
    event::wait_table::{Begun, Outcome, WaitTable},
    fork,
};
use pyo3::{PyTraverseError, PyVisit, exceptions::PyRuntimeError, intern, prelude::*};
use slotmap::{Key as _, KeyData, SlotMap};
use std::{collections::VecDeque, sync::Arc};

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
    table: WaitTable<Py<PyAny>>,
    /// Those who were released and are not called yet. Not the dispatch's: whoever is called may run the loop inside the loop,
    /// and the dispatch there goes on with them.
    released: VecDeque<(Py<PyAny>, Outcome)>,
    places: Arc<Places>,
}

#[pymethods]
impl Hub {
    /// Raise OSError if no descriptor is to be had.
    #[new]
    fn new() -> PyResult<Self> {
        Ok(Self {
            table: WaitTable::new(fork::enter(), false).map_err(os_error)?,
            released: VecDeque::new(),
            places: Arc::new(AttachedCell::new(SlotMap::new())),
        })
    }

    /// Return the descriptor to watch for reading.
    fn fileno(&self) -> PyResult<i64> {
        self.table
            .descriptor()
            .map(|descriptor| number(&descriptor))
            .ok_or_else(|| unusable(&self.table))
    }

    /// Call `who(outcome)` once the flag of `event` rises (outcome True) or the event is closed (False). A place in line is an
    /// event, too: from now on until it is left the hub knows of it, and leaves it if it is closed.
    ///
    /// Return a ticket for cancel(), or None if the flag is up now. Raise ClosedResourceError if the event is closed now,
    /// RuntimeError if this hub cannot be used (any more).
    #[allow(clippy::needless_pass_by_value)] // PyO3's signature
    fn wait(&mut self, py: Python<'_>, event: Awaited, who: Py<PyAny>) -> PyResult<Option<u64>> {
        self.begin(py, &event, who)
    }

    /// A place in line that is up already, and whose task pauses: the hub knows of it, as if it waited.
    #[allow(clippy::needless_pass_by_value)] // PyO3's signature
    fn pauses(&self, py: Python<'_>, place: Py<Place>) -> PyResult<()> {
        Awaited::Place(place).event(py, &self.places).map(drop)
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
    /// instead of the old, which is open until `rewatch` returns. Then `drained()` is called, for those who stop to watch a
    /// descriptor that is readable: watch it again now, as whoever is called next may run the loop inside the loop. `nests`:
    /// that may be so, and the descriptor is readable meanwhile if others are to be called, which the dispatch in there does.
    /// All are called; if some raised, the first exception is raised then (a loop's adapter knows a better place).
    #[pyo3(signature = (rewatch=None, drained=None, nests=false))]
    #[allow(clippy::needless_pass_by_value)] // PyO3's signature
    fn dispatch(
        slf: &Bound<'_, Self>,
        rewatch: Option<Bound<'_, PyAny>>,
        drained: Option<Bound<'_, PyAny>>,
        nests: bool,
    ) -> PyResult<()> {
        let errors = dispatch(slf, nests, |replaced| {
            if let (Some(old), Some(rewatch)) = (replaced, rewatch) {
                call(&rewatch, (old,))?;
            }
            drained.map_or(Ok(()), |drained| call(&drained, ()).map(drop))
        });
        errors.into_iter().next().map_or(Ok(()), Err)
    }

    /// The loop is gone. Harmless if it is closed.
    pub(super) fn close(slf: &Bound<'_, Self>) {
        let (left, places) = {
            let mut this = slf.borrow_mut();
            (this.table.close(), this.places.clone())
        };
        all_leave(slf.py(), &places);
        drop(left); // may run Python code: not while we are borrowed
    }

    /// True in the child of a fork if this hub was made on the other side.
    #[getter]
    pub(super) fn inherited(&self) -> bool {
        self.table.is_inherited()
    }

    #[allow(clippy::needless_pass_by_value)] // PyO3's signature
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let released = self.released.iter().map(|(who, _)| who);
        self.table.iter().chain(released).try_for_each(|who| visit.call(who))?;
        self.places
            .traverse(&visit, |places| places.values().try_for_each(|place| visit.call(place)))
    }

    fn __clear__(slf: &Bound<'_, Self>) {
        Self::close(slf);
    }
}

impl Hub {
    pub(super) fn begin(&mut self, py: Python<'_>, event: &Awaited, who: Py<PyAny>) -> PyResult<Option<u64>> {
        if !self.table.is_usable() {
            return Err(unusable(&self.table));
        }
        let event = event.event(py, &self.places)?;
        match self.table.wait(&event.get().inner.event, who) {
            Begun::Up => Ok(None),
            Begun::Closed => Err(closed()),
            Begun::Waiting(ticket) => Ok(Some(ticket.data().as_ffi())),
        }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.table.close();
        Python::try_attach(|py| all_leave(py, &self.places));
    }
}

fn unusable(table: &WaitTable<Py<PyAny>>) -> PyErr {
    PyRuntimeError::new_err(if table.is_inherited() {
        "this event loop ran before the fork, in the parent process, and still polls the parent's descriptors: \
         start a new loop in the child (asyncio.run, trio.run)"
    } else {
        "this event loop has been closed"
    })
}

/// Nobody is called while the table is borrowed: what is called may wait, cancel and close.
/// `drained` gets the descriptor's number if it was replaced.
fn dispatch(hub: &Bound<'_, Hub>, nests: bool, drained: impl FnOnce(Option<i64>) -> PyResult<()>) -> Vec<PyErr> {
    fairness::began(); // the loop has looked at its descriptors
    let py = hub.py();
    // A replaced descriptor stays open meanwhile: its number is not given to another one while the loop still watches it.
    let replaced = {
        let mut hub = hub.borrow_mut();
        let Hub { table, released, .. } = &mut *hub;
        table.dispatch(released)
    };
    let mut errors = Vec::new();
    errors.extend(drained(replaced.as_ref().map(number)).err());
    drop(replaced);
    while let Some((who, outcome)) = next(hub, nests) {
        let result = match who.bind(py).cast::<Waiter>() {
            Ok(waiter) => Waiter::resume(waiter, outcome),
            Err(_) => call(who.bind(py), (outcome == Outcome::Rose,)).map(drop),
        };
        errors.extend(result.err());
    }
    errors
}

/// The next one to be called. If others are left, the descriptor is readable: a loop inside the loop dispatches them.
fn next(hub: &Bound<'_, Hub>, nests: bool) -> Option<(Py<PyAny>, Outcome)> {
    let mut hub = hub.borrow_mut();
    let next = hub.released.pop_front();
    if hub.released.is_empty() {
        hub.released = VecDeque::new(); // a burst does not keep its memory
    } else if nests {
        hub.table.call_again();
    }
    next
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
    /// The `run_until_complete` of the loop's class, if it is known to run no loop inside the loop.
    flat: Option<Py<PyAny>>,
}

#[pymethods]
impl Reader {
    /// `flat` is the `run_until_complete` of the loop's class, if that is known to run no loop inside the loop.
    #[new]
    #[pyo3(signature = (hub, event_loop, flat=None))]
    fn new(hub: Py<Hub>, event_loop: &Bound<'_, PyAny>, flat: Option<Py<PyAny>>) -> PyResult<Self> {
        let event_loop = pyo3::types::PyWeakrefReference::new(event_loop)?.into_any().unbind();
        Ok(Self { hub, event_loop, flat })
    }

    /// Have the loop call dispatch(), in an empty context, when the hub's descriptor is readable.
    fn watch(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let add_reader = slf
            .get()
            .event_loop
            .call0(py)?
            .bind(py)
            .getattr(intern!(py, "add_reader"))?;
        let fd = slf.get().hub.borrow(py).fileno()?;
        let args = (fd, slf.getattr(intern!(py, "dispatch"))?).into_pyobject(py)?;
        context::call(&context::empty(py)?, &add_reader, &args).map(drop)
    }

    /// Release those who are to be released. The bound method is the callback: it owns the reader.
    fn dispatch(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let flat = this.is_flat(py)?;
        let errors = dispatch(this.hub.bind(py), !flat, |replaced| {
            if let Some(old) = replaced {
                let event_loop = this.event_loop.call0(py)?;
                call_method(event_loop.bind(py), intern!(py, "remove_reader"), (old,))?;
            } else if flat || this.hub.borrow(py).inherited() {
                return Ok(());
            }
            // A loop does not call what it is just calling: inside it (nest_asyncio) or at all (qasync).
            Self::watch(slf)
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
            call_method(event_loop.bind(py), intern!(py, "call_soon"), (raise,))?;
        }
        Ok(())
    }

    #[allow(clippy::needless_pass_by_value)] // PyO3's signature
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.hub)
    }
}

impl Reader {
    /// Whether no loop runs inside the loop. nest_asyncio may have changed its class meanwhile.
    fn is_flat(&self, py: Python<'_>) -> PyResult<bool> {
        let Some(flat) = &self.flat else { return Ok(false) };
        let event_loop = self.event_loop.call0(py)?;
        let now = event_loop
            .bind(py)
            .get_type()
            .getattr(intern!(py, "run_until_complete"))?;
        Ok(now.is(flat))
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
