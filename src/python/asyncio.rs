//! The asyncio side of a hub: `Waiter`, which a task awaits; `Reader`, which the loop calls; `Raise`, which the loop is left
//! with when a task's step lets an exception through.
//!
//! A waiter looks like a future, but its task is resumed straight from the loop's reader callback. A future would put the
//! task's step on the loop's queue (`call_soon`) for the next pass over its selector: one system call and a fifth of the
//! latency.
//!
//! To a task, a waiter is a foreign future. The protocol is that of `asyncio.Future` (`add_done_callback`, `result`, `cancel`,
//! `get_loop`) and two names that are not in asyncio's documentation. Checked with CPython 3.11, 3.12 and 3.13, and uvloop
//! 0.23; the names that the Python half uses are in `wakefd/_loops/asyncio_internals.py`.
//!
//! | name | asyncio uses it for | where asyncio does not know it |
//! |---|---|---|
//! | `_asyncio_future_blocking` | telling a future from other things that a coroutine yields | a wait raises RuntimeError |
//! | `_loop` | the future's loop, where there is no `get_loop` | nothing is lost |

use super::{
    call::{call, call_method, call_with},
    context,
    errors::closed,
    hub::{Hub, call_with_outcome},
    queue::place::Awaited,
};
use crate::event::wait_table::Outcome;
use pyo3::{
    PyTraverseError, PyVisit,
    exceptions::{PyRuntimeError, asyncio::CancelledError},
    intern,
    prelude::*,
    types::PyDict,
};
use std::mem;

#[derive(Clone, Copy, PartialEq, Eq)]
enum WaitState {
    Pending,
    Released(Outcome),
    Cancelled,
}

/// The number of events that the repr of a waiter shows.
const SHOWN: usize = 5;

/// A task's wait for the first of some events. Awaitable once, by the task of the loop that it was made for.
#[pyclass(module = "wakefd._wakefd")]
pub(crate) struct Waiter {
    #[pyo3(get, set, name = "_asyncio_future_blocking")]
    blocking: bool,
    state: WaitState,
    /// The events or places in line that the task waits for, each with its ticket.
    waits: Vec<(Awaited, u64)>,
    hub: Py<Hub>,
    #[pyo3(get, name = "_loop")]
    event_loop: Py<PyAny>,
    /// The step of the task, and the context that it runs in.
    wakeup: Option<(Py<PyAny>, Option<Py<PyAny>>)>,
    message: Option<Py<PyAny>>,
}

#[pymethods]
impl Waiter {
    /// Begin to wait. Return None if the flag is up now.
    ///
    /// Raise what Hub.wait() raises.
    #[staticmethod]
    fn begin<'py>(
        hub: &Bound<'py, Hub>,
        event_loop: &Bound<'py, PyAny>,
        event: Awaited,
    ) -> PyResult<Option<Bound<'py, Self>>> {
        Self::wait(hub, event_loop, [event])
    }

    /// Begin to wait for the first of `events`. None: one of them is up now.
    #[staticmethod]
    fn begin_any<'py>(
        hub: &Bound<'py, Hub>,
        event_loop: &Bound<'py, PyAny>,
        events: Vec<Awaited>,
    ) -> PyResult<Option<Bound<'py, Self>>> {
        Self::wait(hub, event_loop, events)
    }

    fn get_loop(&self, py: Python<'_>) -> Py<PyAny> {
        self.event_loop.clone_ref(py)
    }

    #[pyo3(signature = (callback, *, context=None))]
    fn add_done_callback(slf: &Bound<'_, Self>, callback: Py<PyAny>, context: Option<Py<PyAny>>) -> PyResult<()> {
        let mut this = slf.borrow_mut();
        if this.wakeup.is_some() {
            return Err(PyRuntimeError::new_err(
                "a wait belongs to one task: call notified() once per task",
            ));
        }
        if this.state == WaitState::Pending {
            this.wakeup = Some((callback, context));
            return Ok(());
        }
        drop(this);
        Self::call_soon(slf, callback, context)
    }

    pub(super) fn done(&self) -> bool {
        self.state != WaitState::Pending
    }

    fn cancelled(&self) -> bool {
        self.state == WaitState::Cancelled
    }

    fn result(&self, py: Python<'_>) -> PyResult<()> {
        match self.state {
            WaitState::Released(Outcome::Rose) => Ok(()),
            WaitState::Released(Outcome::Closed) => Err(closed()),
            WaitState::Cancelled => Err(match &self.message {
                Some(message) => CancelledError::new_err((message.clone_ref(py),)),
                None => CancelledError::new_err(()),
            }),
            WaitState::Pending => Err(PyRuntimeError::new_err("the wait has not ended")),
        }
    }

    /// Return False if the wait has ended.
    #[pyo3(signature = (msg=None))]
    fn cancel(slf: &Bound<'_, Self>, msg: Option<Py<PyAny>>) -> PyResult<bool> {
        let wakeup = {
            let mut this = slf.borrow_mut();
            if this.state != WaitState::Pending {
                return Ok(false);
            }
            this.state = WaitState::Cancelled;
            this.message = msg;
            this.wakeup.take()
        };
        Self::cancel_waits(slf);
        if let Some((callback, context)) = wakeup {
            Self::call_soon(slf, callback, context)?;
        }
        Ok(true)
    }

    /// The coroutine that awaits it ends without it.
    fn close(slf: &Bound<'_, Self>) {
        {
            let mut this = slf.borrow_mut();
            if this.state == WaitState::Pending {
                this.state = WaitState::Cancelled;
            }
        }
        // The wake-up stays: it may have the last reference to the task, which would close the coroutine that is just closing.
        Self::cancel_waits(slf);
    }

    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(slf: Bound<'_, Self>) -> PyResult<Option<Bound<'_, Self>>> {
        let mut this = slf.borrow_mut();
        if this.state == WaitState::Pending {
            this.blocking = true;
            drop(this);
            return Ok(Some(slf));
        }
        this.result(slf.py()).map(|()| None)
    }

    /// The hub's call: the event rose, or was closed.
    fn __call__(slf: &Bound<'_, Self>, rose: bool) -> PyResult<()> {
        Self::resume(slf, if rose { Outcome::Rose } else { Outcome::Closed })
    }

    /// A task's repr shows it.
    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let py = slf.py();
        let (waits, count) = {
            let this = slf.borrow();
            let first: Vec<_> = this
                .waits
                .iter()
                .take(SHOWN)
                .map(|(event, _)| event.clone_ref(py))
                .collect();
            (first, this.waits.len())
        };
        if slf.borrow().done() || count == 0 {
            return Ok(format!("<wakefd.Waiter, its wait has ended, at {:p}>", slf.as_ptr()));
        }
        let mut words = Vec::new();
        for event in waits {
            words.push(event.words(py)?);
        }
        if count > SHOWN {
            words.push(format!("{} more", count - SHOWN));
        }
        let first = if count > 1 { "the first of " } else { "" };
        Ok(format!("<wakefd.Waiter waits for {first}{}>", words.join(", ")))
    }

    #[allow(clippy::needless_pass_by_value)] // PyO3's signature
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.hub)?;
        visit.call(&self.event_loop)?;
        visit.call(&self.message)?;
        self.waits.iter().try_for_each(|(event, _)| event.visit(&visit))?;
        if let Some((callback, context)) = &self.wakeup {
            visit.call(callback)?;
            visit.call(context)?;
        }
        Ok(())
    }

    fn __clear__(&mut self) {
        self.wakeup = None;
        self.message = None;
        self.waits = Vec::new();
    }
}

impl Waiter {
    fn wait<'py>(
        hub: &Bound<'py, Hub>,
        event_loop: &Bound<'py, PyAny>,
        events: impl IntoIterator<Item = Awaited, IntoIter: ExactSizeIterator>,
    ) -> PyResult<Option<Bound<'py, Self>>> {
        let events = events.into_iter();
        let this = Bound::new(
            hub.py(),
            Self {
                blocking: false,
                state: WaitState::Pending,
                waits: Vec::with_capacity(events.len()),
                hub: hub.clone().unbind(),
                event_loop: event_loop.clone().unbind(),
                wakeup: None,
                message: None,
            },
        )?;
        for event in events {
            let begun = hub
                .borrow_mut()
                .wait_for(hub.py(), &event, this.clone().into_any().unbind());
            match begun {
                Ok(Some(ticket)) => this.borrow_mut().waits.push((event, ticket)),
                up_or_closed => {
                    Self::cancel_waits(&this);
                    return up_or_closed.map(|_| None);
                }
            }
        }
        Ok(Some(this))
    }

    /// Runs the task's step at once.
    ///
    /// # Errors
    /// An exception that the step let through (KeyboardInterrupt, SystemExit).
    fn resume(slf: &Bound<'_, Self>, outcome: Outcome) -> PyResult<()> {
        let wakeup = {
            let mut this = slf.borrow_mut();
            if this.state != WaitState::Pending {
                return Ok(()); // a task that was resumed a moment ago has cancelled this one
            }
            this.state = WaitState::Released(outcome);
            if this.waits.len() > 1 {
                drop(this);
                Self::cancel_waits(slf); // the other events
                this = slf.borrow_mut();
            }
            this.wakeup.take()
        };
        match wakeup {
            Some((callback, Some(context))) => {
                call(context::run(slf.py())?, (context, callback, slf))?;
            }
            Some((callback, None)) => {
                call(callback.bind(slf.py()), (slf,))?;
            }
            None => {}
        }
        Ok(())
    }

    fn cancel_waits(slf: &Bound<'_, Self>) {
        let (hub, waits) = {
            let mut this = slf.borrow_mut();
            (this.hub.clone_ref(slf.py()), mem::take(&mut this.waits))
        };
        for (_, ticket) in &waits {
            Hub::cancel(hub.bind(slf.py()), *ticket);
        }
    }

    fn call_soon(slf: &Bound<'_, Self>, callback: Py<PyAny>, context: Option<Py<PyAny>>) -> PyResult<()> {
        let py = slf.py();
        let event_loop = slf.borrow().event_loop.clone_ref(py);
        let keywords = PyDict::new(py);
        keywords.set_item(intern!(py, "context"), context)?;
        let call_soon = event_loop.bind(py).getattr(intern!(py, "call_soon"))?;
        call_with(&call_soon, (callback, slf), Some(&keywords)).map(drop)
    }
}

/// The callback (`dispatch`) of an asyncio loop whose hub is readable.
///
/// The loop alone owns it: when the loop is closed or collected it goes, and the hub is closed with it.
#[pyclass(module = "wakefd._wakefd", frozen, weakref)]
pub(crate) struct Reader {
    #[pyo3(get)]
    hub: Py<Hub>,
    /// A weak reference to the loop.
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
        let event_loop = slf.get().event_loop.call0(py)?;
        let add_reader = event_loop.bind(py).getattr(intern!(py, "add_reader"))?;
        let fd = slf.get().hub.borrow(py).fileno()?;
        let args = (fd, slf.getattr(intern!(py, "dispatch"))?).into_pyobject(py)?;
        context::call(&context::empty(py)?, &add_reader, &args).map(drop)
    }

    /// Release those who are to be released. The bound method is the callback: it owns the reader.
    fn dispatch(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let flat = this.is_flat(py)?;
        let drained = |replaced| {
            if let Some(old) = replaced {
                let event_loop = this.event_loop.call0(py)?;
                call_method(event_loop.bind(py), intern!(py, "remove_reader"), (old,))?;
            } else if flat || this.hub.borrow(py).inherited() {
                return Ok(());
            }
            // A loop does not call what it is just calling: inside it (nest_asyncio) or at all (qasync).
            Self::watch(slf)
        };
        let errors = Hub::release(this.hub.bind(py), !flat, drained, resume);
        if errors.is_empty() {
            return Ok(());
        }
        let event_loop = this.event_loop.call0(py)?;
        for error in errors {
            // Raised here, the traceback would keep this callback, and so the hub, alive past the end of the loop.
            let raise = Raise::new(py, error)?;
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
        let class = event_loop.bind(py).get_type();
        Ok(class.getattr(intern!(py, "run_until_complete"))?.is(flat))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // Without an interpreter there is no loop either.
        Python::try_attach(|py| Hub::close(self.hub.bind(py)));
    }
}

/// Resumes a task by its waiter, without a call through Python; others that wait on the hub are called.
fn resume(who: &Bound<'_, PyAny>, outcome: Outcome) -> PyResult<()> {
    match who.cast::<Waiter>() {
        Ok(waiter) => Waiter::resume(waiter, outcome),
        Err(_) => call_with_outcome(who, outcome),
    }
}

/// Raises what came out of a task's step (KeyboardInterrupt, SystemExit) where it ends the loop.
#[pyclass(frozen)]
pub(super) struct Raise {
    error: Py<PyAny>,
}

impl Raise {
    pub(super) fn new(py: Python<'_>, error: PyErr) -> PyResult<Bound<'_, Self>> {
        let error = error.into_value(py).into_any();
        Bound::new(py, Self { error })
    }
}

#[pymethods]
impl Raise {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        Err(PyErr::from_value(self.error.bind(py).clone()))
    }
}
