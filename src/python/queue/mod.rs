//! The queue's Python classes: their methods, and the arguments of these. `state` has the attempts that the methods
//! make.
//!
//! This file is one room although it is long: it is the one class that Python sees, each method is a few lines, and most of
//! the file is the methods' documentation.

pub(super) mod async_iter;
pub(super) mod place;
pub(super) mod priority;
pub(super) mod state;

pub(crate) use state::Queue;

use crate::python::{
    arguments::{Count, Seconds, integer, iterator, made_by_new, most, parameters, truth},
    attached_cell::AttachedCell,
    call::next,
    errors::{QueueFull, QueueShutDown, empty, full, no_memory},
    event::{self, IoEvent, deadline_of},
    fairness,
    list::new_list,
    queue::place::Place,
    queue::priority::Peace,
    queue::state::{Core, QueueState},
};
use crate::queue::{Bells, Side, attempt::QueueCell};
use pyo3::{
    PyTraverseError, PyVisit,
    exceptions::{PyMemoryError, PyTypeError, PyValueError},
    intern,
    prelude::*,
    types::{PyDict, PyInt, PyTuple, PyType},
};
use std::{collections::VecDeque, mem};

#[pymethods]
#[allow(clippy::unused_self)] // the data model's signatures
impl Queue {
    #[classmethod]
    #[new]
    #[pyo3(signature = (*args: "object", **kwargs: "object"), text_signature = "(maxsize=0)")]
    fn new(cls: &Bound<'_, PyType>, args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let py = cls.py();
        let order = cls.getattr(intern!(py, "_wakefd_order"))?;
        let (heap, stack) = match () {
            () if order.is_none() => (false, false),
            () if order.eq("lifo")? => (false, true),
            () => (true, true),
        };
        let new = Self {
            state: AttachedCell::new(QueueState::new(0, stack)),
            heap,
            peace: Peace::default(),
        };
        if (!args.is_empty() || kwargs.is_some()) && made_by_new::<Self>(cls) {
            let maxsize = new.limit(args, kwargs)?;
            new.set_limit(cls.py(), maxsize);
        }
        Ok(new)
    }

    #[pyo3(signature = (*args: "object", **kwargs: "object"))]
    fn __init__(slf: &Bound<'_, Self>, args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        let this = slf.get();
        let nothing = args.is_empty() && kwargs.is_none();
        if (nothing && this.maxsize(slf.py()) == 0) || made_by_new::<Self>(&slf.get_type()) {
            return Ok(());
        }
        this.set_limit(slf.py(), this.limit(args, kwargs)?);
        Ok(())
    }

    /// None, "lifo" or "priority": how the items come out.
    #[classattr]
    fn _wakefd_order(py: Python<'_>) -> Py<PyAny> {
        py.None()
    }

    /// Put an item; wait for room if the queue is full, at most `timeout` seconds, and not at all unless `block`.
    ///
    /// Callable from any thread; blocks it, lets other threads run meanwhile, and Ctrl-C works. Not for a thread that
    /// runs an event loop, if there is a maxsize: `await queue.async_put(item)` there.
    ///
    /// Raise QueueFull (a queue.Full) if there was no room in time, QueueShutDown if the queue is shut down, or is
    /// meanwhile; ValueError if the timeout is negative; MemoryError if there is no memory for the item, which is not
    /// in then. Never because a wake-up was refused: the item is in, and the refusal is logged.
    #[pyo3(signature = (item, block: "bool" = true, timeout=None))]
    fn put(
        &self,
        py: Python<'_>,
        item: Py<PyAny>,
        #[pyo3(from_py_with = truth)] block: bool,
        timeout: Option<Seconds<'_, '_>>,
    ) -> PyResult<()> {
        let deadline = deadline_of(block, timeout, "put()")?;
        let mut item = Some(item);
        self.block(py, Side::Put, block, deadline, |place| {
            self.try_put(py, place, &mut item)
        })?
        .ok_or_else(|| full(py))
    }

    /// Put an item at once. Callable from any thread, from `__del__`, weakref callbacks and signal handlers.
    ///
    /// Raise QueueFull (a queue.Full) if there is no room, QueueShutDown if the queue is shut down.
    fn put_nowait(&self, py: Python<'_>, item: Py<PyAny>) -> PyResult<()> {
        self.try_put(py, None, &mut Some(item))?.ok_or_else(|| full(py))
    }

    /// Put all items of an iterable, which is read to its end first; wait for room item by item, at most `timeout`
    /// seconds in all.
    ///
    /// Raise what put() raises. The attribute `accepted` of a QueueFull, QueueShutDown or MemoryError is the number of
    /// items that went in: the first of those given.
    #[pyo3(signature = (items, timeout=None))]
    fn put_many(&self, py: Python<'_>, items: &Bound<'_, PyAny>, timeout: Option<Seconds<'_, '_>>) -> PyResult<()> {
        deadline_of(true, timeout, "put_many()")?; // what does not suit is said before the items are read
        let mut items = all_of(items, "put_many()")?;
        let all = items.len();
        let deadline = deadline_of(true, timeout, "put_many()")?;
        let result = self
            .block(py, Side::Put, true, deadline, |place| {
                self.try_put_many(py, place, &mut items)
            })
            .and_then(|done| done.ok_or_else(|| full(py)));
        result.inspect_err(|error| {
            if error.is_instance_of::<QueueFull>(py)
                || error.is_instance_of::<QueueShutDown>(py)
                || error.is_instance_of::<PyMemoryError>(py)
            {
                let _ = error.value(py).setattr("accepted", all - items.len());
            }
        })
    }

    /// Take the next item and return it; wait for one, at most `timeout` seconds, and not at all unless `block`.
    ///
    /// Callable from any thread; blocks it, lets other threads run meanwhile, and Ctrl-C works. Not for a thread that
    /// runs an event loop: it would stop the loop; `await queue.async_get()` there. None and infinity wait for ever.
    ///
    /// Raise queue.Empty if there was none in time, QueueShutDown if the queue is shut down and empty; ValueError if
    /// the timeout is negative.
    #[pyo3(signature = (block: "bool" = true, timeout=None))]
    fn get(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = truth)] block: bool,
        timeout: Option<Seconds<'_, '_>>,
    ) -> PyResult<Py<PyAny>> {
        let deadline = deadline_of(block, timeout, "get()")?;
        self.block(py, Side::Get, block, deadline, |place| self.try_get(py, place))?
            .ok_or_else(empty)
    }

    /// Take the next item and return it, at once. Callable from any thread and signal handlers.
    ///
    /// Raise queue.Empty if there is none, QueueShutDown if there will be none.
    fn get_nowait(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.try_get(py, None)?.ok_or_else(empty)
    }

    /// Wait for an item as get() does; then return a list of it and what else is there, at most `max` items; all
    /// if it is None. 0 is an empty list at once.
    ///
    /// Raise what get() raises; ValueError if `max` is negative.
    #[pyo3(signature = (max=None, timeout=None))]
    fn get_many<'py>(
        &self,
        py: Python<'py>,
        max: Option<Count<'_, '_>>,
        timeout: Option<Seconds<'_, '_>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let max = most(max, "get_many()")?;
        let deadline = deadline_of(true, timeout, "get_many()")?;
        self.block(py, Side::Get, true, deadline, |place| self.try_get_many(py, place, max))?
            .ok_or_else(empty)
    }

    /// Return a list of what is there, at most `max` items, all if it is None; it may be empty. Callable from any
    /// thread and signal handlers.
    ///
    /// Raise QueueShutDown if the queue is shut down and empty, unless `max` is 0; ValueError if `max` is negative.
    #[pyo3(signature = (max=None))]
    fn get_many_nowait<'py>(&self, py: Python<'py>, max: Option<Count<'_, '_>>) -> PyResult<Bound<'py, PyAny>> {
        match self.try_get_many(py, None, most(max, "get_many_nowait()")?)? {
            Some(items) => Ok(items),
            None => Ok(new_list(py, 0)?.into_any()),
        }
    }

    /// Return the item that get() would take, and leave it in; wait for one as get() does. The next get() of another
    /// thread or task may take it.
    ///
    /// Raise what get() raises.
    #[pyo3(signature = (block: "bool" = true, timeout=None))]
    fn peek(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = truth)] block: bool,
        timeout: Option<Seconds<'_, '_>>,
    ) -> PyResult<Py<PyAny>> {
        if !block {
            return self.peek_nowait(py);
        }
        let deadline = deadline_of(true, timeout, "peek()")?;
        self.block(py, Side::Get, true, deadline, |place| self.try_peek(py, place))?
            .ok_or_else(empty)
    }

    /// Return the item that get_nowait() would take, and leave it in. Callable from any thread and signal handlers.
    ///
    /// Raise what get_nowait() raises.
    fn peek_nowait(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.try_peek(py, None)?.ok_or_else(empty)
    }

    /// Throw away what is in there; it counts as done. Callable from any thread.
    fn clear(&self, py: Python<'_>) {
        let gone = self.attached(py).change(Core::clear);
        drop(gone); // may run Python code
    }

    /// How many threads and tasks wait for an item, for this instant.
    #[getter]
    fn getting(&self, py: Python<'_>) -> usize {
        self.look(py, |queue| queue.waiting(Side::Get))
    }

    /// How many threads and tasks wait for room, for this instant.
    #[getter]
    fn putting(&self, py: Python<'_>) -> usize {
        self.look(py, |queue| queue.waiting(Side::Put))
    }

    /// Return how many items are in there, for this instant.
    fn qsize(&self, py: Python<'_>) -> usize {
        self.look(py, |queue| queue.items().len())
    }

    /// Return True if nothing is in there, for this instant.
    fn empty(&self, py: Python<'_>) -> bool {
        self.qsize(py) == 0
    }

    /// Return True if there is no room, for this instant.
    fn full(&self, py: Python<'_>) -> bool {
        self.look(py, |queue| queue.room() == 0)
    }

    /// How many items there may be; 0 and less: any number. Can be set at any time.
    #[getter]
    fn maxsize(&self, py: Python<'_>) -> i64 {
        self.look(py, Core::maxsize)
    }

    #[setter]
    fn set_maxsize(&self, py: Python<'_>, maxsize: &Bound<'_, PyAny>) -> PyResult<()> {
        self.set_limit(py, integer(maxsize, "a queue's", "maxsize")?);
        Ok(())
    }

    /// How many items were put for which task_done() was not called yet.
    #[getter]
    fn unfinished_tasks(&self, py: Python<'_>) -> usize {
        self.look(py, Core::unfinished)
    }

    /// True once shutdown() or close() was called.
    #[getter]
    fn is_shutdown(&self, py: Python<'_>) -> bool {
        self.look(py, Core::is_shut)
    }

    /// Say that an item that was taken is done with. Callable from any thread and signal handlers.
    ///
    /// Raise ValueError if it is said more often than items were put.
    fn task_done(&self, py: Python<'_>) -> PyResult<()> {
        self.attached(py)
            .change(|queue| (queue.done(), Bells::None))
            .map(drop)
            .map_err(|()| PyValueError::new_err("task_done() called too many times"))
    }

    /// Block this thread until every item that was put is done with: task_done() was called for each.
    ///
    /// Lets other threads run meanwhile; Ctrl-C works. Not for a thread that runs an event loop: `await
    /// queue.async_join()`.
    fn join(&self, py: Python<'_>) -> PyResult<()> {
        if self.unfinished_tasks(py) == 0 {
            return Ok(());
        }
        let finished = self.finished(py)?.get().inner.event.clone();
        event::wait(py, vec![finished], None).map(drop)
    }

    /// Take no more items: from now on, and for those who wait, put() raises QueueShutDown, and get() does once it is
    /// empty.
    ///
    /// `immediate`: what is in there is thrown away, and counts as done. Callable from any thread; again does no harm.
    #[pyo3(signature = (immediate: "bool" = false))]
    fn shutdown(&self, py: Python<'_>, #[pyo3(from_py_with = truth)] immediate: bool) {
        let gone = self.attached(py).change(|queue| queue.shut(immediate));
        drop(gone); // may run Python code
    }

    /// The same as `shutdown(immediate=True)`.
    fn close(&self, py: Python<'_>) {
        self.shutdown(py, true);
    }

    /// Return a descriptor that is readable while a get_nowait() would not raise queue.Empty, for a poller of your own.
    ///
    /// The queue makes it at the first call, keeps it, and closes it when it is collected. Watch it for reading, and
    /// take items; never read it yourself. After shutdown() it is readable for ever. Callable from any thread.
    ///
    /// Raise OSError if no descriptor is to be had.
    fn fileno(&self, py: Python<'_>) -> PyResult<i64> {
        self.readable(py)?.get().fileno()
    }

    /// The event that is up while there is something to get, or the queue is shut down. Only the queue may clear it.
    #[pyo3(name = "_readable")]
    fn readable(&self, py: Python<'_>) -> PyResult<Py<IoEvent>> {
        self.shown(py, |state| &mut state.readable)
    }

    /// The event that is up while nothing is unfinished. Only the queue may clear it.
    #[pyo3(name = "_finished")]
    fn finished(&self, py: Python<'_>) -> PyResult<Py<IoEvent>> {
        self.shown(py, |state| &mut state.finished)
    }

    /// A place in the getters' line, or in the putters'.
    fn _place(slf: &Bound<'_, Self>, putter: bool) -> PyResult<Place> {
        let place = slf.get().enter(slf.py(), if putter { Side::Put } else { Side::Get })?;
        Ok(Place::new(slf.clone().unbind(), place))
    }

    /// Put the item if there is room and this turn's time is not used up. Return True if it is in.
    fn _give(&self, py: Python<'_>, item: Py<PyAny>) -> PyResult<bool> {
        Ok(fairness::within(py, false)? && self.try_put(py, None, &mut Some(item))?.is_some())
    }

    /// Take an item if there is one and this turn's time is not used up, else return `default`.
    fn _take(&self, py: Python<'_>, default: Py<PyAny>) -> PyResult<Py<PyAny>> {
        if fairness::within(py, false)? {
            Ok(self.try_get(py, None)?.unwrap_or(default))
        } else {
            Ok(default)
        }
    }

    /// Return the next item, which stays in, if there is one and this turn's time is not used up, else `default`.
    fn _peek(&self, py: Python<'_>, default: Py<PyAny>) -> PyResult<Py<PyAny>> {
        if fairness::within(py, false)? {
            Ok(self.try_peek(py, None)?.unwrap_or(default))
        } else {
            Ok(default)
        }
    }

    /// Take up to `max` items if there are some, this turn's time is not used up, and the loop bears it (`at_once`).
    fn _take_many<'py>(
        &self,
        py: Python<'py>,
        max: Option<Count<'_, '_>>,
        at_once: bool,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let max = most(max, "async_get_many()")?;
        if at_once && fairness::within(py, true)? {
            self.try_get_many(py, None, max)
        } else {
            Ok(None)
        }
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let (size, maxsize, shut, getters, putters) = slf.get().state.with(slf.py(), |state| {
            let queue = &state.queue;
            let [getters, putters] = [Side::Get, Side::Put].map(|side| queue.waiting(side));
            (queue.items().len(), queue.maxsize(), queue.is_shut(), getters, putters)
        });
        let name = slf.get_type().name()?;
        let of = if maxsize > 0 {
            format!(" of {maxsize}")
        } else {
            String::new()
        };
        let items = if size == 1 && of.is_empty() { "item" } else { "items" };
        let shut = if shut { ", shut down" } else { "" };
        Ok(format!(
            "<wakefd.{name} {size}{of} {items}, {getters} getting and {putters} putting{shut} at {:p}>",
            slf.as_ptr()
        ))
    }

    fn __reduce__(&self) -> PyResult<String> {
        Err(PyTypeError::new_err(
            "a Queue cannot be copied or pickled: pass the object itself to threads and tasks; \
             between processes use multiprocessing.Queue",
        ))
    }

    #[allow(clippy::needless_pass_by_value)] // PyO3's signature
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.state.traverse(&visit, |state| {
            state.queue.items().iter().try_for_each(|item| visit.call(item))
        })
    }

    fn __clear__(&self, py: Python<'_>) {
        let items = self.state.with(py, |state| mem::take(state.queue.items_mut()));
        drop(items); // may run Python code
    }
}

impl Queue {
    fn set_limit(&self, py: Python<'_>, maxsize: i64) {
        self.attached(py).change(|queue| ((), queue.set_maxsize(maxsize)));
    }

    /// The constructor's `maxsize`.
    fn limit(&self, args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<i64> {
        if let (1, None, Ok(maxsize)) = (args.len(), kwargs, args.get_borrowed_item(0)) {
            // The common case: a plain int, and not a huge one.
            if let (true, Ok(maxsize)) = (maxsize.is_exact_instance_of::<PyInt>(), maxsize.extract()) {
                return Ok(maxsize);
            }
        }
        let function = match () {
            () if self.heap => "PriorityQueue()",
            () if self.look(args.py(), Core::is_stack) => "LifoQueue()",
            () => "Queue()",
        };
        let [maxsize] = parameters(function, ["maxsize"], args, kwargs)?;
        maxsize.map_or(Ok(0), |maxsize| integer(&maxsize, function, "maxsize"))
    }
}

fn all_of(items: &Bound<'_, PyAny>, function: &str) -> PyResult<VecDeque<Py<PyAny>>> {
    let mut all = VecDeque::new();
    let items = iterator(items, function)?;
    while let Some(item) = next(&items)? {
        all.try_reserve(1).map_err(|_| no_memory(items.py()))?;
        all.push_back(item.unbind());
    }
    Ok(all)
}
