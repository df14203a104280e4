//! The items of an `async for` over a queue or a byte queue.

use crate::python::{
    asyncio::Waiter,
    attached_cell::{self, AttachedCell, attached},
    byte_queue::ByteQueue,
    call,
    errors::or_again,
    fairness,
    queue::state::Queue,
};
use pyo3::{
    Borrowed, PyTraverseError, PyTypeInfo, PyVisit,
    exceptions::{PyRuntimeError, PyStopIteration},
    ffi, intern,
    prelude::*,
    sync::PyOnceLock,
    types::PyType,
};
use std::{
    mem, ptr,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

/// The subclass of `Items` that the fast methods make, if this build has them.
pub(crate) static ITEMS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
/// The subclass of `Ready`, likewise.
pub(crate) static READY: PyOnceLock<Py<PyType>> = PyOnceLock::new();

fn subclass_or_class<'py, C: PyTypeInfo>(py: Python<'py>, subclass: &PyOnceLock<Py<PyType>>) -> Bound<'py, PyType> {
    let subclass = subclass.get(py).map(|class| class.bind(py).clone());
    subclass.unwrap_or_else(|| py.get_type::<C>())
}

/// Begin an `async for` over a queue or a byte queue; `wait` makes the coroutine that waits for an item.
#[pyfunction]
pub(crate) fn items<'py>(
    py: Python<'py>,
    queue: &Bound<'py, PyAny>,
    wait: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, Items>> {
    let items = subclass_or_class::<Items>(py, &ITEMS).call1((queue, wait))?;
    Ok(items.cast_into::<Items>()?)
}

/// The queue that an `async for` takes from.
#[derive(FromPyObject)]
enum Source {
    Queue(Py<Queue>),
    ByteQueue(Py<ByteQueue>),
}

/// The items of a queue, or the messages of a byte queue, one by one: for `async for`.
#[pyclass(module = "wakefd._wakefd", frozen, subclass)]
pub(crate) struct Items {
    source: Source,
    /// The function that makes a coroutine which waits for an item.
    wait: Py<PyAny>,
    /// Whether an item that is there may be taken without a wait: the coroutine of `wait` has found that out about the
    /// loop.
    at_once: AtomicBool,
    /// An awaitable of an earlier turn, to be used again.
    used: AttachedCell<Option<Py<Ready>>>,
}

#[pymethods]
impl Items {
    #[new]
    fn new(source: Source, wait: Py<PyAny>) -> Self {
        Self {
            source,
            wait,
            at_once: AtomicBool::new(false),
            used: AttachedCell::new(None),
        }
    }

    #[getter]
    fn at_once(&self) -> bool {
        self.at_once.load(Relaxed)
    }

    #[setter]
    fn set_at_once(&self, at_once: bool) {
        self.at_once.store(at_once, Relaxed);
    }

    fn __aiter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __anext__(slf: Borrowed<'_, '_, Self>) -> PyResult<Py<Ready>> {
        Self::used(slf).map_or_else(|| Self::new_ready(slf), Ok)
    }

    #[allow(clippy::needless_pass_by_value)] // PyO3's signature
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match &self.source {
            Source::Queue(queue) => visit.call(queue),
            Source::ByteQueue(queue) => visit.call(queue),
        }?;
        visit.call(&self.wait)?;
        self.used.traverse(&visit, |used| visit.call(&*used))
    }
}

impl Items {
    /// An awaitable of an earlier turn, if no other object refers to it: the only reference is the one that was kept.
    /// That proves nothing where there may be no GIL, so none is kept there.
    #[inline]
    pub(crate) fn used(slf: Borrowed<'_, '_, Self>) -> Option<Py<Ready>> {
        let used = slf.get().used.with(slf.py(), Option::take)?.into_bound(slf.py());
        // SAFETY: an object, and this thread is attached.
        if unsafe { ffi::Py_REFCNT(used.as_ptr()) } != 1 {
            return None;
        }
        used.get().begin(slf);
        Some(used.unbind())
    }

    #[inline]
    fn at_once_for(&self, ready: Borrowed<'_, '_, Ready>) -> PyResult<Option<Py<PyAny>>> {
        let py = ready.py();
        if !self.at_once() || !fairness::within(py, false)? {
            return Ok(None);
        }
        let item = match &self.source {
            Source::Queue(queue) => match queue.get().get_at_once(py) {
                None => attached(py, |py| or_again(py, queue.get().try_get(py, None)))?,
                item => item,
            },
            Source::ByteQueue(queue) => attached(py, |py| {
                let message = or_again(py, queue.get().get_step(py))?;
                Ok::<_, PyErr>(message.map(|message| message.into_any().unbind()))
            })?,
        };
        if item.is_some() && !attached_cell::is_free_threaded() {
            let old = self.used.with(py, |used| used.replace(ready.to_owned().unbind()));
            drop(old.map(|old| old.into_bound(py)));
        }
        Ok(item)
    }

    #[cold]
    pub(crate) fn new_ready(slf: Borrowed<'_, '_, Self>) -> PyResult<Py<Ready>> {
        let py = slf.py();
        let ready = subclass_or_class::<Ready>(py, &READY).call0()?.cast_into::<Ready>()?;
        ready.get().begin(slf);
        Ok(ready.unbind())
    }
}

/// The next item, to be awaited. It is taken in that moment, and not before: there is never an item to give back.
#[pyclass(module = "wakefd._wakefd", frozen, subclass)]
pub(crate) struct Ready {
    stage: AttachedCell<Stage>,
}

enum Stage {
    Fresh(Py<Items>),
    /// A coroutine waits for the item, and has yielded this object.
    Waiting(Py<PyAny>, Py<PyAny>),
    /// The item has been awaited, or a step of that is under way.
    Spent,
}

/// The outcome of one step of a coroutine.
pub(crate) enum Sent {
    Yielded(Py<PyAny>),
    Returned(Py<PyAny>),
}

#[pymethods]
impl Ready {
    #[new]
    fn new() -> Self {
        Self {
            stage: AttachedCell::new(Stage::Spent),
        }
    }

    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(slf: Borrowed<'_, '_, Self>) -> PyResult<Py<PyAny>> {
        let none = slf.py().None();
        Self::send(slf, none.bind(slf.py()))
    }

    fn send(slf: Borrowed<'_, '_, Self>, value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let sent = match Self::at_once(slf)? {
            Some(item) => Sent::Returned(item),
            None => Self::step(slf, value.as_borrowed())?,
        };
        match sent {
            Sent::Yielded(it) => Ok(it),
            Sent::Returned(item) => Err(PyStopIteration::new_err((item,))),
        }
    }

    /// Throw an exception into the wait, like the method of a coroutine.
    #[pyo3(signature = (error, value=None, traceback=None))]
    fn throw(
        &self,
        py: Python<'_>,
        error: Py<PyAny>,
        value: Option<Py<PyAny>>,
        traceback: Option<Py<PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let coroutine = self.coroutine(py)?;
        let throw = coroutine.bind(py).getattr(intern!(py, "throw"))?;
        let yielded = match (value, traceback) {
            (None, None) => call::call(&throw, (error,)), // more than one is deprecated
            (value, traceback) => call::call(&throw, (error, value, traceback)),
        }?
        .unbind();
        self.goes_on(py, Stage::Waiting(coroutine, yielded.clone_ref(py)));
        Ok(yielded)
    }

    /// End the wait, like the method of a coroutine.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let stage = self.stage.with(py, |stage| mem::replace(stage, Stage::Spent));
        match stage {
            Stage::Waiting(coroutine, _) => call::call_method(coroutine.bind(py), intern!(py, "close"), ()).map(drop),
            Stage::Fresh(_) | Stage::Spent => Ok(()),
        }
    }

    #[allow(clippy::needless_pass_by_value)] // PyO3's signature
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.stage.traverse(&visit, |stage| match stage {
            Stage::Fresh(items) => visit.call(&*items),
            Stage::Waiting(coroutine, yielded) => {
                visit.call(&*coroutine)?;
                visit.call(&*yielded)
            }
            Stage::Spent => Ok(()),
        })
    }

    fn __clear__(&self, py: Python<'_>) {
        self.goes_on(py, Stage::Spent);
    }
}

impl Ready {
    #[inline]
    fn begin(&self, items: Borrowed<'_, '_, Items>) {
        self.goes_on(items.py(), Stage::Fresh(items.to_owned().unbind()));
    }

    /// The old stage is dropped outside of the cell, because that may run Python code.
    #[inline]
    fn goes_on(&self, py: Python<'_>, stage: Stage) {
        drop(self.stage.with(py, |it| mem::replace(it, stage)));
    }

    /// An item that is there, if the loop allows that and the time of this turn is not used up.
    ///
    /// # Errors
    /// An exception that would not be raised again in the coroutine that waits.
    #[inline]
    pub(crate) fn at_once(slf: Borrowed<'_, '_, Self>) -> PyResult<Option<Py<PyAny>>> {
        let (this, py) = (slf.get(), slf.py());
        let stage = this.stage.with(py, |stage| mem::replace(stage, Stage::Spent));
        let item = match &stage {
            Stage::Fresh(items) => items.get().at_once_for(slf),
            Stage::Waiting(..) | Stage::Spent => Ok(None),
        };
        match (&item, stage) {
            (Ok(Some(_)) | Err(_), Stage::Fresh(items)) => drop(items.into_bound(py)),
            (_, stage) => this.goes_on(py, stage),
        }
        item
    }

    pub(crate) fn step(slf: Borrowed<'_, '_, Self>, value: Borrowed<'_, '_, PyAny>) -> PyResult<Sent> {
        let (this, py) = (slf.get(), slf.py());
        this.check_that_nobody_sleeps(value)?;
        let coroutine = this.coroutine(py)?;
        let mut result = ptr::null_mut();
        // SAFETY: objects, and this thread is attached. The result is null, or ours.
        let (sent, result) = unsafe {
            let sent = call::send(coroutine.as_ptr(), value.as_ptr(), &raw mut result);
            (sent, Bound::from_owned_ptr_or_opt(py, result))
        };
        match (sent, result) {
            (ffi::PySendResult::PYGEN_NEXT, Some(it)) => {
                this.goes_on(py, Stage::Waiting(coroutine, it.clone().unbind()));
                Ok(Sent::Yielded(it.unbind()))
            }
            (ffi::PySendResult::PYGEN_RETURN, Some(item)) => Ok(Sent::Returned(item.unbind())),
            _ => Err(PyErr::fetch(py)),
        }
    }

    /// The coroutine that waits, which no other task may step meanwhile.
    fn coroutine(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self.stage.with(py, |stage| mem::replace(stage, Stage::Spent)) {
            Stage::Fresh(items) => items.get().wait.call1(py, (&items,)),
            Stage::Waiting(coroutine, _) => Ok(coroutine),
            Stage::Spent => Err(PyRuntimeError::new_err(
                "cannot await this item again: each __anext__() is for one await",
            )),
        }
    }

    /// A second task would take the coroutine from the task that sleeps in it, and asyncio would never tell that one.
    fn check_that_nobody_sleeps(&self, value: Borrowed<'_, '_, PyAny>) -> PyResult<()> {
        let py = value.py();
        let yielded = self.stage.with(py, |stage| match stage {
            Stage::Waiting(_, yielded) => Some(yielded.clone_ref(py)),
            Stage::Fresh(_) | Stage::Spent => None,
        });
        match yielded {
            Some(yielded) if is_pending(yielded.bind(py), value)? => Err(PyRuntimeError::new_err(
                "another task awaits this item already: each __anext__() is for one await",
            )),
            _ => Ok(()),
        }
    }
}

/// Whether a coroutine has yielded a future of asyncio, or a waiter, that is not done: then it must not be stepped.
/// Of a wait of trio this cannot be told, but trio resumes a task with an outcome, and only a task that begins to await
/// sends `None`.
fn is_pending(yielded: &Bound<'_, PyAny>, value: Borrowed<'_, '_, PyAny>) -> PyResult<bool> {
    let py = yielded.py();
    if yielded.is_none() {
        return Ok(false);
    }
    if let Ok(waiter) = yielded.cast::<Waiter>() {
        return Ok(!waiter.borrow().done());
    }
    match yielded.getattr_opt(intern!(py, "_asyncio_future_blocking"))? {
        Some(blocking) if !blocking.is_none() => {
            let done = yielded.call_method0(intern!(py, "done"))?;
            Ok(!done.is_truthy()?)
        }
        _ if value.is_none() => {
            let module = yielded.getattr_opt(intern!(py, "__module__"))?;
            let module = module.and_then(|module| module.extract::<String>().ok());
            Ok(module.is_some_and(|module| module.starts_with("trio.")))
        }
        _ => Ok(false),
    }
}
