//! A task's place in line, and the places of all tasks that wait on one hub.

use crate::python::{
    arguments::{Count, most},
    attached_cell::AttachedCell,
    errors::no_memory,
    event::IoEvent,
    queue::state::{PlaceInLine, Queue},
};
use crate::queue::{Side, attempt::QueueCell};
use pyo3::{Borrowed, PyTraverseError, PyVisit, exceptions::PyRuntimeError, prelude::*};
use slotmap::{DefaultKey, SlotMap};
use std::sync::Arc;

/// A task's place in line.
#[pyclass(module = "wakefd._wakefd")]
pub(crate) struct Place {
    queue: Py<Queue>,
    side: Side,
    in_line: Option<PlaceInLine>,
    /// The entry among the places of the hub on which the task waits.
    entry: Option<Entry>,
}

/// The places of the tasks that wait on one hub. A closed hub never resumes its tasks, so it leaves the lines for them.
pub(crate) type Places = AttachedCell<SlotMap<DefaultKey, Py<Place>>>;

struct Entry {
    places: Arc<Places>,
    key: DefaultKey,
}

/// The object that a coroutine waits for: an event, or its place in line.
pub(crate) enum Awaited {
    Event(Py<IoEvent>),
    Place(Py<Place>),
}

// This conversion is written by hand, because the derived one makes and drops an exception for each place.
impl FromPyObject<'_, '_> for Awaited {
    type Error = PyErr;

    #[cfg(feature = "stubs")]
    const INPUT_TYPE: pyo3::inspect::PyStaticExpr = pyo3::inspect::PyStaticExpr::BinOp {
        left: &<Py<IoEvent> as FromPyObject<'_, '_>>::INPUT_TYPE,
        op: pyo3::inspect::PyStaticOperator::BitOr,
        right: &<Py<Place> as FromPyObject<'_, '_>>::INPUT_TYPE,
    };

    fn extract(it: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        match it.cast::<Place>() {
            Ok(place) => Ok(Self::Place(place.to_owned().unbind())),
            Err(_) => Ok(Self::Event(it.cast::<IoEvent>()?.to_owned().unbind())),
        }
    }
}

#[pymethods]
impl Place {
    /// Return True if an attempt is to be made, after one that came to nothing.
    fn is_set(&self) -> PyResult<bool> {
        let in_line = self.in_line.as_ref().ok_or_else(left)?;
        Ok(in_line.event().get().inner.is_set())
    }

    /// Stand in line, if there is nothing to do but to wait. Return False if an attempt is to be made instead.
    fn line_up(&mut self, py: Python<'_>) -> PyResult<bool> {
        let in_line = self.in_line.as_mut().ok_or_else(left)?;
        let lined_up = self.queue.get().attached(py).line_up(in_line);
        lined_up.map_err(|_| no_memory(py))
    }

    /// Put the item. Return False if there is no room.
    fn put(&mut self, py: Python<'_>, item: Py<PyAny>) -> PyResult<bool> {
        let in_line = self.in_line.as_mut().ok_or_else(left)?;
        let put = self.queue.get().try_put(py, Some(in_line), &mut Some(item))?;
        Ok(put.is_some())
    }

    /// Take an item. Return `default` if there is none.
    fn get(&mut self, py: Python<'_>, default: Py<PyAny>) -> PyResult<Py<PyAny>> {
        let in_line = self.in_line.as_mut().ok_or_else(left)?;
        Ok(self.queue.get().try_get(py, Some(in_line))?.unwrap_or(default))
    }

    /// Return the next item, which stays; `default` if there is none.
    fn peek(&mut self, py: Python<'_>, default: Py<PyAny>) -> PyResult<Py<PyAny>> {
        let in_line = self.in_line.as_mut().ok_or_else(left)?;
        Ok(self.queue.get().try_peek(py, Some(in_line))?.unwrap_or(default))
    }

    /// Take up to `max` items. Return None if there are none.
    fn get_many<'py>(&mut self, py: Python<'py>, max: Option<Count<'_, '_>>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let in_line = self.in_line.as_mut().ok_or_else(left)?;
        self.queue
            .get()
            .try_get_many(py, Some(in_line), most(max, "async_get_many()")?)
    }

    /// Served or not. To be called in any case.
    pub(crate) fn leave(&mut self, py: Python<'_>) {
        if let Some(Entry { places, key }) = self.entry.take() {
            let this = places.with(py, |places| places.remove(key));
            drop(this);
        }
        if let Some(in_line) = self.in_line.take() {
            self.queue.get().attached(py).leave(in_line);
        }
    }

    #[allow(clippy::needless_pass_by_value)] // PyO3's signature
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.queue)
    }
}

impl Place {
    pub(crate) fn new(queue: Py<Queue>, in_line: PlaceInLine) -> Self {
        Self {
            queue,
            side: in_line.side(),
            in_line: Some(in_line),
            entry: None,
        }
    }

    /// Enters the place among those of the hub on which its task waits from now on.
    fn enter(slf: &Bound<'_, Self>, places: &Arc<Places>) -> PyResult<Py<IoEvent>> {
        let mut this = slf.borrow_mut();
        if this.entry.is_none() {
            let place = slf.clone().unbind();
            this.entry = Some(Entry {
                places: places.clone(),
                key: places.with(slf.py(), |places| places.insert(place)),
            });
        }
        let in_line = this.in_line.as_ref().ok_or_else(left)?;
        Ok(in_line.event().clone_ref(slf.py()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.in_line.is_some() {
            Python::try_attach(|py| self.leave(py));
        }
    }
}

impl Awaited {
    pub(crate) fn clone_ref(&self, py: Python<'_>) -> Self {
        match self {
            Self::Event(event) => Self::Event(event.clone_ref(py)),
            Self::Place(place) => Self::Place(place.clone_ref(py)),
        }
    }

    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Event(event) => visit.call(event),
            Self::Place(place) => visit.call(place),
        }
    }

    /// The awaited thing in words, for people who look at a task.
    pub(crate) fn words(&self, py: Python<'_>) -> PyResult<String> {
        match self {
            Self::Event(event) => Ok(event.bind(py).repr()?.to_string()),
            Self::Place(place) => {
                let (queue, side) = {
                    let place = place.bind(py).try_borrow()?;
                    (place.queue.clone_ref(py), place.side)
                };
                let what = match side {
                    Side::Get => "an item of",
                    Side::Put => "room in",
                };
                Ok(format!("{what} {}", queue.bind(py).repr()?))
            }
        }
    }

    /// The event that rises. A place enters among the places of the hub.
    pub(crate) fn event(&self, py: Python<'_>, places: &Arc<Places>) -> PyResult<Py<IoEvent>> {
        match self {
            Self::Event(event) => Ok(event.clone_ref(py)),
            Self::Place(place) => Place::enter(place.bind(py), places),
        }
    }
}

/// Leaves the lines for the tasks of a closed hub, which are never resumed: each passes its baton.
pub(crate) fn all_leave(py: Python<'_>, places: &Places) {
    let all: Vec<_> = places.with(py, |places| places.drain().map(|(_, place)| place).collect());
    for place in all {
        // A place that is borrowed is in the middle of an attempt, and its task leaves by itself.
        if let Ok(mut place) = place.bind(py).try_borrow_mut() {
            place.leave(py);
        }
    }
}

fn left() -> PyErr {
    PyRuntimeError::new_err("this place in line was left")
}
