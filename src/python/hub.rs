//! The hub of one event loop: the descriptor that the loop watches, and the waiters to call when an event rises.
//!
//! A hub calls a waiter as `who(rose)`. It knows no kind of loop: `asyncio` and `portal` are above it.

use super::{
    attached_cell::AttachedCell,
    call::call,
    errors::{closed, os_error},
    event::IoEvent,
    fairness,
    queue::place::{Awaited, Place, Places, all_leave},
};
use crate::{
    event::descriptor::Descriptor,
    event::wait_table::{Begun, Outcome, WaitTable},
    fork,
};
use pyo3::{PyTraverseError, PyVisit, exceptions::PyRuntimeError, prelude::*};
use slotmap::{Key as _, KeyData, SlotMap};
use std::{collections::VecDeque, sync::Arc};

/// The hub of one event loop: the descriptor that the loop watches, and those of its tasks that wait.
///
/// Only the loop's own thread may use it.
#[pyclass(module = "wakefd._wakefd", weakref)]
pub(crate) struct Hub {
    table: WaitTable<Py<PyAny>>,
    /// The waiters that were released and are not called yet. A waiter's call may run the loop inside the loop, whose dispatch
    /// goes on with the others.
    released: VecDeque<(Py<PyAny>, Outcome)>,
    places: Arc<Places>,
}

#[pymethods]
impl Hub {
    /// Raise OSError if the system has no descriptor left.
    #[new]
    fn new() -> PyResult<Self> {
        Ok(Self {
            table: WaitTable::new(fork::enter(), false).map_err(os_error)?,
            released: VecDeque::new(),
            places: Arc::new(AttachedCell::new(SlotMap::new())),
        })
    }

    /// Return the descriptor to watch for reading.
    pub(super) fn fileno(&self) -> PyResult<i64> {
        self.table
            .descriptor()
            .map(|descriptor| descriptor.number())
            .ok_or_else(|| unusable(&self.table))
    }

    /// Call `who(outcome)` once the flag of `event` rises (outcome True) or the event is closed (False). A place in line
    /// counts as an event: the hub knows of it until it is left, and leaves it when the hub itself is closed.
    ///
    /// Return a ticket for cancel(), or None if the flag is up already. Raise ClosedResourceError if the event is closed
    /// already, and RuntimeError if the loop has been closed or ran before a fork.
    #[allow(clippy::needless_pass_by_value)] // PyO3's signature
    fn wait(&mut self, py: Python<'_>, event: Awaited, who: Py<PyAny>) -> PyResult<Option<u64>> {
        self.wait_for(py, &event, who)
    }

    /// Know of a place in line that is up already and whose task pauses, as if it waited.
    #[allow(clippy::needless_pass_by_value)] // PyO3's signature
    fn pauses(&self, py: Python<'_>, place: Py<Place>) -> PyResult<()> {
        Awaited::Place(place).event(py, &self.places).map(drop)
    }

    /// Call `who(outcome)`, as wait() does, once the generation of `event` is not `seen`. If `seen` is None, a flag that is
    /// up now counts as a rise.
    ///
    /// This is for those who watch every rise and leave the flag to others. Return a ticket for cancel(): the call comes
    /// from dispatch() even if the event has risen already. Raise RuntimeError if the loop has been closed or ran before a
    /// fork, and OSError if the system refused to make the descriptor readable.
    #[pyo3(signature = (event, seen, who))]
    pub(super) fn wait_after(&mut self, event: &IoEvent, seen: Option<u64>, who: Py<PyAny>) -> PyResult<u64> {
        if !self.table.is_usable() {
            return Err(unusable(&self.table));
        }
        let ticket = self.table.wait_after(&event.inner.event, seen, who);
        Ok(ticket.map_err(os_error)?.data().as_ffi())
    }

    /// End a wait. A wait that has ended already stays as it is.
    pub(super) fn cancel(slf: &Bound<'_, Self>, ticket: u64) {
        let who = slf.borrow_mut().table.cancel(KeyData::from_ffi(ticket).into());
        drop(who); // may run Python code: not while we are borrowed
    }

    /// Call the waiters whose events have risen or were closed. The loop calls this when the descriptor is readable; at
    /// other times it does nothing.
    ///
    /// If the descriptor was dead and has been replaced, `rewatch(old_number)` is called first. It has the loop watch the
    /// new fileno() in place of the old one, which stays open until `rewatch` returns. Then `drained()` is called. A loop
    /// that does not watch a descriptor while it is called for it watches it again there, because a waiter may run the
    /// loop inside the loop. `nests` says that waiters may do so: while some are still to be called, the descriptor is
    /// readable, and the dispatch of the inner loop calls them.
    ///
    /// All waiters are called, even if some raise. Then the first exception is raised.
    #[pyo3(signature = (rewatch=None, drained=None, nests=false))]
    #[allow(clippy::needless_pass_by_value)] // PyO3's signature
    fn dispatch(
        slf: &Bound<'_, Self>,
        rewatch: Option<Bound<'_, PyAny>>,
        drained: Option<Bound<'_, PyAny>>,
        nests: bool,
    ) -> PyResult<()> {
        let drained = |replaced| {
            if let (Some(old), Some(rewatch)) = (replaced, rewatch) {
                call(&rewatch, (old,))?;
            }
            drained.map_or(Ok(()), |drained| call(&drained, ()).map(drop))
        };
        let errors = Self::release(slf, nests, drained, call_with_outcome);
        errors.into_iter().next().map_or(Ok(()), Err)
    }

    /// Forget all waiters, because the loop is gone. To close the hub again does nothing.
    pub(super) fn close(slf: &Bound<'_, Self>) {
        let (left, places) = {
            let mut this = slf.borrow_mut();
            (this.table.close(), this.places.clone())
        };
        all_leave(slf.py(), &places);
        drop(left); // may run Python code: not while we are borrowed
    }

    /// Whether this process is the child of a fork, and the hub was made in the parent.
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
    pub(super) fn wait_for(&mut self, py: Python<'_>, event: &Awaited, who: Py<PyAny>) -> PyResult<Option<u64>> {
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

    /// Calls those who are to be released, each with `resume`; the errors are those that it returned.
    ///
    /// `drained` is called first, with the number of the descriptor that was replaced, if one was. The table is not borrowed
    /// during a call, which may wait, cancel and close.
    pub(super) fn release(
        slf: &Bound<'_, Self>,
        nests: bool,
        drained: impl FnOnce(Option<i64>) -> PyResult<()>,
        resume: impl Fn(&Bound<'_, PyAny>, Outcome) -> PyResult<()>,
    ) -> Vec<PyErr> {
        fairness::began(); // the loop has looked at its descriptors
        // A replaced descriptor stays open meanwhile: its number is not given to another one while the loop still watches it.
        let replaced = {
            let mut hub = slf.borrow_mut();
            let Self { table, released, .. } = &mut *hub;
            table.dispatch(released)
        };
        let mut errors = Vec::new();
        errors.extend(drained(replaced.as_ref().map(Descriptor::number)).err());
        drop(replaced);
        while let Some((who, outcome)) = next(slf, nests) {
            errors.extend(resume(who.bind(slf.py()), outcome).err());
        }
        errors
    }
}

/// Calls `who(rose)`.
pub(super) fn call_with_outcome(who: &Bound<'_, PyAny>, outcome: Outcome) -> PyResult<()> {
    call(who, (outcome == Outcome::Rose,)).map(drop)
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

/// The next waiter to be called. If others are left, the descriptor is readable, and a loop inside the loop dispatches them.
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
