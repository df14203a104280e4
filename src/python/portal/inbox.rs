//! The inbox of a portal as Python's threads share it: its cell, its event, and its exceptions.
//!
//! Which calls are accepted, and in which order they come out, is decided in `crate::queue::inbox`. No Python code runs in the
//! cell.

use crate::python::{
    attached_cell::AttachedCell,
    context,
    errors::{ClosedResourceError, LoopClosedError, no_memory, report},
    event::{IoEvent, notify_attached},
};
use crate::{
    process::epoch::epoch,
    queue::{
        Obstacle,
        inbox::{Calls, InboxCell, Life},
    },
};
use pyo3::{PyTraverseError, PyVisit, prelude::*, types::PyTuple};
use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

/// A call that a portal has accepted.
pub(super) enum Call {
    /// A function from `call_soon`, its arguments, and a copy of the caller's context if there is anything in it.
    Soon(Py<PyAny>, Py<PyTuple>, Option<Py<PyAny>>),
    /// An object that `runner.step()` takes.
    Step(Py<PyAny>),
}

/// The calls that one portal has accepted. The portal and its receiver share it.
#[pyclass(module = "wakefd._wakefd", frozen)]
pub(crate) struct Inbox {
    calls: AttachedCell<Calls<Call>>,
    /// Up while there are calls.
    pub(super) event: Py<IoEvent>,
    pub(super) copy_context: Py<PyAny>,
    pub(super) epoch: u32,
    reported: AtomicBool,
}

#[pymethods]
impl Inbox {
    #[new]
    fn new(py: Python<'_>, event: Py<IoEvent>) -> PyResult<Self> {
        Ok(Self {
            calls: AttachedCell::new(Calls::new(thread::current().id())),
            event,
            copy_context: context::copy_context(py)?.clone().unbind(),
            epoch: epoch(),
            reported: AtomicBool::new(false),
        })
    }

    /// Have `runner.step(call)` called in the loop's thread.
    ///
    /// Raise LoopClosedError or ClosedResourceError.
    fn push(&self, py: Python<'_>, call: Py<PyAny>) -> PyResult<()> {
        self.put(py, Call::Step(call), false)
    }

    /// Put a call in that was accepted before: also after close(), and without an error once the loop is gone.
    fn push_again(&self, py: Python<'_>, call: Py<PyAny>) -> PyResult<()> {
        let put = self.put(py, Call::Step(call), true);
        put.or_else(|error| if self.gone(py) { Ok(()) } else { Err(error) })
    }

    /// Have the receiver look for calls.
    fn notify(&self, py: Python<'_>) {
        self.attached(py).notify();
    }

    /// Accept no more.
    pub(super) fn close(&self, py: Python<'_>) {
        if self.epoch == epoch() {
            self.attached(py).close();
        } else {
            self.attached(py).with(Calls::close);
        }
    }

    /// True unless calls are accepted.
    #[getter]
    pub(super) fn closed(&self, py: Python<'_>) -> bool {
        self.life(py) != Life::Open
    }

    /// True once the loop is gone.
    #[getter]
    pub(super) fn gone(&self, py: Python<'_>) -> bool {
        self.life(py) == Life::Gone
    }

    /// How many calls have not begun.
    #[getter]
    pub(super) fn size(&self, py: Python<'_>) -> usize {
        self.attached(py).with(|calls| calls.waiting.len())
    }

    /// True if no call is in there, and none of them runs now.
    #[getter]
    fn quiet(&self, py: Python<'_>) -> bool {
        self.attached(py).with(|calls| calls.is_quiet())
    }

    /// True in a thread in which a call of this portal runs now.
    #[getter]
    fn here(&self, py: Python<'_>) -> bool {
        let here = thread::current().id();
        self.attached(py).with(|calls| calls.is_busy_in(here))
    }

    #[allow(clippy::needless_pass_by_value)] // PyO3's signature
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.event)?;
        self.calls.traverse(&visit, |calls| {
            calls.waiting.iter().try_for_each(|call| match call {
                Call::Soon(function, args, context) => {
                    visit.call(function)?;
                    visit.call(args)?;
                    visit.call(context)
                }
                Call::Step(call) => visit.call(call),
            })
        })
    }
}

impl Inbox {
    #[inline]
    pub(super) fn put(&self, py: Python<'_>, call: Call, again: bool) -> PyResult<()> {
        if self.epoch != epoch() {
            return Err(LoopClosedError::new_err(
                "this portal was made before the fork: its event loop runs in the parent process; make a portal in a loop \
                 of the child's own",
            ));
        }
        let Err((obstacle, call)) = self.attached(py).accept(call, again) else {
            return Ok(());
        };
        drop(call); // may run Python code
        Err(match obstacle {
            Obstacle::NoMemory => no_memory(py),
            _ if self.gone(py) => LoopClosedError::new_err("the portal's event loop is closed"),
            _ => ClosedResourceError::new_err("this portal is closed"),
        })
    }

    /// A portal from before a fork is gone in the child.
    fn life(&self, py: Python<'_>) -> Life {
        if self.epoch == epoch() {
            self.attached(py).with(|calls| calls.life)
        } else {
            Life::Gone
        }
    }

    #[inline]
    pub(super) fn attached<'a>(&'a self, py: Python<'a>) -> AttachedInbox<'a> {
        AttachedInbox { inbox: self, py }
    }
}

/// An inbox, and the proof that this thread may come into its cell.
#[derive(Clone, Copy)]
pub(super) struct AttachedInbox<'a> {
    inbox: &'a Inbox,
    py: Python<'a>,
}

impl InboxCell for AttachedInbox<'_> {
    type Call = Call;

    #[inline]
    fn with<R>(&self, act: impl FnOnce(&mut Calls<Call>) -> R) -> R {
        self.inbox.calls.with(self.py, act)
    }

    #[inline]
    fn notify(&self) {
        if let Err(error) = notify_attached(self.py, &self.inbox.event.get().inner.event) {
            if !self.inbox.reported.swap(true, Relaxed) {
                let consequence = "its calls stay in, and the next one tries again";
                report(self.py, "a portal", consequence, error);
            }
        }
    }

    fn lower(&self) {
        let _ = self.inbox.event.get().inner.event.clear(); // no descriptor, nothing to fail
    }
}
