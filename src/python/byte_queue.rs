//! `ByteQueue`, the Python class of the byte queue: its consumers.
//!
//! This file is one room although it is long: each method is a few lines, most of the file is the methods' documentation for
//! Python, and all methods rest on the one `attempt` at the end.

use super::{
    arguments::{Count, Seconds, initialised_before, integer, made_by_new, most, parameters, required, truth},
    errors::{empty, no_memory, report, shut},
    event::{self, IoEvent, deadline_of},
    fairness,
    list::{fill, new_list},
};
use crate::{
    ByteQueueError,
    queue::Side,
    ring::{Nothing, Take},
};
use pyo3::{
    exceptions::{PyMemoryError, PyRuntimeError, PyTypeError, PyValueError},
    ffi,
    prelude::*,
    types::{PyBytes, PyDict, PyTuple, PyType},
};
use std::{
    mem::MaybeUninit,
    ptr,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};

/// A queue of messages of bytes from native threads to threads and tasks.
///
/// The base class of `wakefd.ByteQueue`, which adds what needs an event loop.
#[pyclass(module = "wakefd._wakefd", frozen, subclass, weakref)]
pub(crate) struct ByteQueue {
    /// The byte queue itself, from `__init__`: a subclass may have parameters of its own.
    made: OnceLock<Made>,
    /// Whether a refused wake-up has been reported.
    reported: AtomicBool,
}

pub(super) struct Made {
    pub(super) inner: crate::ByteQueue,
    /// The event of the ring. Only the queue may clear it.
    event: Py<IoEvent>,
}

#[pymethods]
#[allow(clippy::unused_self)] // the data model's signatures
impl ByteQueue {
    /// Raise ValueError if a message of `max_message` bytes does not fit in `max_bytes`; MemoryError if there is no memory.
    #[classmethod]
    #[new]
    #[pyo3(signature = (*args: "object", **kwargs: "object"), text_signature = "(max_bytes, max_message)")]
    fn new(cls: &Bound<'_, PyType>, args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let new = Self {
            made: OnceLock::new(),
            reported: AtomicBool::new(false),
        };
        if made_by_new::<Self>(cls) {
            new.make(args, kwargs)?;
        }
        Ok(new)
    }

    #[pyo3(signature = (*args: "object", **kwargs: "object"))]
    fn __init__(slf: &Bound<'_, Self>, args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        if made_by_new::<Self>(&slf.get_type()) {
            return Ok(());
        }
        slf.get().make(args, kwargs)
    }

    /// Take the next message and return it; wait for one, at most `timeout` seconds, and not at all unless `block`.
    ///
    /// Callable from any thread; blocks it, lets other threads run meanwhile, and Ctrl-C works. Not for a thread that runs an
    /// event loop: it would stop the loop; `await queue.async_get()` there. None and infinity wait for ever.
    ///
    /// Raise queue.Empty if there was none in time, QueueShutDown if the queue is shut down and empty; ValueError if the timeout
    /// is negative.
    #[pyo3(signature = (block: "bool" = true, timeout=None))]
    fn get<'py>(
        &self,
        py: Python<'py>,
        #[pyo3(from_py_with = truth)] block: bool,
        timeout: Option<Seconds<'_, '_>>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let deadline = deadline_of(block, timeout, "get()")?;
        self.block(py, block, deadline, || self.get_step(py))
    }

    /// Take the next message and return it, at once. Callable from any thread and signal handlers.
    ///
    /// Raise queue.Empty if there is none, QueueShutDown if there will be none.
    fn get_nowait<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        self.get_step(py)?.ok_or_else(empty)
    }

    /// Wait for a message as get() does; then return a list of it and what else is there, at most `max` messages;
    /// all if it is None. 0 is an empty list at once.
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
        self.block(py, true, deadline, || self.get_many_step(py, max))
    }

    /// Return a list of what is there, at most `max` messages, all if it is None; it may be empty. Callable from any thread and
    /// signal handlers.
    ///
    /// Raise QueueShutDown if the queue is shut down and empty, unless `max` is 0; ValueError if `max` is negative.
    #[pyo3(signature = (max=None))]
    fn get_many_nowait<'py>(&self, py: Python<'py>, max: Option<Count<'_, '_>>) -> PyResult<Bound<'py, PyAny>> {
        match self.get_many_step(py, most(max, "get_many_nowait()")?)? {
            Some(messages) => Ok(messages),
            None => Ok(new_list(py, 0)?.into_any()),
        }
    }

    /// Take the next message, copy it to the beginning of a writable buffer (a bytearray, an array, a memoryview), and return its
    /// length. Makes no object of it.
    ///
    /// Does not wait unless `block` is true or a timeout is given; then it waits as get() does.
    ///
    /// Raise what get() raises; ValueError if the message is longer than the buffer: it stays, and is the next one again;
    /// TypeError or BufferError if it is no buffer, or cannot be written to.
    #[pyo3(signature = (buffer, block: "bool" = false, timeout=None))]
    fn get_into(
        &self,
        py: Python<'_>,
        buffer: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = truth)] block: bool,
        timeout: Option<Seconds<'_, '_>>,
    ) -> PyResult<usize> {
        let block = block || timeout.is_some();
        let deadline = deadline_of(true, timeout, "get_into()")?;
        let buffer = Writable::new(buffer)?;
        self.block(py, block, deadline, || self.get_into_step(py, &buffer))
    }

    /// Return how many messages are in there, for this instant; also those that are only just being pushed.
    fn qsize(&self) -> PyResult<usize> {
        Ok(self.made()?.inner.len())
    }

    /// Return True if nothing is in there, for this instant.
    fn empty(&self) -> PyResult<bool> {
        Ok(self.made()?.inner.is_empty())
    }

    /// The room for messages. Each takes its length, padded to a multiple of 8, and 8 bytes more.
    #[getter]
    fn max_bytes(&self) -> PyResult<usize> {
        Ok(self.made()?.inner.max_bytes())
    }

    /// The length of the longest message that there may be.
    #[getter]
    fn max_message(&self) -> PyResult<usize> {
        Ok(self.made()?.inner.max_message())
    }

    /// True once shutdown() or close() was called.
    #[getter]
    fn is_shutdown(&self) -> PyResult<bool> {
        Ok(self.made()?.inner.is_shutdown())
    }

    /// Take no more messages: from now on a push answers -EPIPE, and get() raises QueueShutDown once the queue is empty.
    ///
    /// `immediate`: what is in there is thrown away. Callable from any thread; again does no harm.
    #[pyo3(signature = (immediate: "bool" = false))]
    fn shutdown(&self, py: Python<'_>, #[pyo3(from_py_with = truth)] immediate: bool) -> PyResult<()> {
        let ring = &self.made()?.inner.ring;
        if let Err(error) = event::act_attached(py, &ring.event, |_| ring.shut(immediate)) {
            self.report(py, error);
        }
        Ok(())
    }

    /// The same as `shutdown(immediate=True)`.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.shutdown(py, true)
    }

    /// Return a descriptor that is readable while a get_nowait() would not raise queue.Empty, for a poller of your own; now and
    /// then once for nothing.
    ///
    /// The queue makes it at the first call, keeps it, and closes it when it is collected. Watch it for reading, and take
    /// messages; never read it yourself. After shutdown() it is readable for ever. Callable from any thread.
    ///
    /// Raise OSError if no descriptor is to be had.
    fn fileno(&self) -> PyResult<i64> {
        self.made()?.event.get().fileno()
    }

    /// The event that is up while there is something to get, or the queue is shut down. Only the queue may clear it.
    #[pyo3(name = "_readable")]
    fn readable(&self, py: Python<'_>) -> PyResult<Py<IoEvent>> {
        Ok(self.made()?.event.clone_ref(py))
    }

    /// Take a message if there is one. Return None if there is none.
    #[inline]
    #[pyo3(name = "_get")]
    pub(super) fn get_step<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let message = self.attempt(py, |take| take_one(py, take))?.transpose()?;
        Ok(message.map(|message| message.into_bound(py)))
    }

    /// Take up to `max` messages if there are some. Return None if there are none.
    fn _get_many<'py>(&self, py: Python<'py>, max: Option<Count<'_, '_>>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.get_many_step(py, most(max, "async_get_many()")?)
    }

    /// Take a message if there is one, this turn's time is not used up, and the loop bears it (`at_once`).
    fn _take<'py>(&self, py: Python<'py>, at_once: bool) -> PyResult<Option<Bound<'py, PyBytes>>> {
        if at_once && fairness::within(py, false)? {
            self.get_step(py)
        } else {
            Ok(None)
        }
    }

    /// Take up to `max` messages if there are some, this turn's time is not used up, and the loop bears it (`at_once`).
    fn _take_many<'py>(
        &self,
        py: Python<'py>,
        max: Option<Count<'_, '_>>,
        at_once: bool,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let max = most(max, "async_get_many()")?;
        if at_once && fairness::within(py, true)? {
            self.get_many_step(py, max)
        } else {
            Ok(None)
        }
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let name = slf.get_type().name()?;
        let Some(Made { inner, event }) = slf.get().made.get() else {
            return Ok(format!("<wakefd.{name} not initialised at {:p}>", slf.as_ptr()));
        };
        let (size, max_bytes) = (inner.len(), inner.max_bytes());
        let messages = if size == 1 { "message" } else { "messages" };
        let shut = if inner.is_shutdown() { ", shut down" } else { "" };
        let waiting = event.get().inner.event.waiting.load(Relaxed);
        Ok(format!(
            "<wakefd.{name} {size} {messages} in {max_bytes} bytes, {waiting} waiting{shut} at {:p}>",
            slf.as_ptr()
        ))
    }

    fn __reduce__(&self) -> PyResult<String> {
        // `copy` and `pickle` call this method.
        Err(PyTypeError::new_err(
            "a ByteQueue cannot be copied or pickled: pass the object itself to threads and tasks; \
             between processes use multiprocessing.Queue",
        ))
    }
}

impl Drop for ByteQueue {
    /// A queue that is collected has no consumers left, which its producers hear from now on.
    fn drop(&mut self) {
        if let Some(made) = self.made.get() {
            made.inner.close();
        }
    }
}

impl ByteQueue {
    fn make(&self, args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        const NAMES: [&str; 2] = ["max_bytes", "max_message"];
        let function = "ByteQueue()";
        let given = parameters(function, NAMES, args, kwargs)?;
        let size = |at: usize| {
            let size = required(given[at].as_ref(), function, NAMES[at])?;
            integer(size, function, NAMES[at])
        };
        let (Ok(bytes), Ok(message)) = (usize::try_from(size(0)?), usize::try_from(size(1)?)) else {
            return Err(PyValueError::new_err("max_bytes and max_message must not be negative"));
        };
        let inner = crate::ByteQueue::new(bytes, message).map_err(|error| match error {
            ByteQueueError::Impossible => PyValueError::new_err(format!(
                "a message of max_message={message} bytes takes {} of max_bytes={bytes}, of which there may be 16 GiB",
                message.saturating_add(7) / 8 * 8 + 8
            )),
            _ => PyMemoryError::new_err("no memory for max_bytes"),
        })?;
        let event = Py::new(args.py(), IoEvent { inner: inner.event() })?;
        self.made
            .set(Made { inner, event })
            .map_err(|_| initialised_before(function))
    }

    #[inline]
    pub(super) fn made(&self) -> PyResult<&Made> {
        self.made.get().ok_or_else(|| {
            PyRuntimeError::new_err(
                "this ByteQueue was not initialised: its subclass has to call \
                 super().__init__(max_bytes, max_message) in __init__ first",
            )
        })
    }

    /// Attempts until one succeeds or the time is up, and blocks the thread between attempts, if `block`.
    fn block<T>(
        &self,
        py: Python<'_>,
        block: bool,
        deadline: Option<Instant>,
        attempt: impl Fn() -> PyResult<Option<T>>,
    ) -> PyResult<T> {
        let ring = &self.made()?.inner.ring;
        let mut more = block;
        loop {
            if let Some(done) = attempt()? {
                return Ok(done);
            }
            if !more {
                return Err(empty());
            }
            more = event::wait_in_line(py, ring.event.clone(), deadline)?;
        }
    }

    /// One attempt to take messages. `act` returns `None` if there are none, and runs no Python code.
    #[inline]
    fn attempt<T>(&self, py: Python<'_>, act: impl FnOnce(&mut Take<'_>) -> Option<T>) -> PyResult<Option<T>> {
        let mut take = self.made()?.inner.ring.take();
        let taken = act(&mut take);
        let nothing = if taken.is_none() { take.nothing() } else { Nothing::Yet };
        if let Err(error) = take.end() {
            self.report(py, error);
        }
        match nothing {
            Nothing::Yet => Ok(taken),
            Nothing::Ever => Err(shut(py, Side::Get)),
        }
    }

    fn get_many_step<'py>(&self, py: Python<'py>, most: usize) -> PyResult<Option<Bound<'py, PyAny>>> {
        if most == 0 {
            return Ok(Some(new_list(py, 0)?.into_any()));
        }
        // The list is made first: that may run the garbage collector, and so Python code.
        let count = self.made()?.inner.len().min(most);
        let list = new_list(py, count)?;
        let mut messages = Vec::new();
        messages.try_reserve_exact(count).map_err(|_| no_memory(py))?;
        let mut failed = None;
        let taken = self.attempt(py, |take| {
            while messages.len() < count {
                match take_one(py, take) {
                    Some(Ok(message)) => messages.push(message),
                    Some(Err(error)) => {
                        failed = Some(error);
                        break;
                    }
                    None => break,
                }
            }
            (!messages.is_empty() || failed.is_some() || (count == 0 && take.next().is_some())).then_some(())
        })?;
        let filled = messages.len();
        if let Some(error) = failed.filter(|_| filled == 0) {
            return Err(error);
        }
        fill(&list, messages);
        if taken.is_none() {
            return Ok(None);
        }
        if count == 0 {
            return self.get_many_step(py, most); // a message has come since `count` was read
        }
        if filled < count {
            // SAFETY: our list; what is cut off was never set.
            let cut = unsafe { ffi::PyList_SetSlice(list.as_ptr(), size(filled), size(count), ptr::null_mut()) };
            if cut != 0 {
                return Err(PyErr::fetch(py));
            }
        }
        Ok(Some(list.into_any()))
    }

    fn get_into_step(&self, py: Python<'_>, buffer: &Writable<'_>) -> PyResult<Option<usize>> {
        let room = usize::try_from(buffer.view.len).unwrap_or_default();
        let length = self.attempt(py, |take| {
            let message = take.next()?;
            if message.length <= room {
                // SAFETY: at the head, and there is room.
                unsafe { take.copy(message, buffer.view.buf.cast()) };
                take.consume(message);
            }
            Some(message.length)
        })?;
        match length {
            Some(length) if length > room => Err(PyValueError::new_err(format!(
                "the next message has {length} bytes, and the buffer only {room}"
            ))),
            length => Ok(length),
        }
    }

    #[cold]
    fn report(&self, py: Python<'_>, error: std::io::Error) {
        if !self.reported.swap(true, Relaxed) {
            let consequence = "its messages stay in, and the next operation tries again";
            report(py, "a byte queue", consequence, error);
        }
    }
}

/// A size as CPython wants it.
#[allow(clippy::cast_possible_wrap)] // nothing in memory is that large
fn size(size: usize) -> ffi::Py_ssize_t {
    size as ffi::Py_ssize_t
}

/// Takes one message as a new bytes object. After an error the message is still in the queue.
#[inline]
fn take_one(py: Python<'_>, take: &mut Take<'_>) -> Option<PyResult<Py<PyBytes>>> {
    let message = take.next()?;
    // SAFETY: a new object (or the empty one) with room for the message, or null and an exception; its allocation runs no
    // Python code.
    let bytes = unsafe {
        let bytes = ffi::PyBytes_FromStringAndSize(ptr::null(), size(message.length));
        if bytes.is_null() {
            return Some(Err(PyErr::fetch(py)));
        }
        take.copy(message, ffi::PyBytes_AsString(bytes).cast());
        Bound::from_owned_ptr(py, bytes).cast_into_unchecked()
    };
    take.consume(message);
    Some(Ok(bytes.unbind()))
}

/// A buffer of a Python object, to write to.
struct Writable<'py> {
    /// The view, which stays where it is: its exporter may point into it.
    view: Box<ffi::Py_buffer>,
    _py: Python<'py>,
}

impl<'py> Writable<'py> {
    fn new(of: &Bound<'py, PyAny>) -> PyResult<Self> {
        let mut view = Box::new(MaybeUninit::<ffi::Py_buffer>::zeroed());
        // SAFETY: all zeroes are a buffer's; it is filled, or an exception set.
        let got = unsafe { ffi::PyObject_GetBuffer(of.as_ptr(), view.as_mut_ptr(), ffi::PyBUF_WRITABLE) };
        if got != 0 {
            return Err(PyErr::fetch(of.py()));
        }
        // SAFETY: filled.
        let view = unsafe { Box::from_raw(Box::into_raw(view).cast()) };
        Ok(Self { view, _py: of.py() })
    }
}

impl Drop for Writable<'_> {
    fn drop(&mut self) {
        // SAFETY: it was got, and the GIL is held.
        unsafe { ffi::PyBuffer_Release(&raw mut *self.view) };
    }
}
