//! A queue's items, and the two lines of those that wait for them. No Python in this room, and no lock: whoever owns a
//! queue lets one thread at a time touch it.
//!
//! # The waiting rule
//!
//! A getter that finds the queue empty takes a *place* in the getters' line and waits on an event of its own; a putter
//! that finds it full takes a place in the putters' line. An item that arrives wakes the first getter in line, and
//! nobody if the line is empty: then `put` is a push and a look at the line. A wake-up is no gift of an item: an item
//! belongs to the first that comes for it. A woken getter
//! - takes an item, or
//! - finds the queue empty, because a getter that did not wait was quicker, and takes its old place in line: before all
//!   that came after it, or
//! - leaves without an item (cancelled, out of time), and then passes the *baton*: if there are items, the next getter
//!   in line is woken.
//!
//! So while a getter is in line, as many getters have been woken as there are items: none sleeps beside an item that
//! nobody is about to take. One wake-up too many is harmless: its getter finds the queue empty, and goes back to its
//! place.
//!
//! Each method that makes an item or room available returns the [`Bells`] of the waiters to be woken. They are rung
//! when the queue is free again: at worst a late bell belongs to somebody else by then, and wakes one waiter too many.
//! `attempt` has what surrounds such a method: the place in line, and the ringing.
//!
//! Memory for an item, or for a place in line, is reserved before anything changes; without memory nothing does.

pub(crate) mod attempt;
pub(crate) mod inbox;

use crate::{capacity, process::epoch::epoch};
use std::{collections::VecDeque, mem};

/// The items, and the lines. `B` is the bell of one waiter.
pub(crate) struct Queue<T, B> {
    items: VecDeque<T>,
    /// Whether the last item in is the first one out.
    stack: bool,
    /// The most items that there may be; 0 and less: any number.
    maxsize: i64,
    shut: bool,
    /// Whether the queue was shut down and its items thrown away: an item that is given back is thrown away, too.
    closed: bool,
    /// The number of items that were put and are not `done`.
    unfinished: usize,
    /// A count of all that happens to the items, for a caller that looks, thinks, and then acts.
    changes: u64,
    getters: Line<B>,
    putters: Line<B>,
}

/// Why an attempt has done nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// The queue is empty, or full: wait.
    NotNow,
    /// The queue is shut down: there is nothing to wait for.
    Shut,
    /// The queue is not any more what the caller has looked at.
    Changed,
    /// There is no memory for an item, or for a place in line.
    NoMemory,
}

/// Which of the two lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Get,
    Put,
}

/// The bells of the waiters that are to be woken once the queue's cell is left. A list without memory of its own: of
/// many bells it says only where they are.
#[derive(Debug)]
#[must_use = "a bell that is not rung leaves its waiter asleep beside an item"]
pub(crate) enum Bells<B> {
    None,
    One(B),
    /// The bells of that line, one after the other (`baton`), but at most this number. A getter that comes meanwhile
    /// and takes an item that they were to have leaves the others in line.
    Many(Side, usize),
    /// The bells of both lines: the queue is shut down.
    All,
}

impl<B> From<Option<B>> for Bells<B> {
    #[inline]
    fn from(bell: Option<B>) -> Self {
        bell.map_or(Self::None, Self::One)
    }
}

/// The number of a place in line: a waiter that comes later has a greater one.
pub(crate) type Number = u64;

/// The waiters of one side, in the order in which they came.
struct Line<B> {
    places: VecDeque<(Number, B)>,
    next: Number,
    epoch: u32,
}

impl<B> Line<B> {
    fn new() -> Self {
        Self {
            places: VecDeque::new(),
            next: 0,
            epoch: epoch(),
        }
    }

    /// Empties the line in the child of a fork: the waiters were the parent's.
    fn forget_the_parents(&mut self) {
        if self.epoch != epoch() {
            self.epoch = epoch();
            self.places.clear();
        }
    }

    #[inline]
    fn first(&mut self) -> Option<B> {
        if self.places.is_empty() {
            return None;
        }
        self.forget_the_parents();
        let first = self.places.pop_front().map(|(_, bell)| bell);
        capacity::shed(&mut self.places);
        first
    }

    /// # Errors
    /// No memory: the place is not in line.
    fn enlist(&mut self, number: Number, bell: B) -> Result<(), Obstacle> {
        self.forget_the_parents();
        self.places.try_reserve(1).map_err(|_| Obstacle::NoMemory)?;
        let at = self.places.partition_point(|(other, _)| *other < number);
        self.places.insert(at, (number, bell));
        Ok(())
    }

    /// False if no such place is in line: its waiter has been woken, or was never there.
    fn remove(&mut self, number: Number) -> bool {
        match self.places.binary_search_by_key(&number, |(other, _)| *other) {
            Ok(at) => {
                let there = self.places.remove(at).is_some();
                capacity::shed(&mut self.places);
                there
            }
            Err(_) => false,
        }
    }
}

impl<T, B> Queue<T, B> {
    pub(crate) fn new(maxsize: i64, stack: bool) -> Self {
        Self {
            items: VecDeque::new(),
            stack,
            maxsize,
            shut: false,
            closed: false,
            unfinished: 0,
            changes: 0,
            getters: Line::new(),
            putters: Line::new(),
        }
    }

    // -----------------------------------------------------------------------------------------------------------------
    // Items

    /// # Errors
    /// The queue is full or shut down, or there is no memory; the item comes back.
    #[inline]
    pub(crate) fn put(&mut self, item: T) -> Result<Option<B>, (Obstacle, T)> {
        if self.shut {
            return Err((Obstacle::Shut, item));
        }
        if self.room() == 0 {
            return Err((Obstacle::NotNow, item));
        }
        if self.items.len() == self.items.capacity() && !self.grow() {
            return Err((Obstacle::NoMemory, item));
        }
        self.items.push_back(item);
        self.unfinished += 1;
        self.changes = self.changes.wrapping_add(1);
        Ok(self.getters.first())
    }

    /// Puts the item of a caller that may have to try again: the item is taken from the caller once it is in the queue.
    ///
    /// # Errors
    /// Those of `put`; the item stays where it is.
    #[inline]
    pub(crate) fn put_from(&mut self, item: &mut Option<T>) -> Result<((), Bells<B>), Obstacle> {
        let Some(it) = item.take() else {
            return Ok(((), Bells::None));
        };
        match self.put(it) {
            Ok(bell) => Ok(((), bell.into())),
            Err((obstacle, it)) => {
                *item = Some(it);
                Err(obstacle)
            }
        }
    }

    #[cold]
    fn grow(&mut self) -> bool {
        self.items.try_reserve(1).is_ok()
    }

    /// Puts as many as there is room for, from the front of `items`.
    ///
    /// # Errors
    /// The queue is full or shut down, or there is no memory: no item is in.
    pub(crate) fn put_many(&mut self, items: &mut VecDeque<T>) -> Result<((), Bells<B>), Obstacle> {
        if self.shut {
            return Err(Obstacle::Shut);
        }
        let count = items.len().min(self.room());
        if count == 0 && !items.is_empty() {
            return Err(Obstacle::NotNow);
        }
        self.items.try_reserve(count).map_err(|_| Obstacle::NoMemory)?;
        self.items_mut().extend(items.drain(..count));
        self.unfinished += count;
        Ok(((), Bells::Many(Side::Get, count)))
    }

    /// # Errors
    /// The queue is empty, or shut down and empty.
    #[inline]
    pub(crate) fn get(&mut self) -> Result<(T, Option<B>), Obstacle> {
        match if self.stack {
            self.items.pop_back()
        } else {
            self.items.pop_front()
        } {
            Some(item) => {
                self.changes = self.changes.wrapping_add(1);
                capacity::shed(&mut self.items);
                Ok((item, self.baton(Side::Put)))
            }
            None => Err(self.nothing()),
        }
    }

    /// Takes `count` items, as many as a caller has made room for, and hands one after the other to `each`.
    ///
    /// # Errors
    /// The queue is empty, or shut down and empty; or it has changed since the caller counted: there are fewer items
    /// now, or some where there were none.
    pub(crate) fn get_many(&mut self, count: usize, each: impl FnMut(T)) -> Result<((), Bells<B>), Obstacle> {
        match self.items.len() {
            0 => return Err(self.nothing()),
            len if count == 0 || len < count => return Err(Obstacle::Changed),
            _ => {}
        }
        self.changes = self.changes.wrapping_add(1);
        if self.stack {
            let rest = self.items.len() - count;
            self.items.drain(rest..).rev().for_each(each);
        } else {
            self.items.drain(..count).for_each(each);
        }
        capacity::shed(&mut self.items);
        Ok(((), Bells::Many(Side::Put, count)))
    }

    /// Puts an item that was taken and never arrived back where it was.
    ///
    /// # Errors
    /// The items have been thrown away meanwhile, or there is no memory: the item comes back to be dropped, and counts
    /// as done.
    pub(crate) fn give_back(&mut self, item: T) -> Result<Bells<B>, (Obstacle, T)> {
        let obstacle = if self.closed {
            Some(Obstacle::Shut)
        } else {
            self.items.try_reserve(1).err().map(|_| Obstacle::NoMemory)
        };
        if let Some(obstacle) = obstacle {
            self.unfinished = self.unfinished.saturating_sub(1);
            return Err((obstacle, item));
        }
        self.changes = self.changes.wrapping_add(1);
        if self.stack {
            self.items.push_back(item);
        } else {
            self.items.push_front(item);
        }
        Ok(self.getters.first().into())
    }

    /// Why an empty queue has nothing to get.
    pub(crate) fn nothing(&self) -> Obstacle {
        if self.shut { Obstacle::Shut } else { Obstacle::NotNow }
    }

    /// The number of items that there is room for.
    #[inline]
    pub(crate) fn room(&self) -> usize {
        match usize::try_from(self.maxsize) {
            Ok(maxsize @ 1..) => maxsize.saturating_sub(self.items.len()),
            _ => usize::MAX,
        }
    }

    /// The item that `get` would take.
    ///
    /// # Errors
    /// Those of `get`.
    pub(crate) fn next(&self) -> Result<&T, Obstacle> {
        let next = if self.stack {
            self.items.back()
        } else {
            self.items.front()
        };
        next.ok_or_else(|| self.nothing())
    }

    /// Takes all items out, and counts them as done.
    pub(crate) fn clear(&mut self) -> (VecDeque<T>, Bells<B>) {
        (self.throw_away(), Bells::Many(Side::Put, self.room()))
    }

    fn throw_away(&mut self) -> VecDeque<T> {
        let gone = mem::take(self.items_mut());
        self.unfinished = self.unfinished.saturating_sub(gone.len());
        gone
    }

    /// The items in the order in which they came: of a stack, the next one to be taken is the last.
    pub(crate) fn items(&self) -> &VecDeque<T> {
        &self.items
    }

    pub(crate) fn items_mut(&mut self) -> &mut VecDeque<T> {
        self.changes = self.changes.wrapping_add(1);
        &mut self.items
    }

    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// Counts an item as done; true if it was the last.
    ///
    /// # Errors
    /// No item is unfinished.
    pub(crate) fn done(&mut self) -> Result<bool, ()> {
        self.unfinished = self.unfinished.checked_sub(1).ok_or(())?;
        Ok(self.unfinished == 0)
    }

    pub(crate) fn unfinished(&self) -> usize {
        self.unfinished
    }

    pub(crate) fn is_stack(&self) -> bool {
        self.stack
    }

    pub(crate) fn maxsize(&self) -> i64 {
        self.maxsize
    }

    pub(crate) fn set_maxsize(&mut self, maxsize: i64) -> Bells<B> {
        self.maxsize = maxsize;
        Bells::Many(Side::Put, self.room())
    }

    // -----------------------------------------------------------------------------------------------------------------
    // Shutting down

    /// Refuses puts from now on. `now`: the items are taken out, too, and count as done.
    pub(crate) fn shut(&mut self, now: bool) -> (VecDeque<T>, Bells<B>) {
        self.shut = true;
        self.closed |= now;
        let gone = if now { self.throw_away() } else { VecDeque::new() };
        (gone, Bells::All)
    }

    pub(crate) fn is_shut(&self) -> bool {
        self.shut
    }

    // -----------------------------------------------------------------------------------------------------------------
    // Places in line

    /// Whether a waiter of that side has something to come back for: an item, room, or the news of the shutdown.
    #[inline]
    pub(crate) fn can(&self, side: Side) -> bool {
        let can = match side {
            Side::Get => !self.items.is_empty(),
            Side::Put => self.room() > 0,
        };
        can || self.shut
    }

    pub(crate) fn number(&mut self, side: Side) -> Number {
        let line = self.line(side);
        line.next += 1;
        line.next
    }

    /// Has a waiter stand in line. Only if there is nothing for it.
    ///
    /// # Errors
    /// No memory: it is not in line.
    fn enlist(&mut self, side: Side, number: Number, bell: B) -> Result<(), Obstacle> {
        debug_assert!(!self.can(side));
        self.line(side).enlist(number, bell)
    }

    /// Takes a place out of the line, as its waiter makes an attempt or leaves. True if the waiter was woken: its place
    /// was not in line any more.
    fn vacate(&mut self, side: Side, number: Number) -> bool {
        !self.line(side).remove(number)
    }

    /// The bell of the next in line, if there is something for it: a waiter of that side was woken, and leaves without.
    #[inline]
    fn baton(&mut self, side: Side) -> Option<B> {
        if self.can(side) { self.line(side).first() } else { None }
    }

    /// The number of waiters in line.
    pub(crate) fn waiting(&self, side: Side) -> usize {
        match side {
            Side::Get => self.getters.places.len(),
            Side::Put => self.putters.places.len(),
        }
    }

    fn line(&mut self, side: Side) -> &mut Line<B> {
        match side {
            Side::Get => &mut self.getters,
            Side::Put => &mut self.putters,
        }
    }
}
