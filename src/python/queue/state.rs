//! A queue's state as Python's threads share it: its cell, its attempts, and how a thread waits.
//!
//! The protocol is `crate::queue::attempt`; this file says how threads of Python come into the cell and out, and makes
//! exceptions of an `Obstacle`. In the cell nothing of Python runs: no comparison, no destructor, no allocation of what
//! the garbage collector tracks.

use crate::event::EventRef;
use crate::python::{
    attached_cell::{self, AttachedCell, attached},
    errors::{comes_again, no_memory, or_again, report, shut},
    event::{self, IoEvent},
    list::{fill, new_list, set},
    queue::priority::{Peace, Plan},
};
use crate::queue::{
    self, Bells, Obstacle, Side,
    attempt::{self, QueueCell, QueueEvent},
};
use pyo3::prelude::*;
use std::{collections::VecDeque, io, time::Instant};

/// The items and the lines of a queue of Python's.
pub(crate) type Core = queue::Queue<Py<PyAny>, EventRef>;
/// The contents of a queue's cell.
pub(crate) type QueueState = attempt::QueueState<Py<PyAny>, Py<IoEvent>>;
/// A place in one of the lines of a queue.
pub(crate) type PlaceInLine = attempt::PlaceInLine<Py<IoEvent>>;

impl QueueEvent for Py<IoEvent> {
    type Bell = EventRef;

    #[inline]
    fn bell(&self) -> EventRef {
        self.get().inner.event.clone()
    }

    fn lower(&self) {
        let _ = self.get().inner.clear(); // no descriptor, nothing to fail
    }

    fn show(&self, up: bool) -> io::Result<()> {
        let event = &self.get().inner;
        if up {
            event.notify().map(drop)
        } else {
            let _ = event.clear().or_else(|_| event.clear()); // a dead descriptor is given up by the first
            Ok(())
        }
    }
}

/// A queue of items between threads and tasks.
///
/// The base class of `wakefd.Queue`, which adds what needs an event loop.
#[pyclass(module = "wakefd._wakefd", frozen, subclass, weakref)]
pub(crate) struct Queue {
    pub(super) state: AttachedCell<QueueState>,
    /// Whether items come out in their order.
    pub(super) heap: bool,
    pub(super) peace: Peace,
}

/// A queue, and the proof that this thread may come into its cell.
#[derive(Clone, Copy)]
pub(crate) struct AttachedQueue<'a> {
    queue: &'a Queue,
    py: Python<'a>,
}

impl QueueCell for AttachedQueue<'_> {
    type Item = Py<PyAny>;
    type Event = Py<IoEvent>;

    #[inline]
    fn with<R>(&self, act: impl FnOnce(&mut QueueState) -> R) -> R {
        self.queue.state.with(self.py, act)
    }

    #[inline]
    fn notify(&self, bell: &EventRef) -> io::Result<()> {
        event::notify_attached(self.py, bell).map(drop)
    }

    #[cold]
    fn report(&self, error: io::Error) {
        let consequence = "its items stay in, and the next operation tries again";
        report(self.py, "a queue", consequence, error);
    }
}

impl Queue {
    #[inline]
    pub(crate) fn attached<'a>(&'a self, py: Python<'a>) -> AttachedQueue<'a> {
        AttachedQueue { queue: self, py }
    }

    /// Some: the item is in. None: the queue is full, and the place, if there is one, is in line.
    #[inline]
    pub(crate) fn try_put(
        &self,
        py: Python<'_>,
        place: Option<&mut PlaceInLine>,
        item: &mut Option<Py<PyAny>>,
    ) -> PyResult<Option<()>> {
        if self.heap {
            return self.try_put_sorted(py, place, item);
        }
        let put = self.attached(py).attempt(place, |queue| queue.put_from(item));
        done_or_wait(py, Side::Put, put)
    }

    fn try_put_sorted(
        &self,
        py: Python<'_>,
        mut place: Option<&mut PlaceInLine>,
        item: &mut Option<Py<PyAny>>,
    ) -> PyResult<Option<()>> {
        let mut attempts = self.peace.attempts();
        while let Some(it) = item {
            attempts.next(py);
            let Some(plan) = Plan::push(py, self.attached(py), it)? else {
                continue;
            };
            let put = self.attached(py).attempt(place.as_deref_mut(), |queue| {
                plan.check(queue)?;
                let done = queue.put_from(item)?;
                plan.apply(queue);
                Ok(done)
            });
            if put == Err(Obstacle::NotNow) {
                return Ok(None);
            }
            done_or_wait(py, Side::Put, put)?;
        }
        Ok(Some(()))
    }

    /// Some: all items are in.
    pub(crate) fn try_put_many(
        &self,
        py: Python<'_>,
        mut place: Option<&mut PlaceInLine>,
        items: &mut VecDeque<Py<PyAny>>,
    ) -> PyResult<Option<()>> {
        if self.heap {
            while let Some(item) = items.pop_front() {
                let mut item = Some(item);
                let put = self.try_put(py, place.as_deref_mut(), &mut item);
                if let Some(item) = item {
                    items.push_front(item);
                }
                if put?.is_none() {
                    return Ok(None);
                }
            }
            return Ok(Some(()));
        }
        loop {
            // The items that go in wake getters even if more are to come: an attempt of their own.
            let put = self
                .attached(py)
                .attempt(place.as_deref_mut(), |queue| queue.put_many(items));
            if done_or_wait(py, Side::Put, put)?.is_none() {
                return Ok(None);
            }
            if items.is_empty() {
                return Ok(Some(()));
            }
        }
    }

    /// None: the queue is empty, and the place, if there is one, is in line.
    #[inline]
    pub(crate) fn try_get(&self, py: Python<'_>, mut place: Option<&mut PlaceInLine>) -> PyResult<Option<Py<PyAny>>> {
        if !self.heap {
            let got = self
                .attached(py)
                .attempt(place, |queue| queue.get().map(|(item, bell)| (item, bell.into())));
            return done_or_wait(py, Side::Get, got);
        }
        let mut attempts = self.peace.attempts();
        loop {
            attempts.next(py);
            let Some(plan) = Plan::pop(py, self.attached(py))? else {
                continue;
            };
            let got = self.attached(py).attempt(place.as_deref_mut(), |queue| {
                plan.check(queue)?;
                plan.apply(queue);
                queue.get().map(|(item, bell)| (item, bell.into()))
            });
            if !matches!(got, Err(Obstacle::Changed)) {
                return done_or_wait(py, Side::Get, got);
            }
        }
    }

    /// The short way of a get, for a thread of which PyO3 does not know that it is attached. None: call `try_get`.
    #[inline]
    pub(crate) fn get_at_once(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        if self.heap {
            return None;
        }
        let (item, bell) = self.attached(py).with(QueueState::get_at_once)?;
        if let Some(bell) = bell {
            attached(py, |py| self.attached(py).ring(Bells::One(bell)));
        }
        Some(item)
    }

    /// The short way of a put. The item comes back: call `try_put`.
    #[cfg(not(wakefd_no_fast_methods))] // only they put in this way
    #[inline]
    pub(crate) fn put_at_once(&self, py: Python<'_>, item: Py<PyAny>) -> Result<(), Py<PyAny>> {
        if self.heap {
            return Err(item);
        }
        if let Some(bell) = self.attached(py).with(|state| state.put_at_once(item))? {
            attached(py, |py| self.attached(py).ring(Bells::One(bell)));
        }
        Ok(())
    }

    /// The next item, which stays in; None as of `try_get`.
    pub(crate) fn try_peek(&self, py: Python<'_>, place: Option<&mut PlaceInLine>) -> PyResult<Option<Py<PyAny>>> {
        let seen = self.attached(py).peek(place, |queue| {
            let next = if self.heap {
                queue.items().front().ok_or_else(|| queue.nothing())
            } else {
                queue.next()
            };
            next.map(|item| item.clone_ref(py))
        });
        done_or_wait(py, Side::Get, seen)
    }

    /// A list of at most `most` items; None as of `try_get`.
    pub(crate) fn try_get_many<'py>(
        &self,
        py: Python<'py>,
        mut place: Option<&mut PlaceInLine>,
        most: usize,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        if most == 0 {
            return Ok(Some(new_list(py, 0)?.into_any()));
        }
        if self.heap {
            return self.try_get_sorted(py, place, most);
        }
        loop {
            // The list and the room for the items are made first: nothing can fail once items are out. Meanwhile other
            // threads may take some.
            let count = self.look(py, |queue| queue.items().len()).min(most);
            let list = new_list(py, count)?;
            let mut items = Vec::new();
            let with_gil = !attached_cell::is_free_threaded();
            if !with_gil {
                items.try_reserve_exact(count).map_err(|_| no_memory(py))?;
            }
            let mut at = 0;
            let got = self.attached(py).attempt(place.as_deref_mut(), |queue| {
                queue.get_many(count, |item| {
                    if with_gil {
                        set(&list, at, item); // at once: a quarter faster
                        at += 1;
                    } else {
                        items.push(item);
                    }
                })
            });
            if got != Err(Obstacle::Changed) {
                fill(&list, items);
                return Ok(done_or_wait(py, Side::Get, got)?.map(|()| list.into_any()));
            }
        }
    }

    /// A list of at most `most` items of a heap, taken one by one. After an exception from a comparison the items not yet
    /// taken stay in, and the next attempt raises the exception again.
    ///
    /// An exception that is not raised again (see `or_again`) is raised now, and the items that were taken go back. To return
    /// the items and raise the interrupt later would lose them: it would be raised as soon as this call has ended,
    /// before the caller has assigned them.
    fn try_get_sorted<'py>(
        &self,
        py: Python<'py>,
        place: Option<&mut PlaceInLine>,
        most: usize,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let list = new_list(py, 0)?;
        let mut next = self.try_get(py, place)?;
        let mut failed = None;
        while let Some(item) = next.take() {
            if let Err(error) = list.append(&item) {
                let given = self.give_back(py, item); // no memory
                failed = given.err().or_else(|| list.is_empty().then_some(error));
            } else if list.len() < most {
                match or_again(py, self.try_get(py, None)) {
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

    /// Makes attempts, and blocks this thread in between, until one has done something or the time is up (`None`). Unless
    /// `block`, there is one attempt.
    pub(crate) fn block<T>(
        &self,
        py: Python<'_>,
        side: Side,
        block: bool,
        deadline: Option<Instant>,
        mut attempt: impl FnMut(Option<&mut PlaceInLine>) -> PyResult<Option<T>>,
    ) -> PyResult<Option<T>> {
        let attempted = attempt(None)?;
        if attempted.is_some() || !block {
            return Ok(attempted);
        }
        let place = self.enter(py, side)?;
        self.attached(py).block(place, attempt, |event| {
            event::wait_in_line(py, event.get().inner.event.clone(), deadline)
        })
    }

    pub(crate) fn enter(&self, py: Python<'_>, side: Side) -> PyResult<PlaceInLine> {
        self.attached(py).enter(side, || IoEvent::fresh(py))
    }

    pub(crate) fn shown(
        &self,
        py: Python<'_>,
        which: fn(&mut QueueState) -> &mut Option<Py<IoEvent>>,
    ) -> PyResult<Py<IoEvent>> {
        self.attached(py)
            .shown(which, || IoEvent::fresh(py), |event| event.clone_ref(py))
    }

    #[inline]
    pub(crate) fn look<R>(&self, py: Python<'_>, look: impl FnOnce(&Core) -> R) -> R {
        self.attached(py).with(|state| look(&state.queue))
    }

    /// # Errors
    /// A comparison's exception that is not raised again: the item is in nevertheless. MemoryError: it is not.
    fn give_back(&self, py: Python<'_>, item: Py<PyAny>) -> PyResult<()> {
        let mut item = Some(item);
        let mut interrupted = Ok(());
        let mut attempts = self.peace.attempts();
        while let Some(it) = item.take() {
            let plan = if self.heap {
                attempts.next(py);
                match Plan::push(py, self.attached(py), &it) {
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
            let given = self.attached(py).change(|queue| {
                if plan.as_ref().is_some_and(|plan| plan.check(queue).is_err()) {
                    return (Err((Obstacle::Changed, it)), Bells::None);
                }
                match queue.give_back(it) {
                    Ok(bells) => {
                        if let Some(plan) = plan {
                            plan.apply(queue);
                        }
                        (Ok(()), bells)
                    }
                    Err(refused) => (Err(refused), Bells::None),
                }
            });
            match given {
                Ok(()) => {}
                Err((Obstacle::Changed, again)) => item = Some(again),
                Err((obstacle, gone)) => {
                    drop(gone); // may run Python code
                    if obstacle == Obstacle::NoMemory {
                        return Err(no_memory(py));
                    }
                }
            }
        }
        interrupted
    }
}

/// The result of an attempt; `None`: there is none yet, and the caller waits or makes another attempt.
///
/// # Errors
/// QueueShutDown or MemoryError.
#[inline]
fn done_or_wait<T>(py: Python<'_>, side: Side, attempted: Result<T, Obstacle>) -> PyResult<Option<T>> {
    match attempted {
        Ok(done) => Ok(Some(done)),
        Err(Obstacle::NotNow | Obstacle::Changed) => Ok(None),
        Err(Obstacle::Shut) => Err(shut(py, side)),
        Err(Obstacle::NoMemory) => Err(no_memory(py)),
    }
}
