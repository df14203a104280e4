//! What an asyncio task awaits: it looks like a future, but its task is resumed straight from the loop's reader callback.
//!
//! A future would put the task's step on the loop's queue (`call_soon`) for the next pass over its selector: one system
//! call and a fifth of the latency. The protocol is the one that asyncio documents for foreign futures: an object with
//! `_asyncio_future_blocking`, `add_done_callback`, `result` and `cancel`.

use super::{
    call::{call, call_with},
    closed, context,
    hub::Hub,
    queue::async_iter::Awaited,
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
enum State {
    Pending,
    Rose,
    Closed,
    Cancelled,
}

/// So many of its events are in the repr of a waiter.
const SHOWN: usize = 5;

/// A task's wait for the first of some events. Awaitable once, by the task of the loop that it was made for.
#[pyclass(module = "wakefd._wakefd")]
pub(crate) struct Waiter {
    #[pyo3(get, set, name = "_asyncio_future_blocking")]
    blocking: bool,
    state: State,
    /// Events or places in line, each with its ticket.
    waits: Vec<(Awaited, u64)>,
    hub: Py<Hub>,
    #[pyo3(get, name = "_loop")]
    event_loop: Py<PyAny>,
    /// The task's step, and the context it runs in.
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

    /// The same for the first of `events`. None: one of them is up now.
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
        if this.state == State::Pending {
            this.wakeup = Some((callback, context));
            return Ok(());
        }
        drop(this);
        Self::call_soon(slf, callback, context)
    }

    pub(super) fn done(&self) -> bool {
        self.state != State::Pending
    }

    fn cancelled(&self) -> bool {
        self.state == State::Cancelled
    }

    fn result(&self, py: Python<'_>) -> PyResult<()> {
        match self.state {
            State::Rose => Ok(()),
            State::Closed => Err(closed()),
            State::Cancelled => Err(match &self.message {
                Some(message) => CancelledError::new_err((message.clone_ref(py),)),
                None => CancelledError::new_err(()),
            }),
            State::Pending => Err(PyRuntimeError::new_err("the wait has not ended")),
        }
    }

    /// Return False if the wait has ended.
    #[pyo3(signature = (msg=None))]
    fn cancel(slf: &Bound<'_, Self>, msg: Option<Py<PyAny>>) -> PyResult<bool> {
        let wakeup = {
            let mut this = slf.borrow_mut();
            if this.state != State::Pending {
                return Ok(false);
            }
            this.state = State::Cancelled;
            this.message = msg;
            this.wakeup.take()
        };
        Self::leave(slf);
        if let Some((callback, context)) = wakeup {
            Self::call_soon(slf, callback, context)?;
        }
        Ok(true)
    }

    /// The coroutine that awaits it ends without it.
    fn close(slf: &Bound<'_, Self>) {
        {
            let mut this = slf.borrow_mut();
            if this.state == State::Pending {
                this.state = State::Cancelled;
            }
        }
        // The wake-up stays: it may have the last reference to the task, which would close the coroutine that is just closing.
        Self::leave(slf);
    }

    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(slf: Bound<'_, Self>) -> PyResult<Option<Bound<'_, Self>>> {
        let mut this = slf.borrow_mut();
        if this.state == State::Pending {
            this.blocking = true;
            drop(this);
            return Ok(Some(slf));
        }
        this.result(slf.py()).map(|()| None)
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
                state: State::Pending,
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
                .begin(hub.py(), &event, this.clone().into_any().unbind());
            match begun {
                Ok(Some(ticket)) => this.borrow_mut().waits.push((event, ticket)),
                up_or_closed => {
                    Self::leave(&this);
                    return up_or_closed.map(|_| None);
                }
            }
        }
        Ok(Some(this))
    }

    /// Runs the task's step here and now. Errors: what the step let through (KeyboardInterrupt, SystemExit).
    pub(super) fn resume(slf: &Bound<'_, Self>, outcome: Outcome) -> PyResult<()> {
        let wakeup = {
            let mut this = slf.borrow_mut();
            if this.state != State::Pending {
                return Ok(()); // cancelled by a task that was resumed a moment ago
            }
            this.state = match outcome {
                Outcome::Rose => State::Rose,
                Outcome::Closed => State::Closed,
            };
            if this.waits.len() > 1 {
                drop(this);
                Self::leave(slf); // the other events
                this = slf.borrow_mut();
            }
            this.wakeup.take()
        };
        match wakeup {
            Some((callback, Some(context))) => {
                call(context::run(slf.py())?.bind(slf.py()), (context, callback, slf))?;
            }
            Some((callback, None)) => {
                call(callback.bind(slf.py()), (slf,))?;
            }
            None => {}
        }
        Ok(())
    }

    fn leave(slf: &Bound<'_, Self>) {
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
