//! The portal's Python classes: the inbox that threads put calls into, and the receiver that runs them in the loop's thread.
//!
//! One inbox per portal: what was accepted, in the order in which it came, and an event that is up while there is some of it.
//! Whoever puts first, and then notifies; whoever takes first clears, and then looks: so nothing is overlooked, and only the
//! first call of a batch wakes the loop. Calls go in and out under `AttachedCell`, and nothing of Python runs there.

use crate::python::{
    arguments::no_arguments,
    asyncio::Raise,
    attached_cell::AttachedCell,
    call::{call, call_method},
    context,
    errors::{ClosedResourceError, LoopClosedError},
    event,
    fairness::Clock,
    hub::{Hub, Raise},
    queue::state::no_memory,
};
use crate::{capacity, process::epoch::epoch};
use pyo3::{
    PyTraverseError, PyVisit,
    exceptions::{PyKeyboardInterrupt, PySystemExit, PyTypeError},
    intern,
    prelude::*,
    types::{PyDict, PyList, PyTuple, PyType, PyWeakrefReference},
};
use std::{
    collections::VecDeque,
    mem,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread::{self, ThreadId},
};

enum Call {
    /// `call_soon`. The copy of the caller's context, if there is anything in it.
    Soon {
        function: Py<PyAny>,
        args: Py<PyTuple>,
        context: Option<Py<PyAny>>,
    },
    /// Whatever `runner.step()` takes.
    Step(Py<PyAny>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    Open,
    /// By `close()`: what is in there still runs.
    Closed,
    /// The loop runs nothing any more.
    Gone,
}

struct State {
    calls: VecDeque<Call>,
    life: Life,
    /// The number of calls that were taken out and have not ended: more than one if a call runs the loop inside the loop.
    busy: usize,
    /// Nobody has the portal any more.
    dropped: bool,
    /// The thread of the last turn.
    thread: ThreadId,
}

/// What one portal has accepted. The portal and its receiver share it.
#[pyclass(module = "wakefd._wakefd", frozen)]
pub(crate) struct Inbox {
    state: AttachedCell<State>,
    event: Py<event::IoEvent>,
    copy_context: Py<PyAny>,
    epoch: u32,
    reported: AtomicBool,
}

#[pymethods]
impl Inbox {
    #[new]
    fn new(event: Py<event::IoEvent>) -> PyResult<Self> {
        let copy_context = Python::attach(|py| context::copy_context(py).map(|function| function.clone_ref(py)))?;
        Ok(Self {
            state: AttachedCell::new(State {
                calls: VecDeque::new(),
                life: Life::Open,
                busy: 0,
                dropped: false,
                thread: thread::current().id(),
            }),
            event,
            copy_context,
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

    /// The same of a call that was accepted before: also after close(), and in silence once the loop is gone.
    fn push_again(&self, py: Python<'_>, call: Py<PyAny>) -> PyResult<()> {
        let put = self.put(py, Call::Step(call), true);
        put.or_else(|error| if self.gone(py) { Ok(()) } else { Err(error) })
    }

    /// Have the receiver look.
    fn notify(&self, py: Python<'_>) {
        if let Err(error) = self.event.get().notify_attached(py) {
            self.report(py, error);
        }
    }

    /// Accept no more.
    fn close(&self, py: Python<'_>) {
        self.state.with(py, |state| {
            if state.life == Life::Open {
                state.life = Life::Closed;
            }
        });
        if self.epoch == epoch() {
            self.notify(py);
        }
    }

    /// True unless calls are accepted.
    #[getter]
    fn closed(&self, py: Python<'_>) -> bool {
        self.epoch != epoch() || self.state.with(py, |state| state.life) != Life::Open
    }

    /// True once the loop is gone.
    #[getter]
    fn gone(&self, py: Python<'_>) -> bool {
        self.epoch != epoch() || self.state.with(py, |state| state.life) == Life::Gone
    }

    /// How many calls have not begun.
    #[getter]
    fn size(&self, py: Python<'_>) -> usize {
        self.state.with(py, |state| state.calls.len())
    }

    /// True if no call is in there, and none of them runs now.
    #[getter]
    fn quiet(&self, py: Python<'_>) -> bool {
        self.state.with(py, |state| state.calls.is_empty() && state.busy == 0)
    }

    /// True in a thread in which a call of this portal runs now.
    #[getter]
    fn here(&self, py: Python<'_>) -> bool {
        let here = thread::current().id();
        self.state.with(py, |state| state.busy > 0 && state.thread == here)
    }

    #[allow(clippy::needless_pass_by_value)] // PyO3's signature
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.event)?;
        self.state.traverse(&visit, |state| {
            state.calls.iter().try_for_each(|call| match call {
                Call::Soon {
                    function,
                    args,
                    context,
                } => {
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
    fn put(&self, py: Python<'_>, call: Call, again: bool) -> PyResult<()> {
        if self.epoch != epoch() {
            return Err(LoopClosedError::new_err(
                "this portal was made before the fork: its event loop runs in the parent process; make a portal in a loop \
                 of the child's own",
            ));
        }
        let mut call = Some(call);
        let (life, room) = self.state.with(py, |state| {
            let room = state.calls.try_reserve(1).is_ok();
            if room && (state.life == Life::Open || (again && state.life == Life::Closed)) {
                state.calls.extend(call.take());
            }
            (state.life, room)
        });
        if call.is_none() {
            self.notify(py);
            return Ok(());
        }
        Err(match life {
            _ if !room => no_memory(py),
            Life::Gone => LoopClosedError::new_err("the portal's event loop is closed"),
            _ => ClosedResourceError::new_err("this portal is closed"),
        })
    }

    #[cold]
    fn report(&self, py: Python<'_>, error: std::io::Error) {
        if self.reported.swap(true, Relaxed) {
            return;
        }
        let error = crate::python::errors::os_error(error);
        let report = || py.import("wakefd._portal")?.call_method1("report", (error.value(py),));
        if let Err(error) = report() {
            error.write_unraisable(py, None);
        }
    }
}

/// Calls into an event loop from threads.
///
/// The base class of `wakefd.Portal`, which adds what needs an event loop.
#[pyclass(module = "wakefd._wakefd", frozen, subclass, weakref)]
pub(crate) struct Portal {
    #[pyo3(get, name = "_inbox")]
    inbox: Py<Inbox>,
    /// The receiver's.
    #[pyo3(get, name = "_runner")]
    runner: Py<PyAny>,
}

#[pymethods]
#[allow(clippy::unused_self)] // the data model's signatures
impl Portal {
    #[classmethod]
    #[new]
    #[pyo3(signature = (*args: "object", **kwargs: "object"), text_signature = "()")]
    fn new(cls: &Bound<'_, PyType>, args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        no_arguments(cls, args, kwargs)?;
        let py = cls.py();
        let runner = py.import("wakefd._loops")?.call_method0("open_portal")?;
        Ok(Self {
            inbox: runner.getattr("inbox")?.extract()?,
            runner: runner.unbind(),
        })
    }

    /// Have `function(*args)` called in the loop's thread, in a copy of this thread's context.
    ///
    /// Callable from any thread, the loop's own included, from `__del__`, weakref callbacks and signal handlers; it never
    /// blocks. Calls of one thread run in their order. An exception goes to the loop's exception handler (asyncio) or is
    /// logged. If the loop is closed before the call has run, that is logged.
    ///
    /// Raise LoopClosedError if the loop is closed, ClosedResourceError if the portal is; TypeError if the function is not
    /// callable; MemoryError if there is no memory for the call, which is not in then. Never because a wake-up was refused: the call is in, and the refusal is logged.
    #[pyo3(signature = (function, /, *args: "object"))]
    fn call_soon(&self, py: Python<'_>, function: &Bound<'_, PyAny>, args: &Bound<'_, PyTuple>) -> PyResult<()> {
        if !function.is_callable() {
            return Err(not_callable(function));
        }
        let inbox = self.inbox.get();
        // Of a thread, it is usually empty: then there is nothing to keep, and nothing for the collector to look at.
        let context = inbox.copy_context.bind(py).call0()?;
        let call = Call::Soon {
            function: function.clone().unbind(),
            args: args.clone().unbind(),
            context: (context.len()? > 0).then(|| context.unbind()),
        };
        inbox.put(py, call, false)
    }

    /// Accept no more calls: they raise ClosedResourceError from now on. What was accepted runs in the loop's next turns.
    ///
    /// Callable from any thread; returns at once. Closing it again does nothing.
    fn close(&self, py: Python<'_>) {
        self.inbox.get().close(py);
    }

    /// True once close() was called, or the loop is closed.
    #[getter]
    fn closed(&self, py: Python<'_>) -> bool {
        self.inbox.get().closed(py)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let inbox = slf.get().inbox.get();
        let state = match () {
            () if inbox.gone(slf.py()) => "loop closed",
            () if inbox.closed(slf.py()) => "closed",
            () => "open",
        };
        let (count, name) = (inbox.size(slf.py()), slf.get_type().name()?);
        Ok(format!("<wakefd.{name} {state}, {count} to run at {:p}>", slf.as_ptr()))
    }

    fn __reduce__(&self) -> PyResult<String> {
        Err(not_copyable())
    }

    #[allow(clippy::needless_pass_by_value)] // PyO3's signature
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.inbox)?;
        visit.call(&self.runner)
    }
}

impl Drop for Portal {
    /// As close(); and when all is done, the receiver leaves the loop.
    fn drop(&mut self) {
        Python::try_attach(|py| {
            let inbox = self.inbox.get();
            inbox.state.with(py, |state| state.dropped = true);
            inbox.close(py);
        });
    }
}

fn not_callable(function: &Bound<'_, PyAny>) -> PyErr {
    match function.repr() {
        Ok(repr) => PyTypeError::new_err(format!("a portal calls functions: {repr} is not callable")),
        Err(error) => error,
    }
}

fn not_copyable() -> PyErr {
    PyTypeError::new_err("a Portal cannot be copied or pickled: pass the object itself to threads")
}

/// The portal's end in its loop, whose thread alone uses it. When it goes, the loop is gone.
///
/// asyncio: `begin()`. The loop's hub alone owns it, but for a moment in which the loop itself does (`call_soon`): both let go
/// of it in `loop.close()`. Others: call `turn()` whenever the event rises, and `end()` at the end.
///
/// `runner`, in Python, knows the loop: `step(call)`; `failed(error, function)` for what a callback has raised; `rest()`, told
/// of a closed portal whose calls have all begun, returns True if they have all ended, too; `gone(calls)` with what will never
/// run: calls, and the arguments of `Context.run`.
#[pyclass(module = "wakefd._wakefd", frozen, weakref)]
pub(crate) struct Receiver {
    inbox: Py<Inbox>,
    runner: Py<PyAny>,
    /// asyncio's, and a weak reference to the loop.
    hub: Option<(Py<Hub>, Py<PyAny>)>,
    /// Of the wait at the hub; 0: none.
    ticket: AtomicU64,
    /// The loop will call `again()`.
    scheduled: AtomicBool,
    /// `again()` is to come after what raises.
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
            // Who calls us has yet to clear the event, or it is down.
            let seen = inbox.event.get().inner.event.pipe.word().rises();
            let who = slf.clone().into_any().unbind();
            let ticket = hub
                .borrow_mut(slf.py())
                .wait_after(inbox.event.get(), Some(seen), who)?;
            this.ticket.store(ticket, Relaxed);
        }
        Ok(())
    }

    /// Run calls until there are none, or the turn is over. Return True if there are more: let the loop have its turn, and
    /// call again.
    ///
    /// Raise what ends a loop, KeyboardInterrupt and SystemExit; then there may be more, too.
    fn turn(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let (py, this) = (slf.py(), slf.get());
        let here = thread::current().id();
        this.inbox.get().state.with(py, |state| state.thread = here);
        let run = slf.getattr(intern!(py, "_run"))?;
        this.rest_of_turn.with(py, |turn| *turn = Clock::FRESH);
        loop {
            let context = this.context.with(py, Option::take); // not there: a callback runs the loop inside the loop
            let context = context.map_or_else(|| context::empty(py), |context| Ok(context.into_bound(py)))?;
            let ended = call(context::run(py)?.bind(py), (&context, &run, &context));
            if context.len()? == 0 {
                let old = this.context.with(py, |mine| mine.replace(context.unbind()));
                drop(old);
            }
            if let Some(more) = ended?.extract()? {
                return Ok(more);
            }
        }
    }

    /// In an empty context, for those who brought none: one for all of them, until one of them leaves something in it (None).
    fn _run(slf: &Bound<'_, Self>, context: &Bound<'_, PyAny>) -> PyResult<Option<bool>> {
        let (py, this) = (slf.py(), slf.get());
        let inbox = this.inbox.get();
        let event = &inbox.event.get().inner.event;
        let mut turn = this.rest_of_turn.with(py, |turn| *turn);
        let mut ended = 0; // calls that `busy` still counts: one or none
        let more = loop {
            if !turn.within() {
                break Ok(Some(true));
            }
            if context.len()? > 0 {
                break Ok(None);
            }
            let (call, last, nested) = inbox.state.with(py, |state| {
                state.busy -= mem::take(&mut ended);
                let nested = state.busy > 0;
                let call = state.calls.pop_front();
                capacity::shed(&mut state.calls);
                state.busy += usize::from(call.is_some());
                (call, state.calls.is_empty(), nested)
            });
            if let Some(call) = call {
                ended = 1;
                Self::share(slf, last);
                if let Err(error) = this.run(py, call) {
                    break Err(error);
                }
                continue;
            }
            let _ = event.clear(); // no descriptor, nothing to fail
            let (empty, life, dropped) = inbox
                .state
                .with(py, |state| (state.calls.is_empty(), state.life, state.dropped));
            if empty {
                // In a nested turn, the outer one's call has not ended.
                if life == Life::Closed && !nested {
                    let at_rest: bool = this.runner.call_method0(py, intern!(py, "rest"))?.extract(py)?;
                    if at_rest && dropped {
                        this.finished.store(true, Relaxed);
                    }
                }
                break Ok(Some(false));
            }
        };
        this.rest_of_turn.with(py, |rest| *rest = turn);
        inbox.state.with(py, |state| state.busy -= ended);
        more
    }

    /// True if nobody will ever call again, and all calls have ended.
    #[getter]
    fn finished(&self) -> bool {
        self.finished.load(Relaxed)
    }

    /// The loop is gone: from now on calls are refused, and those who have made one that will never run are told.
    fn end(&self, py: Python<'_>) -> PyResult<()> {
        let inbox = self.inbox.get();
        let calls = inbox.state.with(py, |state| {
            if mem::replace(&mut state.life, Life::Gone) == Life::Gone {
                None
            } else {
                Some(mem::take(&mut state.calls))
            }
        });
        let Some(calls) = calls else { return Ok(()) };
        if inbox.epoch != epoch() {
            return Ok(()); // the parent's
        }
        let calls = calls.into_iter().map(|call| match call {
            Call::Soon { function, .. } => function,
            Call::Step(call) => call,
        });
        let calls = PyList::new(py, calls)?;
        call_method(self.runner.bind(py), intern!(py, "gone"), (calls,)).map(drop)
    }

    /// The event has risen: from the hub.
    fn __call__(slf: &Bound<'_, Self>, _rose: bool) -> PyResult<()> {
        slf.get().ticket.store(0, Relaxed);
        Self::serve(slf)
    }

    /// The next turn: from the loop.
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
    /// A turn, and what must follow it on asyncio.
    fn serve(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        // First this, then the calls: what rises from here on makes another turn. If the hub's token is refused, there will
        // be one, too.
        let waits = Self::begin(slf).is_ok();
        let more = Self::turn(slf).or_else(|error| {
            // As in `Reader.dispatch`: raised here, the traceback would keep us alive past the end of the loop.
            let error = error.into_value(py).into_any();
            this.postponed.store(this.scheduled.load(Relaxed), Relaxed);
            this.call_soon(py, Bound::new(py, Raise { error })?.into_any())?;
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

    /// Sees to it that what is left, and what comes, is called although the next call may run the loop inside the loop: a
    /// nested turn of the loop goes on with it.
    fn share(slf: &Bound<'_, Self>, last: bool) {
        let this = slf.get();
        if this.hub.is_none() {
            return; // trio runs no loop inside a loop
        }
        let inbox = this.inbox.get();
        if last {
            let _ = inbox.event.get().inner.event.clear(); // what comes from now on wakes the loop
        }
        if !last || inbox.size(slf.py()) > 0 {
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
        let event_loop = self
            .hub
            .as_ref()
            .map(|(_, event_loop)| event_loop.call0(py))
            .transpose()?;
        match event_loop {
            Some(event_loop) if !event_loop.is_none(py) => {
                call_method(event_loop.bind(py), intern!(py, "call_soon"), (function,)).map(drop)
            }
            _ => Ok(()), // it is gone, and we with it
        }
    }

    #[inline]
    fn run(&self, py: Python<'_>, accepted: Call) -> PyResult<()> {
        let (function, args, context) = match accepted {
            Call::Soon {
                function,
                args,
                context,
            } => (function.into_bound(py), args.into_bound(py), context),
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
