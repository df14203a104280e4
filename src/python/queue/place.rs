//! What the methods of a queue are made of: an attempt, whom to wake after it, and how a thread waits.
//!
//! Items go in and out under `AttachedCell`, and nothing of Python runs there: no comparison, no destructor, no allocation of
//! what the garbage collector tracks. Events are notified afterwards.

use crate::python::{
    attached_cell,
    event::{self, IoEvent},
    queue::priority::Plan,
    queue::{Empty, Queue, QueueFull, QueueShutDown},
};
use crate::queue::{self, Number, Refusal, Side};
use pyo3::{PyTypeInfo, call::PyCallArgs, exceptions::PyException, ffi, intern, prelude::*, types::PyList};
use std::{collections::VecDeque, io, mem, time::Instant};

pub(in crate::python) type Core = queue::Queue<Py<PyAny>, Py<IoEvent>>;

pub(in crate::python) struct State {
    pub(in crate::python) queue: Core,
    /// Up iff there is something to get, or it is shut down; made when somebody asks.
    pub(in crate::python) readable: Option<Py<IoEvent>>,
    /// Up iff nothing is unfinished; made when somebody asks.
    pub(in crate::python) finished: Option<Py<IoEvent>>,
    /// Those whose wake-up the system refused. It is tried again at each operation.
    refused: Vec<Py<IoEvent>>,
    /// What the system said to that, until it is reported.
    error: Option<io::Error>,
    reported: bool,
}

impl State {
    pub(in crate::python) fn new(maxsize: i64, stack: bool) -> Self {
        Self {
            queue: Core::new(maxsize, stack),
            readable: None,
            finished: None,
            refused: Vec::new(),
            error: None,
            reported: false,
        }
    }

    /// A wake-up was refused: `try_again`.
    #[inline]
    fn trouble(&self) -> bool {
        self.error.is_some() || !self.refused.is_empty()
    }

    /// Not only whom it wakes must hear of a change.
    #[inline]
    pub(in crate::python) fn shows(&self) -> bool {
        self.readable.is_some() || self.finished.is_some() || self.trouble()
    }

    #[inline]
    fn settle(&mut self) {
        if self.readable.is_some() || self.finished.is_some() {
            self.show();
        }
    }

    /// Under `AttachedCell`, so that the last word is true. A system call at most each, and nothing of Python.
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
pub(in crate::python) struct Spot {
    pub(in crate::python) side: Side,
    number: Number,
    pub(in crate::python) event: Py<IoEvent>,
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

    /// # Errors
    /// No memory: not in line, and woken if it was.
    fn enlist(&mut self, py: Python<'_>, queue: &mut Core) -> Result<(), Refusal> {
        let listed = queue.enlist(self.side, self.number, self.event.clone_ref(py));
        listed.map_err(|_| Refusal::NoMemory)?;
        self.enlisted = true;
        self.woken = false;
        Ok(())
    }
}

/// What became of an attempt.
pub(in crate::python) enum Step<T> {
    Done(T),
    /// Enlisted, if there is a place.
    NotNow,
    /// Another thread was at it since the caller looked.
    Changed,
}

impl Queue {
    /// Does something to the items, and shows it.
    pub(in crate::python) fn change<R>(&self, py: Python<'_>, change: impl FnOnce(&mut Core) -> R) -> R {
        let (result, trouble) = self.state.with(py, |state| {
            let result = change(&mut state.queue);
            state.settle();
            (result, state.trouble())
        });
        if trouble {
            self.try_again(py);
        }
        result
    }

    /// One attempt. Wakes whom it concerns.
    #[inline]
    fn step<T>(
        &self,
        py: Python<'_>,
        side: Side,
        mut spot: Option<&mut Spot>,
        attempt: impl FnOnce(&mut Core) -> Result<(T, Option<Py<IoEvent>>), Refusal>,
    ) -> PyResult<Step<T>> {
        let (result, trouble) = self.state.with(py, |state| {
            if let Some(spot) = spot.as_deref_mut() {
                spot.is_back(&mut state.queue);
            }
            let mut result = attempt(&mut state.queue);
            match (&result, spot) {
                (Ok(_), spot) => {
                    state.settle();
                    if let Some(spot) = spot {
                        spot.woken = false;
                    }
                }
                (Err(Refusal::NotNow), Some(spot)) => {
                    if let Err(refusal) = spot.enlist(py, &mut state.queue) {
                        result = Err(refusal);
                    }
                }
                _ => {}
            }
            (result, state.trouble())
        });
        if trouble {
            self.try_again(py);
        }
        match result {
            Ok((value, woken)) => {
                if let Some(event) = woken {
                    self.wake_one(py, event);
                }
                Ok(Step::Done(value))
            }
            Err(Refusal::NotNow) => Ok(Step::NotNow),
            Err(Refusal::Changed) => Ok(Step::Changed),
            Err(Refusal::Shut) => Err(shut(py, side)),
            Err(Refusal::NoMemory) => Err(no_memory(py)),
        }
    }

    /// True: it is in.
    #[inline]
    pub(in crate::python) fn put_step(
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
        let mut attempts = self.peace.attempts();
        while let Some(it) = item {
            attempts.next(py);
            let Some(plan) = Plan::push(self, py, it)? else {
                continue;
            };
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
    pub(in crate::python) fn put_many_step(
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
                queue.put_many(items).map(|count| (count, None))
            })?;
            match step {
                Step::Done(count) => self.wake_many(py, Side::Get, count),
                Step::NotNow => return Ok(None),
                Step::Changed => {}
            }
            if items.is_empty() {
                return Ok(Some(()));
            }
        }
    }

    #[inline]
    pub(in crate::python) fn get_step(
        &self,
        py: Python<'_>,
        mut spot: Option<&mut Spot>,
    ) -> PyResult<Option<Py<PyAny>>> {
        if !self.heap {
            let step = self.step(py, Side::Get, spot, Core::get)?;
            return Ok(match step {
                Step::Done(item) => Some(item),
                Step::NotNow | Step::Changed => None,
            });
        }
        let mut attempts = self.peace.attempts();
        loop {
            attempts.next(py);
            let Some(plan) = Plan::pop(self, py)? else {
                continue;
            };
            let step = self.step(py, Side::Get, spot.as_deref_mut(), |queue| {
                plan.apply(queue)?;
                queue.get()
            })?;
            match step {
                Step::Done(item) => return Ok(Some(item)),
                Step::NotNow => return Ok(None),
                Step::Changed => {}
            }
        }
    }

    /// It does not take the item for which it may have been woken: `leave` passes the baton.
    pub(in crate::python) fn peek_step(
        &self,
        py: Python<'_>,
        mut spot: Option<&mut Spot>,
    ) -> PyResult<Option<Py<PyAny>>> {
        let (result, trouble) = self.state.with(py, |state| {
            let queue = &mut state.queue;
            if let Some(spot) = spot.as_deref_mut() {
                spot.is_back(queue);
            }
            let next = if self.heap { queue.items().front() } else { queue.next() };
            let mut result = match next {
                Some(item) => Ok(item.clone_ref(py)),
                None => Err(queue.nothing()),
            };
            if let (Err(Refusal::NotNow), Some(spot)) = (&result, spot) {
                if let Err(refusal) = spot.enlist(py, queue) {
                    result = Err(refusal);
                }
            }
            (result, state.trouble())
        });
        if trouble {
            self.try_again(py);
        }
        match result {
            Ok(item) => Ok(Some(item)),
            Err(Refusal::Shut) => Err(shut(py, Side::Get)),
            Err(Refusal::NoMemory) => Err(no_memory(py)),
            Err(Refusal::NotNow | Refusal::Changed) => Ok(None),
        }
    }

    pub(in crate::python) fn get_many_step<'py>(
        &self,
        py: Python<'py>,
        mut spot: Option<&mut Spot>,
        most: usize,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        if most == 0 {
            return Ok(Some(new_list(py, 0)?.into_any()));
        }
        if self.heap {
            return self.get_sorted(py, spot, most);
        }
        loop {
            // The list and the room for the items are made first: nothing can fail once items are out. Making them may let others
            // take some.
            let count = self.look(py, |queue| queue.items().len()).min(most);
            let list = new_list(py, count)?;
            let mut items = Vec::new();
            let with_gil = !attached_cell::is_free_threaded();
            if !with_gil {
                items.try_reserve_exact(count).map_err(|_| no_memory(py))?;
            }
            let step = self.step(py, Side::Get, spot.as_deref_mut(), |queue| {
                match queue.items().len() {
                    0 => return Err(queue.nothing()),
                    len if count == 0 || len < count => return Err(Refusal::Changed),
                    _ => {}
                }
                if with_gil {
                    // At once: a quarter faster.
                    let mut at = 0;
                    queue.get_many(count, |item| {
                        set(&list, at, item);
                        at += 1;
                    });
                } else {
                    queue.get_many(count, |item| items.push(item));
                }
                Ok(((), None))
            })?;
            match step {
                Step::Done(()) => {
                    fill(&list, items);
                    self.wake_many(py, Side::Put, count);
                    return Ok(Some(list.into_any()));
                }
                Step::NotNow => return Ok(None),
                Step::Changed => {}
            }
        }
    }

    /// Of a heap, one by one. An exception from a comparison leaves what was not taken yet, and comes again.
    ///
    /// What does not (see `or_again`) is raised, and what was taken goes back. To return the items and have the interrupt come
    /// again would lose them: it would come as soon as this call has ended, before the caller has assigned them.
    fn get_sorted<'py>(
        &self,
        py: Python<'py>,
        spot: Option<&mut Spot>,
        most: usize,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let list = new_list(py, 0)?;
        let mut next = self.get_step(py, spot)?;
        let mut failed = None;
        while let Some(item) = next.take() {
            if let Err(error) = list.append(&item) {
                let given = self.give_back(py, item); // no memory
                failed = given.err().or_else(|| list.is_empty().then_some(error));
            } else if list.len() < most {
                match or_again(py, self.get_step(py, None)) {
                    Ok(item) => next = item,
                    Err(error) => failed = Some(error),
                }
            }
        }
        let Some(mut failed) = failed else {
            return Ok((!list.is_empty()).then(|| list.into_any()));
        };
        for item in &list {
            if let Err(error) = self.give_back(py, item.unbind()) {
                failed = error;
            }
        }
        Err(failed)
    }

    /// Tries, and sleeps in between, until it is done or the time is up (`None`).
    pub(in crate::python) fn block<T>(
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

    pub(in crate::python) fn enter(&self, py: Python<'_>, side: Side) -> PyResult<Spot> {
        let (number, spare) = self
            .state
            .with(py, |state| (state.queue.number(side), state.queue.spare()));
        Ok(Spot {
            side,
            number,
            event: spare.map_or_else(|| IoEvent::fresh(py), Ok)?,
            enlisted: false,
            woken: false,
        })
    }

    /// In line, as there is nothing to do but to wait. False: make an attempt.
    pub(in crate::python) fn line_up(&self, py: Python<'_>, spot: &mut Spot) -> PyResult<bool> {
        let lined_up = self.state.with(py, |state| {
            let queue = &mut state.queue;
            spot.is_back(queue);
            let wait = !queue.is_shut() && !queue.can(spot.side);
            if wait {
                spot.enlist(py, queue)?;
            }
            Ok::<_, Refusal>(wait)
        });
        lined_up.map_err(|_| no_memory(py))
    }

    pub(in crate::python) fn leave(&self, py: Python<'_>, mut spot: Spot) {
        let side = spot.side;
        let (baton, event) = self.state.with(py, |state| {
            spot.is_back(&mut state.queue);
            let baton = if spot.woken { state.queue.baton(side) } else { None };
            (baton, state.queue.spared(spot.event))
        });
        self.wake(py, baton);
        drop(event);
    }

    /// Notifies those who are to look again.
    #[inline]
    pub(in crate::python) fn wake(&self, py: Python<'_>, woken: impl IntoIterator<Item = Py<IoEvent>>) {
        for event in woken {
            self.wake_one(py, event);
        }
    }

    /// Notifies up to `most` of those who wait on that side, one after the other: a list of them might find no memory. Who comes
    /// meanwhile, and takes what they were to have, leaves the others in line.
    pub(in crate::python) fn wake_many(&self, py: Python<'_>, side: Side, most: usize) {
        for _ in 0..most {
            let Some(event) = self.state.with(py, |state| state.queue.baton(side)) else {
                return;
            };
            self.wake_one(py, event);
        }
    }

    fn wake_one(&self, py: Python<'_>, event: Py<IoEvent>) {
        // As in IoEvent.notify: a thread that is woken wants the GIL at once.
        if let Err(error) = event.get().notify_attached(py) {
            let without_memory = self.state.with(py, |state| {
                state.error = Some(error);
                if state.refused.try_reserve(1).is_err() {
                    return Some(event);
                }
                state.refused.push(event);
                None
            });
            drop(without_memory);
            self.report(py);
        }
    }

    #[cold]
    fn try_again(&self, py: Python<'_>) {
        for event in self.state.with(py, |state| mem::take(&mut state.refused)) {
            self.wake_one(py, event);
        }
        self.report(py);
    }

    #[cold]
    fn report(&self, py: Python<'_>) {
        let error = self.state.with(py, |state| {
            let error = state.error.take();
            error.filter(|_| !mem::replace(&mut state.reported, true))
        });
        if let Some(error) = error {
            report(py, error);
        }
    }

    pub(in crate::python) fn lazily(
        &self,
        py: Python<'_>,
        which: fn(&mut State) -> &mut Option<Py<IoEvent>>,
    ) -> PyResult<Py<IoEvent>> {
        if let Some(event) = self
            .state
            .with(py, |state| which(state).as_ref().map(|event| event.clone_ref(py)))
        {
            return Ok(event);
        }
        let fresh = IoEvent::fresh(py)?;
        Ok(self.state.with(py, |state| {
            let event = which(state).get_or_insert(fresh).clone_ref(py);
            state.settle();
            event
        }))
    }

    pub(in crate::python) fn look<R>(&self, py: Python<'_>, look: impl FnOnce(&Core) -> R) -> R {
        self.state.with(py, |state| look(&state.queue))
    }

    /// # Errors
    /// What a comparison raised that does not come again: the item is in nevertheless. MemoryError: it is not.
    fn give_back(&self, py: Python<'_>, item: Py<PyAny>) -> PyResult<()> {
        let mut item = Some(item);
        let mut interrupted = Ok(());
        let mut attempts = self.peace.attempts();
        while let Some(it) = item.take() {
            let plan = if self.heap {
                attempts.next(py);
                match Plan::push(self, py, &it) {
                    Ok(Some(plan)) => Some(plan),
                    Ok(None) => {
                        item = Some(it);
                        continue;
                    }
                    Err(error) if interrupted.is_ok() && !comes_again(py, &error) => {
                        interrupted = Err(error); // the comparison itself may be all right
                        item = Some(it);
                        continue;
                    }
                    Err(_) => None, // at the end: out of order, but not lost
                }
            } else {
                None
            };
            let given = self.change(py, |queue| {
                if plan.as_ref().is_some_and(|plan| plan.check(queue).is_err()) {
                    return Err(Some(it));
                }
                let given = queue.give_back(it);
                if let (Ok(_), Some(plan)) = (&given, plan) {
                    plan.pushed(queue);
                }
                Ok(given)
            });
            match given {
                Ok(Ok(woken)) => self.wake(py, woken),
                Ok(Err((refusal, gone))) => {
                    drop(gone); // may run Python code
                    if refusal == Refusal::NoMemory {
                        return Err(no_memory(py));
                    }
                }
                Err(again) => item = again,
            }
        }
        interrupted
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

/// An exception from a comparison comes again at the next attempt: here it is as if there were nothing.
///
/// # Errors
/// What does not come again: KeyboardInterrupt, SystemExit and the like, which a signal handler may have raised while a
/// comparison ran. Who drops it has swallowed it.
pub(in crate::python) fn or_again<T>(py: Python<'_>, result: PyResult<Option<T>>) -> PyResult<Option<T>> {
    result.or_else(|error| if comes_again(py, &error) { Ok(None) } else { Err(error) })
}

fn comes_again(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyException>(py)
}

pub(in crate::python) fn new_list(py: Python<'_>, count: usize) -> PyResult<Bound<'_, PyList>> {
    let count = isize::try_from(count).unwrap_or(isize::MAX);
    // SAFETY: a new list, or an exception. Nobody sees it before its items are set.
    let list = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyList_New(count)) }?;
    Ok(list.cast_into::<PyList>()?)
}

/// Puts them at the beginning of a new list, which has room for them.
pub(in crate::python) fn fill<T>(list: &Bound<'_, PyList>, items: Vec<Py<T>>) {
    for (at, item) in (0..).zip(items) {
        set(list, at, item);
    }
}

/// The item at `at` of a new list. Not under `AttachedCell` where there may be no GIL: CPython locks the list then, and whoever
/// waits for a lock lets others run.
fn set<T>(list: &Bound<'_, PyList>, at: isize, item: Py<T>) {
    // SAFETY: if `at` is not less than the length it is an error, else nothing was there; it takes the reference over.
    unsafe { ffi::PyList_SetItem(list.as_ptr(), at, item.into_ptr()) };
}

pub(in crate::python) fn shut(py: Python<'_>, side: Side) -> PyErr {
    let why = match side {
        Side::Get => "the queue is shut down, and empty",
        Side::Put => "the queue is shut down",
    };
    refusal::<QueueShutDown>(py, (why,))
}

/// MemoryError, without asking for memory.
#[cold]
pub(in crate::python) fn no_memory(py: Python<'_>) -> PyErr {
    // SAFETY: this thread is attached. It sets the exception, and returns null.
    unsafe { ffi::PyErr_NoMemory() };
    PyErr::fetch(py)
}

pub(in crate::python) fn full(py: Python<'_>) -> PyErr {
    refusal::<QueueFull>(py, ())
}

/// An exception with the attribute `accepted`, which the standard library's QueueShutDown does not have by itself.
///
/// The exception is made at once: PyO3 makes a lazy one by an attach of its own, which panics while the interpreter ends.
fn refusal<'py, E: PyTypeInfo>(py: Python<'py>, args: impl PyCallArgs<'py>) -> PyErr {
    let error = py.get_type::<E>().call1(args).and_then(|error| {
        error.setattr(intern!(py, "accepted"), 0)?;
        Ok(PyErr::from_value(error))
    });
    error.unwrap_or_else(|failed| failed)
}

/// Of a wake-up that was refused.
#[cold]
pub(in crate::python) fn report(py: Python<'_>, error: io::Error) {
    let error = crate::python::errors::os_error(error);
    let report = || py.import("wakefd._queue")?.call_method1("report", (error.value(py),));
    if let Err(error) = report() {
        error.write_unraisable(py, None);
    }
}

pub(in crate::python) fn empty() -> PyErr {
    Empty::new_err(())
}
