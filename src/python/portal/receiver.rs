//! The receiver of a portal: it runs the calls in the loop's thread.
//!
//! Which call comes next, and when the portal is at rest, is `crate::queue::inbox`. What stays here holds Python
//! objects, or asks the loop: how a call is run, in which context, and how the loop is asked for another turn.

use super::inbox::{Call, Inbox};
use crate::python::{
    asyncio::Raise,
    attached_cell::AttachedCell,
    call::{call, call_method},
    context,
    fairness::Clock,
    hub::Hub,
};
use crate::{
    process::epoch::epoch,
    queue::inbox::{Batch, Calls, InboxCell},
};
use pyo3::{
    PyTraverseError, PyVisit,
    exceptions::{PyKeyboardInterrupt, PySystemExit},
    intern,
    prelude::*,
    types::{PyList, PyWeakrefReference},
};
use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
};

/// Why a batch of calls is interrupted.
enum Pause {
    /// The loop is to have its turn.
    TurnIsOver,
    /// A call has left something in the context that it shares with those that brought none.
    ContextIsUsed,
}

/// A portal's receiver in its loop, for the loop's thread alone. When the receiver is dropped, the loop is gone.
///
/// On asyncio, call `begin()`. The loop's hub alone owns the receiver, but for a moment in which the loop itself does
/// (`call_soon`): both let go of it in `loop.close()`. On other loops, call `turn()` whenever the event rises, and
/// `end()` when the loop ends.
///
/// `runner`, in Python, knows the loop: `step(call)`; `failed(error, function)` for what a callback has raised;
/// `rest()`, told of a closed portal whose calls have all begun, returns True if they have all ended, too;
/// `gone(calls)` with what will never run: calls, and the arguments of `Context.run`.
#[pyclass(module = "wakefd._wakefd", frozen, weakref)]
pub(crate) struct Receiver {
    inbox: Py<Inbox>,
    runner: Py<PyAny>,
    /// The hub of asyncio, and a weak reference to the loop.
    hub: Option<(Py<Hub>, Py<PyAny>)>,
    /// The ticket of the wait at the hub; 0: none.
    ticket: AtomicU64,
    /// Whether the loop will call `again()`.
    scheduled: AtomicBool,
    /// Whether `again()` is to come after a call of the loop's that raises.
    postponed: AtomicBool,
    finished: AtomicBool,
    /// Empty.
    context: AttachedCell<Option<Py<PyAny>>>,
    rest_of_turn: AttachedCell<Clock>,
}

#[pymethods]
impl Receiver {
    #[new]
    #[pyo3(signature = (inbox, runner, hub=None, event_loop=None))]
    fn new(
        inbox: Py<Inbox>,
        runner: Py<PyAny>,
        hub: Option<Py<Hub>>,
        event_loop: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let event_loop = event_loop.map(|it| PyWeakrefReference::new(&it).map(|it| it.into_any().unbind()));
        Ok(Self {
            inbox,
            runner,
            hub: hub.zip(event_loop.transpose()?),
            ticket: AtomicU64::new(0),
            scheduled: AtomicBool::new(false),
            postponed: AtomicBool::new(false),
            finished: AtomicBool::new(false),
            context: AttachedCell::new(None),
            rest_of_turn: AttachedCell::new(Clock::FRESH),
        })
    }

    /// Wait at the hub. Raise what Hub.wait_after() raises.
    fn begin(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        if let (Some((hub, _)), 0) = (&this.hub, this.ticket.load(Relaxed)) {
            let inbox = this.inbox.get();
            // The caller has yet to clear the event, or the event is down.
            let seen = inbox.event.get().inner.event.pipe.word().rises();
            let who = slf.clone().into_any().unbind();
            let ticket = hub
                .borrow_mut(slf.py())
                .wait_after(inbox.event.get(), Some(seen), who)?;
            this.ticket.store(ticket, Relaxed);
        }
        Ok(())
    }

    /// Run calls until there are none, or the turn is over. Return True if there are more: let the loop have its turn,
    /// and call again.
    ///
    /// Raise what ends a loop, KeyboardInterrupt and SystemExit; then there may be more, too.
    fn turn(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let (py, this) = (slf.py(), slf.get());
        let here = thread::current().id();
        this.inbox.get().attached(py).with(|calls| calls.thread = here);
        let run = slf.getattr(intern!(py, "_run"))?;
        this.rest_of_turn.with(py, |turn| *turn = Clock::FRESH);
        loop {
            let context = this.context.with(py, Option::take); // not there: a callback runs the loop inside the loop
            let context = context.map_or_else(|| context::empty(py), |context| Ok(context.into_bound(py)))?;
            let ended = call(context::run(py)?, (&context, &run, &context));
            if context.len()? == 0 {
                let old = this.context.with(py, |mine| mine.replace(context.unbind()));
                drop(old);
            }
            if let Some(more) = ended?.extract()? {
                return Ok(more);
            }
        }
    }

    /// Run calls in an empty context, which those that brought none share, until one of them leaves something in it
    /// (None).
    fn _run(slf: &Bound<'_, Self>, context: &Bound<'_, PyAny>) -> PyResult<Option<bool>> {
        let (py, this) = (slf.py(), slf.get());
        let mut turn = this.rest_of_turn.with(py, |turn| *turn);
        let batch = this.inbox.get().attached(py).batch(
            || {
                if !turn.within() {
                    return Ok(Some(Pause::TurnIsOver));
                }
                Ok((context.len()? > 0).then_some(Pause::ContextIsUsed))
            },
            |call, last| {
                Self::share(slf, last);
                this.run(py, call)
            },
        );
        this.rest_of_turn.with(py, |rest| *rest = turn);
        match batch? {
            Batch::Paused(Pause::TurnIsOver) => Ok(Some(true)),
            Batch::Paused(Pause::ContextIsUsed) => Ok(None),
            Batch::Empty { at_rest, dropped } => {
                if at_rest && this.runner.call_method0(py, intern!(py, "rest"))?.extract(py)? && dropped {
                    this.finished.store(true, Relaxed);
                }
                Ok(Some(false))
            }
        }
    }

    /// True if the portal is gone, and all its calls have ended.
    #[getter]
    fn finished(&self) -> bool {
        self.finished.load(Relaxed)
    }

    /// Say that the loop is gone: calls are refused from now on, and the callers of those that will never run are told.
    fn end(&self, py: Python<'_>) -> PyResult<()> {
        let inbox = self.inbox.get();
        let Some(calls) = inbox.attached(py).with(Calls::end) else {
            return Ok(());
        };
        if inbox.epoch != epoch() {
            return Ok(()); // the parent's
        }
        let calls = calls.into_iter().map(|call| match call {
            Call::Soon(function, ..) => function,
            Call::Step(call) => call,
        });
        let calls = PyList::new(py, calls)?;
        call_method(self.runner.bind(py), intern!(py, "gone"), (calls,)).map(drop)
    }

    /// Serve a rise of the event. The hub calls it.
    fn __call__(slf: &Bound<'_, Self>, _rose: bool) -> PyResult<()> {
        slf.get().ticket.store(0, Relaxed);
        Self::serve(slf)
    }

    /// Serve the next turn. The loop calls it.
    fn again(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        this.scheduled.store(false, Relaxed);
        if this.postponed.swap(false, Relaxed) {
            return Self::schedule(slf);
        }
        Self::serve(slf)
    }

    #[allow(clippy::needless_pass_by_value)] // PyO3's signature
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.inbox)?;
        visit.call(&self.runner)?;
        if let Some((hub, _)) = &self.hub {
            visit.call(hub)?;
        }
        Ok(())
    }
}

impl Receiver {
    /// Makes a turn, and what must follow it on asyncio.
    fn serve(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        // The wait begins before the calls: a rise from here on makes another turn. So does a hub whose token is
        // refused.
        let waits = Self::begin(slf).is_ok();
        let more = Self::turn(slf).or_else(|error| {
            // As in `Reader.dispatch`: raised here, the traceback would keep us alive past the end of the loop.
            this.postponed.store(this.scheduled.load(Relaxed), Relaxed);
            this.call_soon(py, Raise::new(py, error)?.into_any())?;
            Ok::<_, PyErr>(true)
        })?;
        if this.finished.load(Relaxed) {
            if let Some((hub, _)) = &this.hub {
                Hub::cancel(hub.bind(py), this.ticket.swap(0, Relaxed));
            }
        } else if more || !waits {
            Self::schedule(slf)?;
        }
        Ok(())
    }

    /// Has a nested turn go on with the calls that are left, and those that come, if the next call runs the loop inside
    /// the loop.
    fn share(slf: &Bound<'_, Self>, last: bool) {
        let this = slf.get();
        if this.hub.is_none() {
            return; // trio runs no loop inside a loop
        }
        if this.inbox.get().attached(slf.py()).must_share(last) {
            let _ = Self::schedule(slf); // a loop that refuses is closed, and whoever waits is told
        }
    }

    /// Has the loop call `again()`.
    fn schedule(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        if this.scheduled.swap(true, Relaxed) {
            return Ok(());
        }
        let called = slf
            .getattr(intern!(py, "again"))
            .and_then(|again| this.call_soon(py, again));
        called.inspect_err(|_| this.scheduled.store(false, Relaxed))
    }

    fn call_soon(&self, py: Python<'_>, function: Bound<'_, PyAny>) -> PyResult<()> {
        let Some((_, event_loop)) = &self.hub else {
            return Ok(());
        };
        let event_loop = event_loop.call0(py)?.into_bound(py);
        if event_loop.is_none() {
            return Ok(()); // it is gone, and we with it
        }
        call_method(&event_loop, intern!(py, "call_soon"), (function,)).map(drop)
    }

    #[inline]
    fn run(&self, py: Python<'_>, accepted: Call) -> PyResult<()> {
        let (function, args, context) = match accepted {
            Call::Soon(function, args, context) => (function.into_bound(py), args.into_bound(py), context),
            Call::Step(it) => return call_method(self.runner.bind(py), intern!(py, "step"), (it,)).map(drop),
        };
        let result = match context {
            None => call(&function, args),
            Some(context) => context::call(context.bind(py), &function, &args),
        };
        let Err(error) = result else { return Ok(()) };
        if error.is_instance_of::<PyKeyboardInterrupt>(py) || error.is_instance_of::<PySystemExit>(py) {
            return Err(error);
        }
        let failed = (error.into_value(py), function);
        call_method(self.runner.bind(py), intern!(py, "failed"), failed).map(drop)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        Python::try_attach(|py| {
            let on_its_way = PyErr::take(py);
            if let Err(error) = self.end(py) {
                error.write_unraisable(py, None);
            }
            if let Some(error) = on_its_way {
                error.restore(py);
            }
        });
    }
}
