//! Items, and who waits for them. No Python in it, and no lock: whoever owns a queue lets one at a time touch it.
//!
//! # The waiting rule
//!
//! Who finds nothing takes a *place* in the getters' line, each with an event of his own, and who finds no room one in the
//! putters'. An item that arrives wakes the first getter in line, and nobody if nobody waits: then `put` is a push and a
//! look. To be woken is no gift of an item: whoever comes first takes it. A woken getter
//! - takes an item, or
//! - finds none, as somebody who did not wait was quicker, and takes his old place: before all who came after him, or
//! - leaves without (cancelled, out of time), and then passes the baton: if there are items, the next one is woken.
//!
//! So while a getter is in line, as many have been woken as there are items: nobody sleeps beside an item that nobody is
//! about to take. To wake one too many is always right: he finds nothing, and goes back to his place.
//!
//! The methods return the event of the one to be woken, or how many are: then `baton` has one after the other. Notify them when
//! the queue is free again: a late notify finds its event in use by somebody else at worst, and wakes one too many.
//!
//! Room for an item, or for a place in line, is reserved before anything changes; without memory nothing does.

use crate::{capacity, process::epoch::epoch};
use std::{collections::VecDeque, mem};

pub(crate) struct Queue<T, E> {
    items: VecDeque<T>,
    /// The last one in is the first one out.
    stack: bool,
    /// At most so many; 0 and less: any number.
    maxsize: i64,
    shut: bool,
    /// Shut down, and what was in there thrown away: so is what comes back.
    closed: bool,
    /// Put, and not yet `done`.
    unfinished: usize,
    /// Counts whatever happens to the items, for those who look, think, and then act.
    changes: u64,
    getters: Line<E>,
    putters: Line<E>,
    /// Events that nobody uses. Who waits again in the same loop gets the one that the loop knows.
    spare: Vec<E>,
}

/// So many events are kept for the next who wait.
const SPARE: usize = 8;

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Nothing is there, or no room: wait.
    NotNow,
    /// It is shut down: no use to wait.
    Shut,
    /// It is not any more what the caller has looked at.
    Changed,
    /// There is no memory for it.
    NoMemory,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Get,
    Put,
}

/// The number of a place in line: who comes later has a greater one.
pub(crate) type Number = u64;

pub(crate) type Places<E> = VecDeque<(Number, E)>;

/// Those who wait on one side, in the order in which they came.
struct Line<E> {
    places: Places<E>,
    next: Number,
    epoch: u32,
}

impl<E> Line<E> {
    fn new() -> Self {
        Self {
            places: VecDeque::new(),
            next: 0,
            epoch: epoch(),
        }
    }

    /// In the child of a fork: those in line were the parent's.
    fn forget_the_parents(&mut self) {
        if self.epoch != epoch() {
            self.epoch = epoch();
            self.places.clear();
        }
    }

    #[inline]
    fn first(&mut self) -> Option<E> {
        if self.places.is_empty() {
            return None;
        }
        self.forget_the_parents();
        let first = self.places.pop_front().map(|(_, event)| event);
        capacity::shed(&mut self.places);
        first
    }

    fn enlist(&mut self, number: Number, event: E) -> Result<(), E> {
        self.forget_the_parents();
        if self.places.try_reserve(1).is_err() {
            return Err(event);
        }
        let at = self.places.partition_point(|(other, _)| *other < number);
        self.places.insert(at, (number, event));
        Ok(())
    }

    /// False: he is not in line, because he has been woken, or never was.
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

    fn all(&mut self) -> Places<E> {
        self.forget_the_parents();
        mem::take(&mut self.places)
    }
}

impl<T, E> Queue<T, E> {
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
            spare: Vec::new(),
        }
    }

    // -----------------------------------------------------------------------------------------------------------------
    // Items

    /// The answer is the getter to wake.
    ///
    /// # Errors
    /// Full or shut, or no memory; the item comes back.
    #[inline]
    pub(crate) fn put(&mut self, item: T) -> Result<Option<E>, (Refusal, T)> {
        if self.shut {
            return Err((Refusal::Shut, item));
        }
        if self.room() == 0 {
            return Err((Refusal::NotNow, item));
        }
        if self.items.len() == self.items.capacity() && !self.grow() {
            return Err((Refusal::NoMemory, item));
        }
        self.items.push_back(item);
        self.unfinished += 1;
        self.changes = self.changes.wrapping_add(1);
        Ok(self.getters.first())
    }

    #[cold]
    fn grow(&mut self) -> bool {
        self.items.try_reserve(1).is_ok()
    }

    /// As many as there is room for, from the front of `items`; how many, and so many getters are to be woken.
    ///
    /// # Errors
    /// Full or shut, or no memory: none.
    pub(crate) fn put_many(&mut self, items: &mut VecDeque<T>) -> Result<usize, Refusal> {
        if self.shut {
            return Err(Refusal::Shut);
        }
        let count = items.len().min(self.room());
        if count == 0 && !items.is_empty() {
            return Err(Refusal::NotNow);
        }
        self.items.try_reserve(count).map_err(|_| Refusal::NoMemory)?;
        self.items_mut().extend(items.drain(..count));
        self.unfinished += count;
        Ok(count)
    }

    /// An item, and the putter to wake.
    ///
    /// # Errors
    /// Empty, or shut and empty.
    #[inline]
    pub(crate) fn get(&mut self) -> Result<(T, Option<E>), Refusal> {
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

    /// Up to `most` items, one after the other to `each`; how many, and so many putters are to be woken.
    pub(crate) fn get_many(&mut self, most: usize, each: impl FnMut(T)) -> usize {
        let count = most.min(self.items.len());
        self.changes = self.changes.wrapping_add(1);
        if self.stack {
            let rest = self.items.len() - count;
            self.items.drain(rest..).rev().for_each(each);
        } else {
            self.items.drain(..count).for_each(each);
        }
        capacity::shed(&mut self.items);
        count
    }

    /// An item that was taken and never arrived goes back where it was; the getter to wake.
    ///
    /// # Errors
    /// What was in there has been thrown away meanwhile, or there is no memory: so is this item, and counts as done.
    pub(crate) fn give_back(&mut self, item: T) -> Result<Option<E>, (Refusal, T)> {
        let refusal = if self.closed {
            Some(Refusal::Shut)
        } else {
            self.items.try_reserve(1).err().map(|_| Refusal::NoMemory)
        };
        if let Some(refusal) = refusal {
            self.unfinished = self.unfinished.saturating_sub(1);
            return Err((refusal, item));
        }
        self.changes = self.changes.wrapping_add(1);
        if self.stack {
            self.items.push_back(item);
        } else {
            self.items.push_front(item);
        }
        Ok(self.getters.first())
    }

    /// Why there is nothing to get.
    pub(crate) fn nothing(&self) -> Refusal {
        if self.shut { Refusal::Shut } else { Refusal::NotNow }
    }

    /// For how many more items.
    #[inline]
    pub(crate) fn room(&self) -> usize {
        match usize::try_from(self.maxsize) {
            Ok(maxsize @ 1..) => maxsize.saturating_sub(self.items.len()),
            _ => usize::MAX,
        }
    }

    /// The one that `get` would take.
    pub(crate) fn next(&self) -> Option<&T> {
        if self.stack {
            self.items.back()
        } else {
            self.items.front()
        }
    }

    /// What is in there goes, and counts as done: how many putters are to be woken, and the items that went.
    pub(crate) fn clear(&mut self) -> (usize, VecDeque<T>) {
        let gone = mem::take(self.items_mut());
        self.unfinished = self.unfinished.saturating_sub(gone.len());
        (self.room(), gone)
    }

    /// In a stack, the next one to be taken is the last.
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

    /// An item is done with; true if it was the last.
    ///
    /// # Errors
    /// More than were put.
    pub(crate) fn done(&mut self) -> Result<bool, ()> {
        self.unfinished = self.unfinished.checked_sub(1).ok_or(())?;
        Ok(self.unfinished == 0)
    }

    pub(crate) fn unfinished(&self) -> usize {
        self.unfinished
    }

    #[cfg(feature = "python")]
    pub(crate) fn is_stack(&self) -> bool {
        self.stack
    }

    pub(crate) fn maxsize(&self) -> i64 {
        self.maxsize
    }

    /// How many putters are to be woken.
    pub(crate) fn set_maxsize(&mut self, maxsize: i64) -> usize {
        self.maxsize = maxsize;
        self.room()
    }

    // -----------------------------------------------------------------------------------------------------------------
    // The end

    /// No more puts. `now`: what is in there goes, too. Those to wake, and the items that went.
    pub(crate) fn shut(&mut self, now: bool) -> ([Places<E>; 2], VecDeque<T>) {
        self.shut = true;
        self.closed |= now;
        let gone = if now {
            mem::take(self.items_mut())
        } else {
            VecDeque::new()
        };
        self.unfinished = self.unfinished.saturating_sub(gone.len());
        ([self.getters.all(), self.putters.all()], gone)
    }

    pub(crate) fn is_shut(&self) -> bool {
        self.shut
    }

    // -----------------------------------------------------------------------------------------------------------------
    // Places in line

    /// Is there something to get, or room for something to put?
    #[inline]
    pub(crate) fn can(&self, side: Side) -> bool {
        match side {
            Side::Get => !self.items.is_empty(),
            Side::Put => self.room() > 0,
        }
    }

    /// An event that was used before, if there is one.
    pub(crate) fn spare(&mut self) -> Option<E> {
        self.spare.pop()
    }

    pub(crate) fn number(&mut self, side: Side) -> Number {
        let line = self.line(side);
        line.next += 1;
        line.next
    }

    /// He waits, with an event that is down. Only if there is nothing for him.
    ///
    /// # Errors
    /// No memory: he is not in line.
    pub(crate) fn enlist(&mut self, side: Side, number: Number, event: E) -> Result<(), E> {
        debug_assert!(!self.can(side));
        self.line(side).enlist(number, event)
    }

    /// He has come to look again. Woken or not: if he finds nothing, he enlists again, with the same number.
    pub(crate) fn is_back(&mut self, side: Side, number: Number) -> bool {
        !self.line(side).remove(number)
    }

    /// He leaves for good, `woken` and not served: whom to wake instead.
    pub(crate) fn baton(&mut self, side: Side) -> Option<E> {
        if self.can(side) { self.line(side).first() } else { None }
    }

    /// Nobody uses it any more.
    pub(crate) fn spared(&mut self, event: E) -> Option<E> {
        if self.spare.len() < SPARE && self.spare.try_reserve(1).is_ok() {
            self.spare.push(event);
            None
        } else {
            Some(event)
        }
    }

    /// How many are in line.
    pub(crate) fn waiting(&self, side: Side) -> usize {
        match side {
            Side::Get => self.getters.places.len(),
            Side::Put => self.putters.places.len(),
        }
    }

    fn line(&mut self, side: Side) -> &mut Line<E> {
        match side {
            Side::Get => &mut self.getters,
            Side::Put => &mut self.putters,
        }
    }
}
