//! How threads and tasks use a queue: the attempt, the place in line, the baton, and the ringing of bells.
//!
//! A queue's state is in a *cell*, which lets one thread at a time in (Python's is under the GIL or a flag; the models'
//! is loom's mutex). An attempt is made in the cell and touches nothing but the state. The waiters that it has to wake are
//! returned as `Bells`, which are rung outside: a bell may wake a thread that comes into the cell at once, and the system may
//! refuse it.
//!
//! A waiter does this, in this order:
//! 1. `enter`: it gets a number and an event, and is not in line yet;
//! 2. an attempt with its place, all in one stay in the cell: the place leaves the line, if it was there, and its event is
//!    cleared; the queue is asked; if the waiter has to wait, the place stands in line again with its number. A bell that
//!    comes later finds either the place in line, or a waiter that has yet to look;
//! 3. it sleeps until its event rises, and makes the next attempt;
//! 4. `leave`, served or not: a waiter that was woken and not served passes the baton.
//!
//! A bell that the system has refused to ring is kept and rung again after each later operation.
//!
//! This room knows no Python. Errors are an `Obstacle`, of which the caller makes an exception.

use super::{Bells, Number, Obstacle, Queue, Side};
use std::{io, mem};

/// The event on which a waiter sleeps. The queue knows its bell; the waiter keeps the event itself, which may be a Python
/// object.
pub(crate) trait QueueEvent {
    /// A handle by which the event is notified.
    type Bell;

    fn bell(&self) -> Self::Bell;

    /// Lowers the flag of a waiter's event, which has no descriptor that could fail.
    fn lower(&self);

    /// Raises or lowers the flag of an event that shows something of the queue.
    ///
    /// # Errors
    /// The system refused to wake those who watch it.
    fn show(&self, up: bool) -> io::Result<()>;
}

/// The number of events that are kept for the next waiters.
const SPARE: usize = 8;

/// All that is in a queue's cell.
pub(crate) struct QueueState<T, E: QueueEvent> {
    pub(crate) queue: Queue<T, E::Bell>,
    /// Events that are not in use. A waiter that waits again in the same loop gets the one that the loop knows.
    spare: Vec<E>,
    /// Up while there is something to get, or the queue is shut down; made when somebody asks.
    pub(crate) readable: Option<E>,
    /// Up while no item is unfinished; made when somebody asks.
    pub(crate) finished: Option<E>,
    /// The bells that the system refused to ring.
    refused: Vec<E::Bell>,
    /// The system's error, until it is reported.
    error: Option<io::Error>,
    reported: bool,
}

/// A waiter's place in line.
pub(crate) struct PlaceInLine<E> {
    side: Side,
    number: Number,
    event: E,
    /// Whether the place is in line, or was until a wake-up that its waiter has not seen yet.
    enlisted: bool,
    /// Whether the waiter was woken, and is neither served nor in line again.
    woken: bool,
}

impl<E: QueueEvent> PlaceInLine<E> {
    pub(crate) fn side(&self) -> Side {
        self.side
    }

    pub(crate) fn event(&self) -> &E {
        &self.event
    }

    /// Out of line, to make an attempt. First the event is cleared, then the items are looked at.
    fn vacate<T>(&mut self, queue: &mut Queue<T, E::Bell>) {
        if mem::take(&mut self.enlisted) {
            self.event.lower();
            self.woken |= queue.vacate(self.side, self.number);
        }
    }

    /// # Errors
    /// No memory: the place is not in line, and its waiter is as woken as it was.
    fn enlist<T>(&mut self, queue: &mut Queue<T, E::Bell>) -> Result<(), Obstacle> {
        queue.enlist(self.side, self.number, self.event.bell())?;
        self.enlisted = true;
        self.woken = false;
        Ok(())
    }
}

impl<T, E: QueueEvent> QueueState<T, E> {
    pub(crate) fn new(maxsize: i64, stack: bool) -> Self {
        Self {
            queue: Queue::new(maxsize, stack),
            spare: Vec::new(),
            readable: None,
            finished: None,
            refused: Vec::new(),
            error: None,
            reported: false,
        }
    }

    /// One attempt. With a place, the waiter gets in line if it is to wait. `serves`: the attempt takes something out, or
    /// puts something in. A waiter that only looks at what is there stays woken, and `leave` passes the baton.
    ///
    /// # Errors
    /// Those of `act`; `NoMemory` also if there is none for the place.
    #[inline]
    fn attempt<R>(
        &mut self,
        mut place: Option<&mut PlaceInLine<E>>,
        serves: bool,
        act: impl FnOnce(&mut Queue<T, E::Bell>) -> Result<R, Obstacle>,
    ) -> Result<R, Obstacle> {
        if let Some(place) = place.as_deref_mut() {
            place.vacate(&mut self.queue);
        }
        let attempted = act(&mut self.queue);
        match (&attempted, place) {
            (Ok(_), place) if serves => {
                self.settle();
                if let Some(place) = place {
                    place.woken = false;
                }
            }
            (Err(Obstacle::NotNow), Some(place)) => place.enlist(&mut self.queue)?,
            _ => {}
        }
        attempted
    }

    /// The short way of a put: without a place, and where none is to hear of it but the first getter.
    ///
    /// # Errors
    /// Nothing was done, and the item comes back: an `attempt` is to be made.
    #[cfg(not(wakefd_no_fast_methods))] // only they put in this way
    #[inline]
    pub(crate) fn put_at_once(&mut self, item: T) -> Result<Option<E::Bell>, T> {
        if self.shows() {
            return Err(item);
        }
        self.queue.put(item).map_err(|(_, item)| item)
    }

    /// The short way of a get. `None`: nothing was done, and an `attempt` is to be made.
    #[inline]
    pub(crate) fn get_at_once(&mut self) -> Option<(T, Option<E::Bell>)> {
        if self.shows() { None } else { self.queue.get().ok() }
    }

    /// Out of line for good. The bell is the baton; the event is to be dropped outside of the cell.
    fn leave(&mut self, mut place: PlaceInLine<E>) -> (Bells<E::Bell>, Option<E>) {
        place.vacate(&mut self.queue);
        let baton = if place.woken {
            self.queue.baton(place.side)
        } else {
            None
        };
        let event = if self.spare.len() < SPARE && self.spare.try_reserve(1).is_ok() {
            self.spare.push(place.event);
            None
        } else {
            Some(place.event)
        };
        (baton.into(), event)
    }

    /// The next of the bells, if there is one: then it is to be rung.
    fn next_bell(&mut self, bells: &mut Bells<E::Bell>) -> Option<E::Bell> {
        match mem::replace(bells, Bells::None) {
            Bells::None | Bells::Many(_, 0) => None,
            Bells::One(bell) => Some(bell),
            Bells::Many(side, most) => {
                *bells = Bells::Many(side, most - 1);
                self.queue.baton(side)
            }
            Bells::All => {
                *bells = Bells::All;
                let getter = self.queue.baton(Side::Get);
                getter.or_else(|| self.queue.baton(Side::Put))
            }
        }
    }

    /// Keeps a bell that was refused, to be rung again. It comes back, to be dropped, if there is no memory for it.
    #[cold]
    fn refuse(&mut self, bell: E::Bell, error: io::Error) -> Option<E::Bell> {
        self.error = Some(error);
        if self.refused.try_reserve(1).is_err() {
            return Some(bell);
        }
        self.refused.push(bell);
        None
    }

    /// Whether the system has refused something that is to be tried again, or to be reported.
    #[inline]
    fn trouble(&self) -> bool {
        self.error.is_some() || !self.refused.is_empty()
    }

    /// Whether others than the waiter of one bell must hear of a change.
    #[inline]
    fn shows(&self) -> bool {
        self.readable.is_some() || self.finished.is_some() || self.trouble()
    }

    #[inline]
    fn settle(&mut self) {
        if self.readable.is_some() || self.finished.is_some() {
            self.show();
        }
    }

    /// Has `readable` and `finished` tell the truth. In the cell, so that the last word is true: at most a system call
    /// each.
    fn show(&mut self) {
        let readable = !self.queue.items().is_empty() || self.queue.is_shut();
        let finished = self.queue.unfinished() == 0;
        for (event, up) in [(&self.readable, readable), (&self.finished, finished)] {
            if let Some(Err(error)) = event.as_ref().map(|event| event.show(up)) {
                self.error = Some(error); // the next change tries again
            }
        }
    }
}

/// Chooses an event of a queue's state that shows something of the queue.
pub(crate) type Which<T, E> = fn(&mut QueueState<T, E>) -> &mut Option<E>;

/// The bell of one waiter at a cell's queue.
type BellOf<C> = <<C as QueueCell>::Event as QueueEvent>::Bell;
/// The bells to be rung for what was done to that queue.
type BellsOf<C> = Bells<BellOf<C>>;
/// The queue in a cell.
type QueueOf<C> = Queue<<C as QueueCell>::Item, BellOf<C>>;

/// A cell with a queue's state in it.
pub(crate) trait QueueCell {
    type Item;
    type Event: QueueEvent;

    /// One thread at a time. Nothing in there may run code of the user's, or come into the cell again.
    fn with<R>(&self, act: impl FnOnce(&mut QueueState<Self::Item, Self::Event>) -> R) -> R;

    /// Wakes one waiter. Outside of the cell.
    ///
    /// # Errors
    /// The system refused it.
    fn notify(&self, bell: &BellOf<Self>) -> io::Result<()>;

    /// Tells people of a refused wake-up; called once for each queue.
    fn report(&self, error: io::Error);

    /// Does something to the state, and then rings the bells again that the system has refused.
    #[inline]
    fn with_retry<R>(&self, act: impl FnOnce(&mut QueueState<Self::Item, Self::Event>) -> R) -> R {
        let (result, trouble) = self.with(|state| (act(state), state.trouble()));
        if trouble {
            self.ring_the_refused();
        }
        result
    }

    /// One attempt, and its bells. With a place, the waiter is in line after `NotNow`.
    ///
    /// # Errors
    /// Those of `QueueState::attempt`.
    #[inline]
    fn attempt<R>(
        &self,
        place: Option<&mut PlaceInLine<Self::Event>>,
        act: impl FnOnce(&mut QueueOf<Self>) -> Result<(R, BellsOf<Self>), Obstacle>,
    ) -> Result<R, Obstacle> {
        let (done, bells) = self.with_retry(|state| state.attempt(place, true, act))?;
        self.ring(bells);
        Ok(done)
    }

    /// One attempt of a waiter that only looks: the item stays in.
    ///
    /// # Errors
    /// Those of `QueueState::attempt`.
    fn peek<R>(
        &self,
        place: Option<&mut PlaceInLine<Self::Event>>,
        look: impl FnOnce(&QueueOf<Self>) -> Result<R, Obstacle>,
    ) -> Result<R, Obstacle> {
        self.with_retry(|state| state.attempt(place, false, |queue| look(queue)))
    }

    /// Does something to the queue that cannot fail and needs no place, and rings the bells for it.
    fn change<R>(&self, change: impl FnOnce(&mut QueueOf<Self>) -> (R, BellsOf<Self>)) -> R {
        let (done, bells) = self.with_retry(|state| {
            let changed = change(&mut state.queue);
            state.settle();
            changed
        });
        self.ring(bells);
        done
    }

    /// A new place, which is not in line yet; `fresh` makes its event if none is spare.
    ///
    /// # Errors
    /// Those of `fresh`.
    fn enter<X>(
        &self,
        side: Side,
        fresh: impl FnOnce() -> Result<Self::Event, X>,
    ) -> Result<PlaceInLine<Self::Event>, X> {
        let (number, spare) = self.with(|state| (state.queue.number(side), state.spare.pop()));
        Ok(PlaceInLine {
            side,
            number,
            event: spare.map_or_else(fresh, Ok)?,
            enlisted: false,
            woken: false,
        })
    }

    /// In line without an attempt, if there is nothing to do but to wait. False: make an attempt.
    ///
    /// # Errors
    /// No memory.
    fn line_up(&self, place: &mut PlaceInLine<Self::Event>) -> Result<bool, Obstacle> {
        self.with(|state| {
            place.vacate(&mut state.queue);
            let wait = !state.queue.can(place.side);
            if wait {
                place.enlist(&mut state.queue)?;
            }
            Ok(wait)
        })
    }

    /// Out of line for good, served or not. A waiter that was woken and not served passes the baton.
    fn leave(&self, place: PlaceInLine<Self::Event>) {
        let (baton, event) = self.with(|state| state.leave(place));
        self.ring(baton);
        drop(event); // may be an object of Python's: not in the cell
    }

    /// Makes attempts with a place, and sleeps in between, until one of them has done something or the time is up
    /// (`None`). `sleep` returns false when the time is up; then one last attempt takes what has come at the last
    /// moment.
    ///
    /// # Errors
    /// Those of `attempt` and of `sleep`.
    fn block<R, X>(
        &self,
        mut place: PlaceInLine<Self::Event>,
        mut attempt: impl FnMut(Option<&mut PlaceInLine<Self::Event>>) -> Result<Option<R>, X>,
        mut sleep: impl FnMut(&Self::Event) -> Result<bool, X>,
    ) -> Result<Option<R>, X> {
        let result = loop {
            match attempt(Some(&mut place)) {
                Ok(None) => {}
                done_or_failed => break done_or_failed,
            }
            match sleep(place.event()) {
                Ok(true) => {}
                Ok(false) => break attempt(None),
                Err(error) => break Err(error),
            }
        };
        self.leave(place);
        result
    }

    /// Rings the bells, one after the other: a list of many might find no memory.
    #[inline]
    fn ring(&self, mut bells: BellsOf<Self>) {
        match bells {
            Bells::None => {}
            Bells::One(bell) => self.ring_one(bell),
            Bells::Many(..) | Bells::All => {
                while let Some(bell) = self.with(|state| state.next_bell(&mut bells)) {
                    self.ring_one(bell);
                }
            }
        }
    }

    fn ring_one(&self, bell: BellOf<Self>) {
        if let Err(error) = self.notify(&bell) {
            let without_memory = self.with(|state| state.refuse(bell, error));
            drop(without_memory);
            self.report_once();
        }
    }

    /// Rings the bells again that the system has refused.
    #[cold]
    fn ring_the_refused(&self) {
        for bell in self.with(|state| mem::take(&mut state.refused)) {
            self.ring_one(bell);
        }
        self.report_once();
    }

    #[cold]
    fn report_once(&self) {
        let error = self.with(|state| {
            let error = state.error.take();
            error.filter(|_| !mem::replace(&mut state.reported, true))
        });
        if let Some(error) = error {
            self.report(error);
        }
    }

    /// The event that shows something of the queue, as `which` of the state says; `fresh` makes it if there is none.
    ///
    /// # Errors
    /// Those of `fresh`.
    fn shown<R, X>(
        &self,
        which: Which<Self::Item, Self::Event>,
        fresh: impl FnOnce() -> Result<Self::Event, X>,
        share: impl Fn(&Self::Event) -> R,
    ) -> Result<R, X> {
        if let Some(event) = self.with(|state| which(state).as_ref().map(&share)) {
            return Ok(event);
        }
        let fresh = fresh()?;
        Ok(self.with(|state| {
            let event = share(which(state).get_or_insert(fresh));
            state.settle();
            event
        }))
    }
}
