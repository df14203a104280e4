//! Fairness: a time budget for each turn of a loop, for tasks that never have to wait.
//!
//! The loop's `Turn` knows when its turn began: it puts itself into the loop as a marker, and the loop calls the marker in
//! its next turn. A marker costs a pass over the loop's selector, so there is none until tasks have worked for
//! `CLOCK_INTERVAL`; from then on the turn lasts `BUDGET`. A task that finds the turn over pauses: the loop has its next turn before
//! the operation. A task that comes later does not overtake it, as the turn stays over until the first pause has ended.

use super::{
    attached_cell::{AttachedCell, attached},
    call::call,
    once::get_or_look_up,
};
use pyo3::{PyTraverseError, PyVisit, ffi, intern, prelude::*, sync::PyOnceLock};
use std::{
    cell::Cell,
    mem,
    time::{Duration, Instant},
};

/// How long a turn may last. A timer of asyncio's takes two turns of the loop; under a flood of one thread that holds the
/// GIL for 5 ms at a time, 2 ms here made a 1 ms ticker three times as slow as in an idle loop, and this a tenth.
const BUDGET: Duration = Duration::from_micros(500);
/// Reading the clock costs as much as one item, so the clock is read about once per `CLOCK_INTERVAL` of work.
const CLOCK_INTERVAL: Duration = Duration::from_micros(100);
const MOST: u32 = 32;

/// A clock that is not read for each operation.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    /// The end of the time. None until the clock is read for the first time.
    until: Option<Instant>,
    read_at: Option<Instant>,
    /// The number of operations before the clock is read again, out of `per_read`.
    left: u32,
    per_read: u32,
}

impl Clock {
    pub(super) const FRESH: Self = Self {
        until: None,
        read_at: None,
        left: 0,
        per_read: 0,
    };

    /// Whether there is time for one more operation. `batch`: the operation may be a long one.
    #[inline]
    fn ticks(&mut self, batch: bool, time: Duration) -> Result<(), Instant> {
        if self.left > 0 && !batch {
            self.left -= 1;
            return Ok(());
        }
        self.read_clock(time)
    }

    /// # Errors
    /// The time is up. The error is the present time.
    fn read_clock(&mut self, time: Duration) -> Result<(), Instant> {
        let now = Instant::now();
        // Operations that take long are timed one by one; quick ones have the clock read less often each time.
        let quick = self.read_at.is_none_or(|read_at| now - read_at < CLOCK_INTERVAL);
        self.per_read = if quick { (2 * self.per_read).clamp(1, MOST) } else { 1 };
        self.left = 0;
        self.read_at = Some(now);
        if now >= *self.until.get_or_insert(now + time) {
            return Err(now);
        }
        self.left = self.per_read - 1;
        Ok(())
    }

    /// Whether a turn that began at `Clock::FRESH` has time for one more operation.
    pub(super) fn within(&mut self) -> bool {
        self.ticks(false, BUDGET).is_ok()
    }
}

thread_local! {
    // The clock of the loop that runs in this thread, one at a time. The turn lasts until the clock's time is up.
    static CLOCK: Cell<Clock> = const { Cell::new(Clock::FRESH) };
    // Whether a task pauses in a loop of this thread. The loop's `Turn` is asked then.
    static ASK: Cell<bool> = const { Cell::new(false) };
}

/// Notes that the loop of this thread has begun a turn.
pub(super) fn began() {
    if !ASK.get() {
        CLOCK.set(Clock::FRESH);
    }
}

/// Whether the turn of the asyncio loop that runs here has time for one more operation. `batch`: it may be a long one.
///
/// # Errors
/// The exception that the loop or a signal handler has raised.
#[inline]
pub(super) fn within(py: Python<'_>, batch: bool) -> PyResult<bool> {
    match ticks(batch) {
        Ok(()) => Ok(true),
        Err(now) => attached(py, |py| here(py, now)),
    }
}

#[inline]
fn ticks(batch: bool) -> Result<(), Instant> {
    let mut clock = CLOCK.get();
    let ticks = clock.ticks(batch, CLOCK_INTERVAL);
    CLOCK.set(clock);
    ticks
}

#[cold]
fn here(py: Python<'_>, now: Instant) -> PyResult<bool> {
    static TURN: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let turn = get_or_look_up(py, &TURN, || {
        // SAFETY: this thread is attached; objects, or exceptions. (PyO3's own functions panic without memory for a name.)
        unsafe {
            let module =
                Bound::from_owned_ptr_or_err(py, ffi::PyImport_ImportModule(c"wakefd._loops.asyncio".as_ptr()))?;
            let turn = ffi::PyObject_GetAttrString(module.as_ptr(), c"turn".as_ptr());
            Bound::from_owned_ptr_or_err(py, turn).map(Bound::unbind)
        }
    })?;
    let turn = call(turn, ())?;
    if turn.is_none() {
        return Ok(false); // no loop runs here: an iterator that was begun in one is stepped by hand
    }
    Turn::lasts(turn.cast::<Turn>()?, now)
}

/// The turn of one loop.
#[pyclass(module = "wakefd._wakefd", frozen)]
pub(crate) struct Turn {
    state: AttachedCell<TurnState>,
    /// A function that has the loop call its argument in the next turn.
    mark: Py<PyAny>,
}

struct TurnState {
    /// Whether the marker is in the loop. Without it the beginning of the turn is unknown.
    marked: bool,
    /// The end of the turn, if `marked`.
    until: Instant,
    /// Whether a task pauses, and none has come back yet.
    over: bool,
    /// The number of tasks that have paused since the marker was called.
    paused: u32,
    /// The time that each task has after its pause: the tasks share the turn.
    share: Duration,
}

#[pymethods]
impl Turn {
    /// `mark(marker)` has the loop call the marker in its next turn.
    #[new]
    fn new(mark: Py<PyAny>) -> Self {
        Self {
            state: AttachedCell::new(TurnState {
                marked: false,
                until: Instant::now(),
                over: false,
                paused: 0,
                share: BUDGET,
            }),
            mark,
        }
    }

    /// Return True if the turn has time for one more operation, False if the caller is to pause first.
    ///
    /// Raise what the loop raises.
    fn within(slf: &Bound<'_, Self>) -> PyResult<bool> {
        ticks(false).map_or_else(|now| Self::lasts(slf, now), |()| Ok(true))
    }

    /// The caller pauses: until resumed() the turn is over for everybody.
    fn pauses(&self, py: Python<'_>) {
        self.state.with(py, |state| {
            state.over = true;
            state.paused = state.paused.saturating_add(1);
        });
        ASK.set(true);
        CLOCK.set(Clock {
            until: Some(Instant::now()),
            ..Clock::FRESH
        });
    }

    /// The caller is back from a pause, or has given it up.
    fn resumed(&self, py: Python<'_>) {
        let until = self.state.with(py, |state| {
            state.over = false;
            state.until = Instant::now() + state.share;
            state.until
        });
        ASK.set(false);
        CLOCK.set(Clock {
            until: Some(until),
            ..Clock::FRESH
        });
    }

    /// The marker: the loop has begun a turn. The next marker follows at once if this turn belongs to those who have paused.
    fn turned(slf: &Bound<'_, Self>) -> PyResult<()> {
        let marked = slf.get().state.with(slf.py(), |state| {
            let paused = mem::take(&mut state.paused);
            state.marked = paused > 0;
            state.over &= state.marked; // else a task has paused that never came back
            state.share = BUDGET / paused.max(1);
            state.marked
        });
        if marked {
            return Self::mark(slf);
        }
        began();
        Ok(())
    }

    #[allow(clippy::needless_pass_by_value)] // PyO3's signature
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.mark)
    }
}

impl Turn {
    fn lasts(slf: &Bound<'_, Self>, now: Instant) -> PyResult<bool> {
        let (lasts, until, marked) = slf.get().state.with(slf.py(), |state| {
            let marked = mem::replace(&mut state.marked, true);
            if !marked {
                state.until = now + BUDGET;
            }
            (!state.over && now < state.until, state.until, marked)
        });
        if !marked {
            Self::mark(slf)?;
        }
        if lasts {
            ASK.set(false);
            CLOCK.set(Clock {
                until: Some(until),
                ..CLOCK.get()
            });
        }
        Ok(lasts)
    }

    fn mark(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        let turned = slf.getattr(intern!(slf.py(), "turned"));
        let marked = turned.and_then(|turned| call(this.mark.bind(slf.py()), (turned,)));
        if marked.is_err() {
            this.state.with(slf.py(), |state| state.marked = false);
        }
        marked.map(drop)
    }
}
