//! The queue's Python classes.
//!
//! Items go in and out under `Exclusive`, and nothing of Python runs there: no comparison, no destructor, no allocation of
//! what the garbage collector tracks. Events are notified afterwards.

use super::{
    event::{self, IoEvent},
    heap::Plan,
    task::Place,
    turn,
};
use crate::queue::{self, Number, Refusal, Side};
use pyo3::{
    Borrowed, PyTraverseError, PyVisit,
    exceptions::{PyTypeError, PyValueError},
    ffi,
    prelude::*,
    types::PyList,
};
use std::{
    cell::UnsafeCell,
    collections::VecDeque,
    io, mem,
    sync::atomic::{
        AtomicBool,
        Ordering::{Acquire, Relaxed, Release},
    },
    time::Instant,
};

pyo3::import_exception!(queue, Empty);
pyo3::import_exception!(queue, Full);
pyo3::import_exception!(wakefd._errors, QueueShutDown);

/// One at a time. Under the GIL nobody ever finds it taken, as nobody lets go of the GIL in there.
pub(super) struct Exclusive<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: one at a time.
unsafe impl<T: Send> Sync for Exclusive<T> {}

impl<T> Exclusive<T> {
    pub(super) fn new(value: T) -> Self {
        Self {
            taken: AtomicBool::new(false),
            value: UnsafeCell::new(value),
        }
    }

    #[inline]
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut T) -> R) -> R {
        struct Free<'a>(&'a AtomicBool);
        impl Drop for Free<'_> {
            fn drop(&mut self) {
                self.0.store(false, Release);
            }
        }
        while self.taken.swap(true, Acquire) {
            std::thread::yield_now();
        }
        let _free = Free(&self.taken);
        // SAFETY: we have it.
        act(unsafe { &mut *self.value.get() })
    }
}

pub(super) type Core = queue::Queue<Py<PyAny>, Py<IoEvent>>;

struct State {
    queue: Core,
    /// Up iff there is something to get, or it is shut down; made when somebody asks.
    readable: Option<Py<IoEvent>>,
    /// Up iff nothing is unfinished; made when somebody asks.
    finished: Option<Py<IoEvent>>,
    /// Those whose wake-up the system refused. It is tried again at each operation.
    refused: Vec<Py<IoEvent>>,
    /// What the system said to that, until it is reported.
    error: Option<io::Error>,
    reported: bool,
}

impl State {
    #[inline]
    fn settle(&mut self) {
        if self.readable.is_some() || self.finished.is_some() {
            self.show();
        }
    }

    /// Under `Exclusive`, so that the last word is true. A system call at most each, and nothing of Python.
    fn show(&mut self) {
        let readable = !self.queue.items().is_empty() || self.queue.is_shut();
        let finished = self.queue.unfinished() == 0;
        for (event, up) in [(&self.readable, readable), (&self.finished, finished)] {
            if let Some(event) = event {
                let event = &event.get().inner;
                if !up {
                    let _ = event.clear().or_else(|_| event.clear()); // a dead descriptor is given up by the first
                } else if let Err(error) = event.notify() {
                    self.error = Some(error); // the next one tries again
                }
            }
        }
    }
}

/// A place in line.
pub(super) struct Spot {
    side: Side,
    number: Number,
    pub(super) event: Py<IoEvent>,
    /// In line, but for a wake-up that he has not seen yet.
    enlisted: bool,
    /// Woken, and neither served nor in line again.
    woken: bool,
}

impl Spot {
    /// To look again. First the event, then the items.
    fn is_back(&mut self, queue: &mut Core) {
        if mem::take(&mut self.enlisted) {
            let _ = self.event.get().inner.clear(); // no descriptor, nothing to fail
            self.woken |= queue.is_back(self.side, self.number);
        }
    }

    fn enlist(&mut self, py: Python<'_>, queue: &mut Core) {
        self.enlisted = true;
        self.woken = false;
        queue.enlist(self.side, self.number, self.event.clone_ref(py));
    }
}

/// What became of an attempt.
enum Step<T> {
    Done(T),
    /// Enlisted, if there is a place.
    NotNow,
    /// Another thread was at it since the caller looked.
    Changed,
}

/// Whatever Python takes for a condition, as the standard library's queues do.
#[derive(Clone, Copy)]
struct Truth(bool);

impl FromPyObject<'_, '_> for Truth {
    type Error = PyErr;

    #[cfg(feature = "stubs")]
    const INPUT_TYPE: pyo3::inspect::PyStaticExpr = <bool as FromPyObject<'_, '_>>::INPUT_TYPE;

    fn extract(it: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        it.is_truthy().map(Self)
    }
}

/// What moves items between threads and tasks.
///
/// The base class of `wakefd.Queue`, which adds what needs an event loop.
#[pyclass(module = "wakefd._wakefd", frozen, subclass, weakref)]
pub(crate) struct Queue {
    state: Exclusive<State>,
    /// Items come out in their order.
    heap: bool,
}

#[pymethods]
#[allow(clippy::unused_self)] // the data model's signatures
impl Queue {
    /// `kind`: "fifo", "lifo" or "priority".
    #[new]
    #[pyo3(signature = (maxsize=0, kind="fifo"))]
    fn new(maxsize: i64, kind: &str) -> Self {
        Self {
            state: Exclusive::new(State {
                queue: Core::new(maxsize, kind != "fifo"),
                readable: None,
                finished: None,
                refused: Vec::new(),
                error: None,
                reported: false,
            }),
            heap: kind == "priority",
        }
    }

    /// Put an item; wait for room if the queue is full, at most `timeout` seconds, and not at all unless `block`.
    ///
    /// Callable from any thread; blocks it, lets other threads run meanwhile, and Ctrl-C works. Not for a thread that runs an
    /// event loop, if there is a maxsize: `await queue.async_put(item)` there.
    ///
    /// Raise queue.Full if there was no room in time, QueueShutDown if the queue is shut down, or is meanwhile; ValueError if
    /// the timeout is negative. Never because a wake-up was refused: the item is in, and the refusal is logged.
    #[pyo3(signature = (item, block=Truth(true), timeout=None))]
    fn put(&self, py: Python<'_>, item: Py<PyAny>, block: Truth, timeout: Option<f64>) -> PyResult<()> {
        let deadline = if block.0 { deadline(timeout)? } else { None };
        let mut item = Some(item);
        if self.put_step(py, None, &mut item)? {
            return Ok(());
        }
        if !block.0 {
            return Err(full());
        }
        self.block(py, Side::Put, deadline, |spot| {
            Ok(self.put_step(py, spot, &mut item)?.then_some(()))
        })?
        .ok_or_else(full)
    }

    /// Put an item at once. Callable from any thread, from `__del__`, weakref callbacks and signal handlers.
    ///
    /// Raise queue.Full if there is no room, QueueShutDown if the queue is shut down.
    fn put_nowait(&self, py: Python<'_>, item: Py<PyAny>) -> PyResult<()> {
        if self.put_step(py, None, &mut Some(item))? {
            Ok(())
        } else {
            Err(full())
        }
    }

    /// Put all items of an iterable, which is read to its end first; wait for room item by item, at most `timeout` seconds in
    /// all.
    ///
    /// Raise what put() raises. The attribute `accepted` of a Full or QueueShutDown tells how many went in; they are the first.
    #[pyo3(signature = (items, timeout=None))]
    fn put_many(&self, py: Python<'_>, items: &Bound<'_, PyAny>, timeout: Option<f64>) -> PyResult<()> {
        let mut items: VecDeque<Py<PyAny>> = items
            .try_iter()?
            .map(|item| Ok(item?.unbind()))
            .collect::<PyResult<_>>()?;
        let all = items.len();
        let deadline = deadline(timeout)?;
        let result = self
            .block(py, Side::Put, deadline, |spot| self.put_many_step(py, spot, &mut items))
            .and_then(|done| done.ok_or_else(full));
        result.inspect_err(|error| {
            if error.is_instance_of::<Full>(py) || error.is_instance_of::<QueueShutDown>(py) {
                let _ = error.value(py).setattr("accepted", all - items.len());
            }
        })
    }

    /// Take the next item and return it; wait for one, at most `timeout` seconds, and not at all unless `block`.
    ///
    /// Callable from any thread; blocks it, lets other threads run meanwhile, and Ctrl-C works. Not for a thread that runs an
    /// event loop: it would stop the loop; `await queue.async_get()` there. None and infinity wait for ever.
    ///
    /// Raise queue.Empty if there was none in time, QueueShutDown if the queue is shut down and empty; ValueError if the timeout
    /// is negative.
    #[pyo3(signature = (block=Truth(true), timeout=None))]
    fn get(&self, py: Python<'_>, block: Truth, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let deadline = if block.0 { deadline(timeout)? } else { None };
        if let Some(item) = self.get_step(py, None)? {
            return Ok(item);
        }
        if !block.0 {
            return Err(empty());
        }
        self.block(py, Side::Get, deadline, |spot| self.get_step(py, spot))?
            .ok_or_else(empty)
    }

    /// Take the next item and return it, at once. Callable from any thread and signal handlers.
    ///
    /// Raise queue.Empty if there is none, QueueShutDown if there will be none.
    fn get_nowait(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.get_step(py, None)?.ok_or_else(empty)
    }

    /// Wait for an item as get() does; then return a list of it and what else is there, up to `max` items.
    ///
    /// Raise what get() raises; ValueError if `max` is less than 1.
    #[pyo3(signature = (max, timeout=None))]
    fn get_many<'py>(&self, py: Python<'py>, max: i64, timeout: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
        let max = at_least_one(max)?;
        let deadline = deadline(timeout)?;
        self.block(py, Side::Get, deadline, |spot| self.get_many_step(py, spot, max))?
            .ok_or_else(empty)
    }

    /// Return a list of what is there, up to `max` items; it may be empty. Callable from any thread and signal handlers.
    ///
    /// Raise QueueShutDown if the queue is shut down and empty; ValueError if `max` is less than 1.
    fn get_many_nowait<'py>(&self, py: Python<'py>, max: i64) -> PyResult<Bound<'py, PyAny>> {
        match self.get_many_step(py, None, at_least_one(max)?)? {
            Some(items) => Ok(items),
            None => Ok(new_list(py, 0)?.into_any()),
        }
    }

    /// Return the item that get() would take, and leave it in; wait for one as get() does. The next get() of another thread or
    /// task may take it.
    ///
    /// Raise what get() raises.
    #[pyo3(signature = (block=Truth(true), timeout=None))]
    fn peek(&self, py: Python<'_>, block: Truth, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        if !block.0 {
            return self.peek_nowait(py);
        }
        let deadline = deadline(timeout)?;
        self.block(py, Side::Get, deadline, |spot| self.peek_step(py, spot))?
            .ok_or_else(empty)
    }

    /// Return the item that get_nowait() would take, and leave it in. Callable from any thread and signal handlers.
    ///
    /// Raise what get_nowait() raises.
    fn peek_nowait(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.peek_step(py, None)?.ok_or_else(empty)
    }

    /// Throw away what is in there; it counts as done. Callable from any thread.
    fn clear(&self, py: Python<'_>) {
        let (woken, gone) = self.state.with(|state| {
            let all = state.queue.clear();
            state.settle();
            all
        });
        self.wake(py, Side::Put, woken);
        drop(gone); // may run Python code
    }

    /// How many threads and tasks wait for an item, for this instant.
    #[getter]
    fn getting(&self) -> usize {
        self.state.with(|state| state.queue.waiting(Side::Get))
    }

    /// How many threads and tasks wait for room, for this instant.
    #[getter]
    fn putting(&self) -> usize {
        self.state.with(|state| state.queue.waiting(Side::Put))
    }

    /// Return how many items are in there, for this instant.
    fn qsize(&self) -> usize {
        self.state.with(|state| state.queue.items().len())
    }

    /// Return True if nothing is in there, for this instant.
    fn empty(&self) -> bool {
        self.qsize() == 0
    }

    /// Return True if there is no room, for this instant.
    fn full(&self) -> bool {
        self.state.with(|state| state.queue.room() == 0)
    }

    /// How many items there may be; 0 and less: any number. Can be set at any time.
    #[getter]
    fn maxsize(&self) -> i64 {
        self.state.with(|state| state.queue.maxsize())
    }

    #[setter]
    fn set_maxsize(&self, py: Python<'_>, maxsize: i64) {
        let woken = self.state.with(|state| state.queue.set_maxsize(maxsize));
        self.wake(py, Side::Put, woken);
    }

    /// How many items were put for which task_done() was not called yet.
    #[getter]
    fn unfinished_tasks(&self) -> usize {
        self.state.with(|state| state.queue.unfinished())
    }

    /// True once shutdown() or close() was called.
    #[getter]
    fn is_shutdown(&self) -> bool {
        self.state.with(|state| state.queue.is_shut())
    }

    /// Say that an item that was taken is done with. Callable from any thread and signal handlers.
    ///
    /// Raise ValueError if it is said more often than items were put.
    fn task_done(&self) -> PyResult<()> {
        self.state
            .with(|state| {
                let done = state.queue.done();
                state.settle();
                done
            })
            .map(drop)
            .map_err(|()| PyValueError::new_err("task_done() called too many times"))
    }

    /// Block this thread until every item that was put is done with: task_done() was called for each.
    ///
    /// Lets other threads run meanwhile; Ctrl-C works. Not for a thread that runs an event loop: `await queue.async_join()`.
    fn join(&self, py: Python<'_>) -> PyResult<()> {
        if self.unfinished_tasks() == 0 {
            return Ok(());
        }
        let finished = self.finished(py)?.get().inner.event.clone();
        event::wait_until(py, vec![finished], None).map(drop)
    }

    /// Take no more items: from now on, and for those who wait, put() raises QueueShutDown, and get() does once it is empty.
    ///
    /// `immediate`: what is in there is thrown away, and counts as done. Callable from any thread; again does no harm.
    #[pyo3(signature = (immediate=Truth(false)))]
    fn shutdown(&self, py: Python<'_>, immediate: Truth) {
        let (woken, gone) = self.state.with(|state| {
            let all = state.queue.shut(immediate.0);
            state.settle();
            all
        });
        self.wake(py, Side::Get, woken);
        drop(gone); // may run Python code
    }

    /// The same as `shutdown(immediate=True)`.
    fn close(&self, py: Python<'_>) {
        self.shutdown(py, Truth(true));
    }

    /// Return a descriptor that is readable while a get_nowait() would not raise queue.Empty, for a poller of your own.
    ///
    /// The queue makes it at the first call, keeps it, and closes it when it is collected. Watch it for reading, and take items;
    /// never read it yourself. After shutdown() it is readable for ever. Callable from any thread.
    ///
    /// Raise OSError if no descriptor is to be had.
    fn fileno(&self, py: Python<'_>) -> PyResult<i64> {
        self.readable(py)?.get().fileno()
    }

    /// The event that is up while there is something to get, or the queue is shut down. Only the queue may clear it.
    #[pyo3(name = "_readable")]
    fn readable(&self, py: Python<'_>) -> PyResult<Py<IoEvent>> {
        self.lazily(py, |state| &mut state.readable)
    }

    /// The event that is up while nothing is unfinished. Only the queue may clear it.
    #[pyo3(name = "_finished")]
    fn finished(&self, py: Python<'_>) -> PyResult<Py<IoEvent>> {
        self.lazily(py, |state| &mut state.finished)
    }

    /// A place in the getters' line, or in the putters'.
    fn _place(slf: &Bound<'_, Self>, putter: bool) -> PyResult<Place> {
        let spot = slf.get().enter(slf.py(), if putter { Side::Put } else { Side::Get })?;
        Ok(Place::new(slf.clone().unbind(), spot))
    }

    /// Put the item if there is room and this turn's time is not used up. Return True if it is in.
    fn _give(&self, py: Python<'_>, item: Py<PyAny>) -> PyResult<bool> {
        Ok(turn::within(false) && self.put_step(py, None, &mut Some(item))?)
    }

    /// Take an item if there is one and this turn's time is not used up, else return `default`.
    fn _take(&self, py: Python<'_>, default: Py<PyAny>) -> PyResult<Py<PyAny>> {
        if turn::within(false) {
            Ok(self.get_step(py, None)?.unwrap_or(default))
        } else {
            Ok(default)
        }
    }

    /// Take up to `max` items if there are some and this turn's time is not used up.
    fn _take_many<'py>(&self, py: Python<'py>, max: i64) -> PyResult<Option<Bound<'py, PyAny>>> {
        let max = at_least_one(max)?;
        if turn::within(true) {
            self.get_many_step(py, None, max)
        } else {
            Ok(None)
        }
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let (size, maxsize, shut, getters, putters) = slf.get().state.with(|state| {
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

    fn __copy__(&self) -> PyResult<()> {
        Err(not_copyable())
    }

    fn __deepcopy__(&self, _memo: &Bound<'_, PyAny>) -> PyResult<()> {
        Err(not_copyable())
    }

    fn __reduce__(&self) -> PyResult<String> {
        Err(not_copyable())
    }

    #[allow(clippy::needless_pass_by_value)] // PyO3's signature
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.state
            .with(|state| state.queue.items().iter().try_for_each(|item| visit.call(item)))
    }

    fn __clear__(&self) {
        let items = self.state.with(|state| mem::take(state.queue.items_mut()));
        drop(items); // may run Python code
    }
}

impl Queue {
    /// One attempt. Wakes whom it concerns.
    #[inline]
    fn step<T, W: IntoIterator<Item = Py<IoEvent>>>(
        &self,
        py: Python<'_>,
        side: Side,
        mut spot: Option<&mut Spot>,
        attempt: impl FnOnce(&mut Core) -> Result<(T, W), Refusal>,
    ) -> PyResult<Step<T>> {
        let (result, trouble) = self.state.with(|state| {
            if let Some(spot) = spot.as_deref_mut() {
                spot.is_back(&mut state.queue);
            }
            let result = attempt(&mut state.queue);
            match (&result, spot) {
                (Ok(_), spot) => {
                    state.settle();
                    if let Some(spot) = spot {
                        spot.woken = false;
                    }
                }
                (Err(Refusal::NotNow), Some(spot)) => spot.enlist(py, &mut state.queue),
                _ => {}
            }
            (result, state.error.is_some() || !state.refused.is_empty())
        });
        if trouble {
            self.try_again(py);
        }
        match result {
            Ok((value, woken)) => {
                let other = match side {
                    Side::Get => Side::Put,
                    Side::Put => Side::Get,
                };
                self.wake(py, other, woken);
                Ok(Step::Done(value))
            }
            Err(Refusal::NotNow) => Ok(Step::NotNow),
            Err(Refusal::Changed) => Ok(Step::Changed),
            Err(Refusal::Shut) => Err(shut(side)),
        }
    }

    /// True: it is in.
    #[inline]
    pub(super) fn put_step(
        &self,
        py: Python<'_>,
        spot: Option<&mut Spot>,
        item: &mut Option<Py<PyAny>>,
    ) -> PyResult<bool> {
        if self.heap {
            return self.put_sorted(py, spot, item);
        }
        let step = self.step(py, Side::Put, spot, |queue| put(queue, item))?;
        Ok(matches!(step, Step::Done(())))
    }

    fn put_sorted(&self, py: Python<'_>, mut spot: Option<&mut Spot>, item: &mut Option<Py<PyAny>>) -> PyResult<bool> {
        while let Some(it) = item {
            let plan = Plan::push(self, py, it)?;
            let step = self.step(py, Side::Put, spot.as_deref_mut(), |queue| {
                plan.check(queue)?;
                let done = put(queue, item)?;
                plan.pushed(queue);
                Ok(done)
            })?;
            if let Step::NotNow = step {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Some: all are in.
    fn put_many_step(
        &self,
        py: Python<'_>,
        mut spot: Option<&mut Spot>,
        items: &mut VecDeque<Py<PyAny>>,
    ) -> PyResult<Option<()>> {
        if self.heap {
            while let Some(item) = items.pop_front() {
                let mut item = Some(item);
                let put = self.put_step(py, spot.as_deref_mut(), &mut item);
                if let Some(item) = item {
                    items.push_front(item);
                }
                if !put? {
                    return Ok(None);
                }
            }
            return Ok(Some(()));
        }
        loop {
            // What goes in wakes getters even if more is to come: a step of its own.
            let step = self.step(py, Side::Put, spot.as_deref_mut(), |queue| {
                queue.put_many(items).map(|woken| ((), woken))
            })?;
            match step {
                Step::Done(()) if items.is_empty() => return Ok(Some(())),
                Step::NotNow => return Ok(None),
                _ => {}
            }
        }
    }

    #[inline]
    pub(super) fn get_step(&self, py: Python<'_>, mut spot: Option<&mut Spot>) -> PyResult<Option<Py<PyAny>>> {
        loop {
            let step = if self.heap {
                let plan = Plan::pop(self, py)?;
                self.step(py, Side::Get, spot.as_deref_mut(), |queue| {
                    plan.apply(queue)?;
                    queue.get()
                })
            } else {
                self.step(py, Side::Get, spot.as_deref_mut(), Core::get)
            };
            match step? {
                Step::Done(item) => return Ok(Some(item)),
                Step::NotNow => return Ok(None),
                Step::Changed => {}
            }
        }
    }

    /// It does not take the item for which it may have been woken: `leave` passes the baton.
    pub(super) fn peek_step(&self, py: Python<'_>, mut spot: Option<&mut Spot>) -> PyResult<Option<Py<PyAny>>> {
        let (result, trouble) = self.state.with(|state| {
            let queue = &mut state.queue;
            if let Some(spot) = spot.as_deref_mut() {
                spot.is_back(queue);
            }
            let next = if self.heap { queue.items().front() } else { queue.next() };
            let result = match next {
                Some(item) => Ok(item.clone_ref(py)),
                None => Err(queue.nothing()),
            };
            if let (Err(Refusal::NotNow), Some(spot)) = (&result, spot) {
                spot.enlist(py, queue);
            }
            (result, state.error.is_some() || !state.refused.is_empty())
        });
        if trouble {
            self.try_again(py);
        }
        match result {
            Ok(item) => Ok(Some(item)),
            Err(Refusal::Shut) => Err(shut(Side::Get)),
            Err(_) => Ok(None),
        }
    }

    pub(super) fn get_many_step<'py>(
        &self,
        py: Python<'py>,
        mut spot: Option<&mut Spot>,
        most: usize,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        if self.heap {
            return self.get_sorted(py, spot, most);
        }
        loop {
            // The list is made first: nothing can fail once items are out. What happens meanwhile makes it too long or short.
            let count = self.qsize().min(most);
            let list = new_list(py, count)?;
            let step = self.step(py, Side::Get, spot.as_deref_mut(), |queue| {
                if queue.items().is_empty() {
                    return Err(queue.nothing());
                }
                let mut filled = 0;
                let woken = queue.get_many(count, |item| {
                    // SAFETY: it is ours alone, `filled` is less than its length, and it takes the reference over.
                    unsafe { ffi::PyList_SetItem(list.as_ptr(), filled, item.into_ptr()) };
                    filled += 1;
                });
                Ok((filled, woken))
            })?;
            match step {
                Step::Done(0) | Step::Changed => {} // they have come this moment
                Step::Done(filled) => {
                    let filled = usize::try_from(filled).unwrap_or_default();
                    if filled < count {
                        list.del_slice(filled, count)?;
                    }
                    return Ok(Some(list.into_any()));
                }
                Step::NotNow => return Ok(None),
            }
        }
    }

    /// Of a heap, one by one. An exception from a comparison leaves what was not taken yet.
    fn get_sorted<'py>(
        &self,
        py: Python<'py>,
        spot: Option<&mut Spot>,
        most: usize,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let list = new_list(py, 0)?;
        let mut next = self.get_step(py, spot)?;
        while let Some(item) = next {
            if let Err(error) = list.append(&item) {
                self.give_back(py, item); // no memory
                if list.is_empty() {
                    return Err(error);
                }
                break;
            }
            if list.len() == most {
                break;
            }
            next = self.get_step(py, None).unwrap_or_default(); // an error comes again at the next get
        }
        Ok((!list.is_empty()).then(|| list.into_any()))
    }

    /// Tries, and sleeps in between, until it is done or the time is up (`None`).
    fn block<T>(
        &self,
        py: Python<'_>,
        side: Side,
        deadline: Option<Instant>,
        mut attempt: impl FnMut(Option<&mut Spot>) -> PyResult<Option<T>>,
    ) -> PyResult<Option<T>> {
        if let Some(done) = attempt(None)? {
            return Ok(Some(done));
        }
        let mut spot = self.enter(py, side)?;
        let result = loop {
            match attempt(Some(&mut spot)) {
                Ok(None) => {}
                done_or_failed => break done_or_failed,
            }
            match event::wait_in_line(py, spot.event.get().inner.event.clone(), deadline) {
                Ok(true) => {}
                Ok(false) => break attempt(None), // what came at the last moment
                Err(error) => break Err(error),
            }
        };
        self.leave(py, spot);
        result
    }

    pub(super) fn enter(&self, py: Python<'_>, side: Side) -> PyResult<Spot> {
        let (number, spare) = self.state.with(|state| (state.queue.number(side), state.queue.spare()));
        Ok(Spot {
            side,
            number,
            event: spare.map_or_else(|| IoEvent::fresh(py), Ok)?,
            enlisted: false,
            woken: false,
        })
    }

    pub(super) fn leave(&self, py: Python<'_>, mut spot: Spot) {
        let side = spot.side;
        let (baton, event) = self.state.with(|state| {
            spot.is_back(&mut state.queue);
            let baton = if spot.woken { state.queue.baton(side) } else { None };
            (baton, state.queue.spared(spot.event))
        });
        self.wake(py, side, baton);
        drop(event);
    }

    /// Notifies those who waited on that side.
    #[inline]
    fn wake(&self, py: Python<'_>, side: Side, woken: impl IntoIterator<Item = Py<IoEvent>>) {
        for event in woken {
            self.wake_one(py, side, event);
        }
    }

    fn wake_one(&self, py: Python<'_>, side: Side, event: Py<IoEvent>) {
        let mut next = Some(event);
        while let Some(event) = next.take() {
            let core = &event.get().inner.event;
            // Its loop was closed in the middle of the wait, or it has not begun to sleep: one too many does no harm.
            let deaf = core.waiting.load(Relaxed) == 0;
            // As in IoEvent.notify: a thread that is woken wants the GIL at once.
            let notified = if core.wakes_a_thread() {
                py.detach(|| core.notify())
            } else {
                core.notify()
            };
            if let Err(error) = notified {
                self.state.with(|state| {
                    state.refused.push(event);
                    state.error = Some(error);
                });
                self.report(py);
            }
            if deaf {
                next = self.state.with(|state| state.queue.baton(side));
            }
        }
    }

    #[cold]
    fn try_again(&self, py: Python<'_>) {
        for event in self.state.with(|state| mem::take(&mut state.refused)) {
            self.wake_one(py, Side::Get, event);
        }
        self.report(py);
    }

    #[cold]
    fn report(&self, py: Python<'_>) {
        let error = self.state.with(|state| {
            let error = state.error.take();
            error.filter(|_| !mem::replace(&mut state.reported, true))
        });
        if let Some(error) = error {
            let error = super::os_error(error);
            let report = || py.import("wakefd._queue")?.call_method1("report", (error.value(py),));
            if let Err(error) = report() {
                error.write_unraisable(py, None);
            }
        }
    }

    fn lazily(&self, py: Python<'_>, which: fn(&mut State) -> &mut Option<Py<IoEvent>>) -> PyResult<Py<IoEvent>> {
        if let Some(event) = self
            .state
            .with(|state| which(state).as_ref().map(|event| event.clone_ref(py)))
        {
            return Ok(event);
        }
        let fresh = IoEvent::fresh(py)?;
        Ok(self.state.with(|state| {
            let event = which(state).get_or_insert(fresh).clone_ref(py);
            state.settle();
            event
        }))
    }

    pub(super) fn look<R>(&self, look: impl FnOnce(&Core) -> R) -> R {
        self.state.with(|state| look(&state.queue))
    }

    /// Callable from destructors: an exception may be on its way there.
    pub(super) fn give_back(&self, py: Python<'_>, item: Py<PyAny>) {
        let on_its_way = PyErr::take(py);
        let mut item = Some(item);
        let woken = loop {
            let plan = match &item {
                // If a comparison raises, it stands at the end: out of order, but not lost.
                Some(item) if self.heap => Plan::push(self, py, item).ok(),
                _ => None,
            };
            let given = self.state.with(|state| {
                if let Some(plan) = &plan {
                    plan.check(&state.queue)?;
                }
                let woken = item.take().and_then(|item| state.queue.give_back(item));
                if let Some(plan) = plan {
                    plan.pushed(&mut state.queue);
                }
                state.settle();
                Ok::<_, Refusal>(woken)
            });
            if let Ok(woken) = given {
                break woken;
            }
        };
        self.wake(py, Side::Get, woken);
        if let Some(error) = on_its_way {
            error.restore(py);
        }
    }
}

#[inline]
fn put(queue: &mut Core, item: &mut Option<Py<PyAny>>) -> Result<((), Option<Py<IoEvent>>), Refusal> {
    let Some(it) = item.take() else {
        return Ok(((), None));
    };
    match queue.put(it) {
        Ok(woken) => Ok(((), woken)),
        Err((refusal, it)) => {
            *item = Some(it);
            Err(refusal)
        }
    }
}

fn new_list(py: Python<'_>, count: usize) -> PyResult<Bound<'_, PyList>> {
    let count = isize::try_from(count).unwrap_or(isize::MAX);
    // SAFETY: a new list, or an exception. Nobody sees it before its items are set.
    let list = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyList_New(count)) }?;
    Ok(list.cast_into::<PyList>()?)
}

pub(super) fn at_least_one(max: i64) -> PyResult<usize> {
    match usize::try_from(max) {
        Ok(max @ 1..) => Ok(max),
        _ => Err(PyValueError::new_err(format!("max must be at least 1, not {max}"))),
    }
}

#[inline]
fn deadline(timeout: Option<f64>) -> PyResult<Option<Instant>> {
    if timeout.is_none() {
        return Ok(None);
    }
    if timeout.is_some_and(|seconds| seconds < 0.0) {
        return Err(PyValueError::new_err("'timeout' must be a non-negative number"));
    }
    event::deadline(timeout)
}

fn shut(side: Side) -> PyErr {
    QueueShutDown::new_err(match side {
        Side::Get => "the queue is shut down, and empty",
        Side::Put => "the queue is shut down",
    })
}

fn empty() -> PyErr {
    Empty::new_err(())
}

fn full() -> PyErr {
    Full::new_err(())
}

fn not_copyable() -> PyErr {
    PyTypeError::new_err(
        "a Queue cannot be copied or pickled: pass the object itself to threads and tasks; \
         between processes use multiprocessing.Queue",
    )
}
