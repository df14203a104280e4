//! `IoEvent`, the Python class of an event, except what needs a loop; and how a Python thread waits.

use super::{
    arguments::{self, Seconds, no_arguments, truth},
    attached_cell::is_free_threaded,
    errors::{closed, os_error},
};
use crate::{
    event::EventRef,
    event::handover,
    event::thread_wait::Wait,
    event::wait_table::{Begun, Outcome},
    fork,
    process::epoch::epoch,
};
use pyo3::{
    exceptions::{PyOverflowError, PyTypeError, PyValueError},
    prelude::*,
    types::{PyDict, PyTuple, PyType},
};
use std::{
    io,
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

/// A flag that any thread can raise and that loops and threads wait for.
///
/// The base class of `wakefd.IoEvent`, which adds what needs an event loop.
#[pyclass(module = "wakefd._wakefd", frozen, subclass, weakref)]
pub(crate) struct IoEvent {
    pub(super) inner: crate::IoEvent,
}

#[pymethods]
#[allow(clippy::unused_self)] // the data model's signatures
impl IoEvent {
    #[classmethod]
    #[new]
    #[pyo3(signature = (*args: "object", **kwargs: "object"), text_signature = "()")]
    fn new(cls: &Bound<'_, PyType>, args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        no_arguments(cls, args, kwargs)?;
        let inner = crate::IoEvent::new();
        Ok(Self { inner })
    }

    /// Raise the flag and wake everybody who waits.
    ///
    /// Return True if this call raised it; False if it was up already (the notification is coalesced with the earlier one)
    /// or the event is closed.
    ///
    /// Callable from any thread, from `__del__`, weakref callbacks and signal handlers. Takes no lock.
    ///
    /// Raise OSError if the system refused to make a descriptor readable. The flag is up all the same, whoever could be
    /// woken was, and the next notify() tries again.
    fn notify(&self, py: Python<'_>) -> PyResult<bool> {
        notify_attached(py, &self.inner.event).map_err(os_error)
    }

    /// Lower the flag. Return True if it was up. Clear first and look at your data afterwards.
    ///
    /// Callable from any thread.
    ///
    /// Raise OSError if the event's descriptor is dead (closed by somebody else, or its connection reset). It is given up,
    /// the flag stays as it is, and the next fileno() is a new one.
    #[inline]
    fn clear(&self) -> PyResult<bool> {
        self.inner.clear().map_err(os_error)
    }

    /// Return True if the flag is up. Callable from any thread.
    #[inline]
    fn is_set(&self) -> bool {
        self.inner.is_set()
    }

    /// Block this thread until the flag is up, or rises (even if somebody clears it at once); at most `timeout` seconds.
    ///
    /// Return True, or False if the time is up. None and infinity wait for ever, a negative timeout is 0. Lets other
    /// threads run meanwhile; Ctrl-C and other signal handlers work. Not for a thread that runs an event loop: it would
    /// stop the loop; `await event.notified()` there.
    ///
    /// Raise ClosedResourceError if the event is closed, or is being closed meanwhile; ValueError if the timeout is not a
    /// number; OverflowError if it is too large; OSError if there is no descriptor to be had for this thread (never
    /// on Linux, where it needs none).
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<Seconds<'_, '_>>) -> PyResult<bool> {
        let timeout = arguments::seconds(timeout, "wait()")?;
        wait(py, vec![self.inner.event.clone()], timeout)
    }

    /// Return a descriptor that is readable while the flag is up, for a poller of your own.
    ///
    /// The event makes it at the first call, keeps it, and closes it. Watch it for reading and call clear(); never read it
    /// yourself. Callable from any thread.
    ///
    /// Raise ClosedResourceError if the event is closed; OSError if no descriptor is to be had.
    pub(super) fn fileno(&self) -> PyResult<i64> {
        let descriptor = self.inner.event.expose().map_err(os_error)?.ok_or_else(closed)?;
        Ok(descriptor.number())
    }

    /// Close the event for ever.
    ///
    /// From now on notify() and clear() return False; those who wait get ClosedResourceError, unless the flag rose before.
    /// Closing it again does nothing. Callable from any thread.
    ///
    /// Raise OSError if the system refused to wake a loop. The event is closed all the same.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        act_attached(py, &self.inner.event, |_| self.inner.close()).map_err(os_error)
    }

    /// True once the event was closed.
    #[getter]
    fn closed(&self) -> bool {
        self.inner.is_closed()
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let this = slf.get();
        let state = match () {
            () if this.inner.is_closed() => "closed",
            () if this.inner.is_set() => "up",
            () => "down",
        };
        let waiting = this.inner.event.waiting.load(Relaxed);
        let name = slf.get_type().name()?;
        Ok(format!(
            "<wakefd.{name} {state}, {waiting} waiting at {:p}>",
            slf.as_ptr()
        ))
    }

    fn __reduce__(&self) -> PyResult<String> {
        // `copy` and `pickle` call this method.
        Err(PyTypeError::new_err(
            "an IoEvent cannot be copied or pickled: pass the object itself to threads and tasks; \
             between processes use multiprocessing.Event",
        ))
    }

    /// The generation: how often the flag has risen.
    fn _rises(&self) -> u64 {
        self.inner.event.pipe.word().rises()
    }

    /// How many listeners a notify looks at: those of the loops and threads that wait, and of a few that did. For tests.
    fn _listeners(&self) -> usize {
        self.inner.event.listener_count()
    }

    /// How many tokens are promised and not drained. For tests.
    fn _owed(&self) -> u64 {
        self.inner.event.pipe.word().owed()
    }
}

impl IoEvent {
    pub(super) fn fresh(py: Python<'_>) -> PyResult<Py<Self>> {
        let inner = crate::IoEvent::new();
        Py::new(py, Self { inner })
    }
}

/// Notifies from an attached thread, as `act_attached` does.
#[inline]
pub(super) fn notify_attached(py: Python<'_>, event: &EventRef) -> io::Result<bool> {
    if event.pipe.is_coalescing() {
        Ok(false)
    } else if event.was_slept_on() {
        act_attached(py, event, EventRef::raise_and_tell)
    } else {
        event.raise_and_tell()
    }
}

/// Acts on an event from an attached thread, which detaches meanwhile if it is to hand the GIL to those whom `act` wakes (see
/// `event::handover`). The caller is in no cell.
#[inline(never)] // it would take registers from a notify that wakes nobody
pub(super) fn act_attached<R: Send>(py: Python<'_>, event: &EventRef, act: impl FnOnce(&EventRef) -> R + Send) -> R {
    match event.unlocked() {
        None => act(event),
        Some(mut unlocked) => py.detach(|| unlocked.act(act)),
    }
}

/// Switch the hand-over on or off, for this process, and return whether it was on. At the start it is on, unless the environment
/// has WAKEFD_HAND_OVER=0.
///
/// A thread that wakes an event loop, and has been seen to go on computing after it, lets go of the GIL until the loop has begun to
/// run, for 1 ms at the most. Else the loop waits for the GIL, 5 ms (`sys.getswitchinterval()`). Switch it off where C
/// code calls wakefd while it has a lock that other threads wait for with the GIL (neither would go on), or if your threads'
/// throughput matters more than when the loop runs. A free-threaded interpreter has no GIL to hand over, and there it stays off.
/// Only Linux tells whether a thread computes: elsewhere nothing is handed over.
///
/// Callable from any thread.
#[pyfunction]
#[pyo3(signature = (on: "bool"))]
pub(super) fn hand_over(#[pyo3(from_py_with = truth)] on: bool) -> bool {
    handover::enable(on && !is_free_threaded())
}

/// For tests: set how long a thread waits for the loop that it has woken, and what it must use of the processor each time before
/// it blocks in order to hand over at all, both in seconds. Return what they were.
#[pyfunction]
pub(super) fn hand_over_limits(patience: f64, computes: f64) -> (f64, f64) {
    let (patience, computes) = (Duration::from_secs_f64(patience), Duration::from_secs_f64(computes));
    let before = handover::set_limits(patience, computes);
    (before.0.as_secs_f64(), before.1.as_secs_f64())
}

/// Block this thread until one of `events` is up or rises. For `wakefd.wait_any`.
#[pyfunction]
#[pyo3(signature = (events, timeout=None))]
#[allow(clippy::needless_pass_by_value)] // PyO3's signature
pub(super) fn wait_for_one(py: Python<'_>, events: Vec<PyRef<'_, IoEvent>>, timeout: Option<f64>) -> PyResult<bool> {
    let events = events.iter().map(|event| event.inner.event.clone()).collect();
    wait(py, events, timeout)
}

/// Read a timeout as wait() does: seconds, at least 0, or None for ever. For adapters; `function` is for the error's message.
#[pyfunction]
#[pyo3(signature = (timeout, function))]
pub(super) fn seconds(timeout: Option<Seconds<'_, '_>>, function: &str) -> PyResult<Option<f64>> {
    let timeout = arguments::seconds(timeout, function)?;
    Ok(deadline(timeout)?.and(timeout).map(|seconds| seconds.max(0.0)))
}

pub(super) fn wait(py: Python<'_>, events: Vec<EventRef>, timeout: Option<f64>) -> PyResult<bool> {
    sleep(py, events, deadline(timeout)?, false)
}

/// Waits for a place in line. Also true in a child that a signal handler has forked, where the place is in no line.
pub(super) fn wait_in_line(py: Python<'_>, event: EventRef, deadline: Option<Instant>) -> PyResult<bool> {
    sleep(py, vec![event], deadline, true)
}

fn sleep(py: Python<'_>, events: Vec<EventRef>, deadline: Option<Instant>, or_forked: bool) -> PyResult<bool> {
    let before = epoch();
    let mut wait = match Wait::start(fork::enter(), events).map_err(os_error)? {
        Begun::Up => return Ok(true),
        Begun::Closed => return Err(closed()),
        Begun::Waiting(wait) => wait,
    };
    loop {
        match py.detach(|| wait.sleep(deadline)) {
            Ok(Some(Outcome::Rose)) => return Ok(true),
            Ok(Some(Outcome::Closed)) => return Err(closed()),
            Ok(None) => return Ok(false),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {
                py.check_signals()?;
                if or_forked && before != epoch() {
                    return Ok(true);
                }
            }
            Err(e) => return Err(os_error(e)),
        }
    }
}

/// The deadline of a timeout. `None` and infinity have none.
pub(super) fn deadline(timeout: Option<f64>) -> PyResult<Option<Instant>> {
    let Some(seconds) = timeout.filter(|seconds| *seconds != f64::INFINITY) else {
        return Ok(None);
    };
    if seconds.is_nan() {
        return Err(PyValueError::new_err("timeout must be a number of seconds, not nan"));
    }
    Duration::try_from_secs_f64(seconds.max(0.0))
        .ok()
        .and_then(|timeout| Instant::now().checked_add(timeout))
        .map(Some)
        .ok_or_else(|| PyOverflowError::new_err("timeout is too large; use None to wait for ever"))
}

/// The deadline of a method of a queue that is called `function`; none if it does not `block`.
///
/// # Errors
/// TypeError, or ValueError if the timeout is negative.
#[inline]
pub(super) fn deadline_of(block: bool, timeout: Option<Seconds<'_, '_>>, function: &str) -> PyResult<Option<Instant>> {
    let timeout = arguments::seconds(timeout, function)?;
    match timeout {
        Some(_) if !block => Ok(None),
        Some(seconds) if seconds < 0.0 => Err(PyValueError::new_err("'timeout' must be a non-negative number")),
        timeout => deadline(timeout),
    }
}
