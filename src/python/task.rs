//! What coroutines hold of a queue: a place in line, and the items of an `async for`.

use super::{
    event::IoEvent,
    queue::{Queue, at_least_one},
    steps::Spot,
    turn,
};
use pyo3::{
    IntoPyObjectExt as _, PyTraverseError, PyVisit,
    exceptions::{PyBaseException, PyRuntimeError, PyStopIteration},
    ffi,
    prelude::*,
    types::PyTuple,
};

/// A task's place in line.
#[pyclass(module = "wakefd._wakefd")]
pub(crate) struct Place {
    queue: Py<Queue>,
    spot: Option<Spot>,
}

#[pymethods]
impl Place {
    /// What to wait for after an attempt that came to nothing.
    #[getter]
    fn event(&self, py: Python<'_>) -> PyResult<Py<IoEvent>> {
        let spot = self.spot.as_ref().ok_or_else(left)?;
        Ok(spot.event.clone_ref(py))
    }

    /// Stand in line, if there is nothing to do but to wait. Return False if an attempt is to be made instead.
    fn line_up(&mut self, py: Python<'_>) -> PyResult<bool> {
        let spot = self.spot.as_mut().ok_or_else(left)?;
        Ok(self.queue.get().line_up(py, spot))
    }

    /// Put the item. Return False if there is no room.
    fn put(&mut self, py: Python<'_>, item: Py<PyAny>) -> PyResult<bool> {
        let spot = self.spot.as_mut().ok_or_else(left)?;
        self.queue.get().put_step(py, Some(spot), &mut Some(item))
    }

    /// Take an item. Return `default` if there is none.
    fn get(&mut self, py: Python<'_>, default: Py<PyAny>) -> PyResult<Py<PyAny>> {
        let spot = self.spot.as_mut().ok_or_else(left)?;
        Ok(self.queue.get().get_step(py, Some(spot))?.unwrap_or(default))
    }

    /// Return the next item, which stays; `default` if there is none.
    fn peek(&mut self, py: Python<'_>, default: Py<PyAny>) -> PyResult<Py<PyAny>> {
        let spot = self.spot.as_mut().ok_or_else(left)?;
        Ok(self.queue.get().peek_step(py, Some(spot))?.unwrap_or(default))
    }

    /// Take up to `max` items. Return None if there are none.
    fn get_many<'py>(&mut self, py: Python<'py>, max: i64) -> PyResult<Option<Bound<'py, PyAny>>> {
        let spot = self.spot.as_mut().ok_or_else(left)?;
        self.queue.get().get_many_step(py, Some(spot), at_least_one(max)?)
    }

    /// Served or not. To be called in any case.
    fn leave(&mut self, py: Python<'_>) {
        if let Some(spot) = self.spot.take() {
            self.queue.get().leave(py, spot);
        }
    }

    #[allow(clippy::needless_pass_by_value)] // PyO3's signature
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.queue)
    }
}

/// The items one by one, for `async for`.
#[pyclass(module = "wakefd._wakefd")]
pub(crate) struct Items {
    queue: Py<Queue>,
    /// Makes the coroutine that waits for one.
    wait: Py<PyAny>,
    /// Need not wait where there is an item: what `wait` has found out about the loop.
    #[pyo3(get, set)]
    at_once: bool,
    /// An item is out that nobody has awaited yet. Were it to come back after a later one, they would have changed places.
    out: bool,
    /// The awaitable of the last turn, awaited.
    used: Option<Py<Ready>>,
}

#[pymethods]
impl Items {
    #[new]
    fn new(queue: Py<Queue>, wait: Py<PyAny>) -> Self {
        Self {
            queue,
            wait,
            at_once: false,
            out: false,
            used: None,
        }
    }

    fn __aiter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __anext__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let this = slf.borrow();
        let at_once = this.at_once && !this.out;
        let queue = this.queue.clone_ref(py);
        drop(this);
        if at_once && turn::within(false) {
            if let Ok(Some(item)) = queue.get().get_step(py, None) {
                return Self::ready(slf, queue, item);
            }
        }
        let wait = slf.borrow().wait.clone_ref(py);
        wait.into_bound(py).call1((slf,))
    }

    #[allow(clippy::needless_pass_by_value)] // PyO3's signature
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.queue)?;
        visit.call(&self.wait)?;
        visit.call(&self.used)
    }
}

impl Place {
    pub(super) fn new(queue: Py<Queue>, spot: Spot) -> Self {
        Self {
            queue,
            spot: Some(spot),
        }
    }
}

impl Items {
    /// The awaitable of the last turn is used again if nobody else has it.
    fn ready<'py>(slf: &Bound<'py, Self>, queue: Py<Queue>, item: Py<PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let items = Some(slf.clone().unbind());
        let mut this = slf.borrow_mut();
        this.out = true;
        let used = this.used.take();
        drop(this);
        if let Some(used) = used {
            // SAFETY: an object, and the GIL is held.
            if unsafe { ffi::Py_REFCNT(used.as_ptr()) } == 1 {
                let mut ready = used.borrow_mut(py);
                ready.item = Some(item);
                ready.items = items;
                drop(ready);
                return used.into_bound_py_any(py);
            }
        }
        let item = Some(item);
        Ok(Bound::new(py, Ready { queue, items, item })?.into_any())
    }
}

/// An item that is there. If nobody awaits it, it goes back.
#[pyclass(module = "wakefd._wakefd")]
pub(crate) struct Ready {
    queue: Py<Queue>,
    /// Whose turn it is. They get this object back once it was awaited: before, only who is to await it may have it.
    items: Option<Py<Items>>,
    item: Option<Py<PyAny>>,
}

#[pymethods]
impl Ready {
    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(slf: &Bound<'_, Self>) -> PyResult<Option<()>> {
        let py = slf.py();
        let mut this = slf.borrow_mut();
        let (item, items) = (this.item.take(), this.items.take());
        drop(this);
        let item = item
            .ok_or_else(|| PyRuntimeError::new_err("cannot await this item again"))?
            .into_bound(py);
        if let Some(items) = items {
            let mut items = items.borrow_mut(py);
            items.out = false;
            let old = items.used.replace(slf.clone().unbind());
            drop(items);
            drop(old);
        }
        if item.is_instance_of::<PyTuple>() || item.is_instance_of::<PyBaseException>() {
            return Err(PyStopIteration::new_err((item.unbind(),))); // else it would be taken apart
        }
        // SAFETY: both are objects. An exception that is set counts for more than the None that ends an iteration, and is
        // not made into an object before somebody looks at it.
        unsafe { ffi::PyErr_SetObject(ffi::PyExc_StopIteration, item.as_ptr()) };
        Ok(None)
    }

    #[allow(clippy::needless_pass_by_value)] // PyO3's signature
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.queue)?;
        visit.call(&self.items)?;
        visit.call(&self.item)
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        let (items, item) = (self.items.take(), self.item.take());
        Python::try_attach(|py| {
            if let Some(item) = item {
                self.queue.get().give_back(py, item);
            }
            if let Some(items) = items {
                items.borrow_mut(py).out = false;
            }
        });
    }
}

fn left() -> PyErr {
    PyRuntimeError::new_err("this place in line was left")
}
