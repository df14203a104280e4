//! The handle table: native code holds an argument that may outlive the event that it names.
//!
//! A C library gets a `void *` and calls it whenever it likes: after the handle was closed, after the event is gone, while
//! the interpreter exits. So the argument is no pointer. It names a *slot* in memory that is never freed, and a
//! *generation* of it; a slot that is used anew has another generation, and an argument of an older one is *stale*: the call
//! finds that out, and does nothing.
//!
//! # The state of a slot
//!
//! | bits | field | meaning |
//! |---|---|---|
//! | 0-15 | COUNT | holds: 1 of the handle's, and 1 for each `retain`. None: the generation has passed |
//! | 16-23 | VISITORS | the number of calls between entry and exit; the slot's event stays until all have left |
//! | 24-63 | GENERATION | +1 when the last hold is given up |
//!
//! # The argument
//!
//! A call that works on the event enters as a visitor, in the exchange that checks the generation. But a `notify` of an event
//! that is up already must cost no exchange. It reads the event's word, and *afterwards* the generation: if that is still its
//! own, it was so when the word was read, and the word was its event's. For that the memory of the event must be there,
//! whatever has happened since: from its first slot on an event is *immortal*, and is used again as an event only.
//!
//! The last hold or the last visitor to go defers the rest: this may be a signal handler, and what the slot refers to may
//! have its last reference there. The next call that makes or closes something gives all that back.

use crate::{
    event::{Event, EventRef},
    process::{Entered, Guarded, Locked, deferred_free::DeferredFree, lock},
    ring::Ring,
    sync::{AtomicPtr, AtomicU64, fence, global, yield_now},
};
use std::{
    io,
    mem::ManuallyDrop,
    ptr,
    sync::Arc,
    sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release},
};

const HOLD: u64 = 1;
const COUNT: u64 = 0xffff;
const VISITOR: u64 = 1 << 16;
const VISITORS: u64 = 0xff * VISITOR;
const GENERATION: u64 = 1 << 24;

/// The number of bits of an argument that name the slot; the others name the generation.
const INDEX_BITS: u32 = if usize::BITS == 64 { 24 } else { 16 };
/// The slot, counted from 1: no argument is 0.
const INDEX: usize = (1 << INDEX_BITS) - 1;
const GENERATIONS: u64 = (1 << (usize::BITS - INDEX_BITS)) - 1;

/// Why a call did nothing.
#[derive(Debug)]
pub(crate) enum CallError {
    /// The argument is 0.
    Null,
    /// The number is no argument, or the argument of a handle that was given back.
    Stale,
    /// More holds than can be counted.
    TooMany,
    /// The operating system refused.
    System(#[cfg_attr(any(not(unix), loom, wakefd_steps), allow(dead_code))] io::Error),
}

impl From<io::Error> for CallError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

#[repr(C, align(64))] // what one thread notifies is not in the cache line of another's
pub(super) struct Slot {
    deferred: DeferredFree,
    state: AtomicU64,
    /// Counted from `open` to `give_back`; afterwards the last one, whose memory is still there. Null: never used.
    event: AtomicPtr<Event>,
    /// An `Arc`, from `open` to `give_back`. Null: it is an event and no more.
    ring: AtomicPtr<Ring>,
    index: usize,
}

impl Slot {
    fn new(index: usize) -> Self {
        Self {
            deferred: DeferredFree::new(Self::freed),
            state: AtomicU64::new(0),
            event: AtomicPtr::new(ptr::null_mut()),
            ring: AtomicPtr::new(ptr::null_mut()),
            index,
        }
    }

    /// Is it of that generation, and held?
    #[inline]
    fn is_of(state: u64, generation: u64) -> bool {
        (state / GENERATION) & GENERATIONS == generation && state & COUNT != 0
    }

    /// `change` in one exchange, if the generation is still that and is held.
    fn update(&self, generation: u64, change: impl Fn(u64) -> Option<u64>) -> Result<u64, CallError> {
        let mut seen = self.state.load(Relaxed);
        loop {
            if !Self::is_of(seen, generation) {
                return Err(CallError::Stale);
            }
            let Some(next) = change(seen) else {
                return Err(CallError::TooMany);
            };
            match self.state.compare_exchange_weak(seen, next, AcqRel, Relaxed) {
                Ok(_) => return Ok(next),
                Err(now) => seen = now,
            }
        }
    }

    /// The event, for a visit.
    pub(super) fn visit(&'static self, generation: u64) -> Result<Visit, CallError> {
        let entry = |seen| (seen & VISITORS != VISITORS).then_some(seen + VISITOR);
        loop {
            match self.update(generation, entry) {
                Ok(_) => break,
                // 255 threads, each stopped in the middle of its call: let them finish.
                Err(CallError::TooMany) => yield_now(),
                Err(error) => return Err(error),
            }
        }
        // SAFETY: it refers to an event, and does so until the last visitor has left; the visit does not own the reference.
        let event = ManuallyDrop::new(unsafe { EventRef::from_raw(self.event.load(Relaxed)) });
        Ok(Visit { slot: self, event })
    }

    fn defer_if_left(&self, state: u64) {
        if state & (COUNT | VISITORS) == 0 {
            // SAFETY: a slot, and from here on nobody enters it before `give_back` has made it free.
            unsafe { DeferredFree::defer(ptr::from_ref(self).cast_mut().cast()) };
        }
    }

    /// # Safety
    /// `this` is the head of a slot, which was deferred.
    #[allow(clippy::cast_ptr_alignment)] // it is a slot's
    unsafe fn freed(this: *mut DeferredFree, entered: Entered) {
        // SAFETY: `DeferredFree` comes first in a slot, and slots are never freed.
        unsafe { &*this.cast::<Self>() }.give_back(entered);
    }

    /// The slot lets go of what it refers to, and may be used anew.
    fn give_back(&self, entered: Entered) {
        // SAFETY: the reference that `open` has put there.
        drop(unsafe { EventRef::from_raw(self.event.load(Relaxed)) }); // not under the lock, which it may take
        let ring = self.ring.swap(ptr::null_mut(), Relaxed);
        if !ring.is_null() {
            // SAFETY: as above.
            drop(unsafe { Arc::from_raw(ring) });
        }
        // Where pointers have 32 bits, generations come to an end, and an old argument would be good again: not this slot, then.
        if (self.state.load(Relaxed) / GENERATION) & GENERATIONS != 0 {
            TABLE.unused.get(&mut lock(entered)).free.push(self.index);
        }
    }
}

/// A visitor: a call at work on a slot's event.
pub(super) struct Visit {
    slot: &'static Slot,
    pub(super) event: ManuallyDrop<EventRef>,
}

impl Visit {
    #[cfg(not(any(loom, wakefd_steps)))]
    pub(super) fn ring(&self) -> Option<&Ring> {
        // SAFETY: null or an `Arc`, until the last visitor has left.
        unsafe { self.slot.ring.load(Relaxed).as_ref() }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let before = self.slot.state.fetch_sub(VISITOR, AcqRel);
        self.slot.defer_if_left(before - VISITOR);
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// All slots

/// The number of slots in the first chunk; each further chunk has twice as many as the one before.
const FIRST: usize = if cfg!(loom) { 2 } else { 64 };
const CHUNKS: usize = if cfg!(loom) {
    1
} else {
    (INDEX_BITS - FIRST.ilog2()) as usize
};

pub(crate) struct Table {
    chunks: [AtomicPtr<Slot>; CHUNKS],
    unused: Guarded<Unused>,
}

/// The slots that nobody uses.
struct Unused {
    /// Those that were used, and are free.
    free: Vec<usize>,
    /// The first of those that never were.
    first: usize,
}

#[cfg(not(loom))]
const fn no_chunks() -> [AtomicPtr<Slot>; CHUNKS] {
    [const { AtomicPtr::new(ptr::null_mut()) }; CHUNKS]
}
#[cfg(loom)]
fn no_chunks() -> [AtomicPtr<Slot>; CHUNKS] {
    std::array::from_fn(|_| AtomicPtr::new(ptr::null_mut()))
}

global! {
    static TABLE: Table = Table {
        chunks: no_chunks(),
        unused: Guarded::new(Unused { free: Vec::new(), first: 0 }),
    };
}

impl Table {
    /// Its chunk, and its place there.
    fn place(index: usize) -> (usize, usize) {
        let n = index + FIRST;
        let chunk = n.ilog2() - FIRST.ilog2();
        (chunk as usize, n - (FIRST << chunk))
    }

    #[inline]
    fn get(&self, index: usize) -> Option<&'static Slot> {
        let (chunk, at) = Self::place(index);
        let chunk = self.chunks.get(chunk)?.load(Acquire);
        // SAFETY: null, or a chunk with more than `at` slots, which are never freed.
        (!chunk.is_null()).then(|| unsafe { &*chunk.add(at) })
    }

    #[inline]
    pub(super) fn find(&self, argument: usize) -> Result<(&'static Slot, u64), CallError> {
        if argument == 0 {
            return Err(CallError::Null);
        }
        let index = (argument & INDEX).checked_sub(1).ok_or(CallError::Stale)?;
        let slot = self.get(index).ok_or(CallError::Stale)?;
        Ok((slot, (argument >> INDEX_BITS) as u64))
    }

    fn take(&self, lock: &mut Locked) -> Option<&'static Slot> {
        let unused = self.unused.get(lock);
        if let Some(index) = unused.free.pop() {
            return self.get(index);
        }
        let index = unused.first;
        let (chunk, at) = Self::place(index);
        let first = self.chunks.get(chunk).filter(|_| index < INDEX)?;
        if at == 0 {
            let slots: Vec<Slot> = (index..index + (FIRST << chunk)).map(Slot::new).collect();
            first.store(Vec::leak(slots).as_mut_ptr(), Release);
        }
        unused.first = index + 1;
        unused.free.reserve(index + 1); // giving them back allocates nothing
        self.get(index)
    }
}

/// In the child of a fork: the visitors were the parent's.
#[cfg(all(unix, not(loom)))]
pub(crate) fn forget_visitors(lock: &mut Locked) {
    let used = TABLE.unused.get(lock).first;
    for slot in (0..used).filter_map(|index| TABLE.get(index)) {
        let state = slot.state.load(Relaxed);
        if state & VISITORS != 0 {
            slot.state.store(state & !VISITORS, Relaxed);
            slot.defer_if_left(state & !VISITORS);
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// The functions of native code. `argument` may be any number.

/// A new slot for this event, and for the byte queue whose event it is, with one hold: its argument.
///
/// # Errors
/// There are no more: some sixteen million of them are open.
pub(crate) fn open(entered: Entered, event: &EventRef, ring: Option<&Arc<Ring>>) -> io::Result<usize> {
    event.make_immortal();
    let slot = TABLE.take(&mut lock(entered)).ok_or(io::ErrorKind::QuotaExceeded)?;
    slot.event.store(event.clone().into_raw(), Release);
    if let Some(ring) = ring {
        slot.ring.store(Arc::into_raw(ring.clone()).cast_mut(), Relaxed);
    }
    let state = slot.state.fetch_add(HOLD, Release);
    let generation = (state / GENERATION) & GENERATIONS;
    Ok(((generation as usize) << INDEX_BITS) | (slot.index + 1))
}

/// Raises the flag; true if it was down. In a signal handler, too.
#[inline(always)] // with `notify_visiting` apart, a call of an event that is up saves no registers: a tenth of it
pub(crate) fn notify(argument: usize) -> Result<bool, CallError> {
    let (slot, generation) = TABLE.find(argument)?;
    // SAFETY: null, or an event whose memory is there for ever.
    let event = unsafe { slot.event.load(Acquire).as_ref() }.ok_or(CallError::Stale)?;
    if event.pipe.is_coalescing() {
        fence(Acquire); // the word first, then the generation
        if Slot::is_of(slot.state.load(Relaxed), generation) {
            return Ok(false);
        }
        return Err(CallError::Stale);
    }
    notify_visiting(slot, generation)
}

#[inline(never)]
fn notify_visiting(slot: &'static Slot, generation: u64) -> Result<bool, CallError> {
    Ok(slot.visit(generation)?.event.notify()?)
}

/// `f` of the event, which stays where it is meanwhile.
pub(crate) fn with<R>(argument: usize, f: impl FnOnce(&EventRef) -> R) -> Result<R, CallError> {
    let (slot, generation) = TABLE.find(argument)?;
    Ok(f(&slot.visit(generation)?.event))
}

/// One hold more.
pub(crate) fn retain(argument: usize) -> Result<(), CallError> {
    let (slot, generation) = TABLE.find(argument)?;
    slot.update(generation, |seen| (seen & COUNT != COUNT).then_some(seen + HOLD))?;
    Ok(())
}

/// One hold less. The last one makes the argument stale.
pub(crate) fn release(argument: usize) -> Result<(), CallError> {
    let (slot, generation) = TABLE.find(argument)?;
    let next = slot.update(generation, |seen| {
        let next = seen - HOLD;
        Some(if next & COUNT == 0 {
            next.wrapping_add(GENERATION)
        } else {
            next
        })
    })?;
    slot.defer_if_left(next);
    Ok(())
}

/// The hook of the models.
#[cfg(any(loom, wakefd_steps))]
pub(crate) mod model {
    use super::TABLE;
    use crate::process::{Entered, lock};

    /// The number of slots that are in use.
    pub(crate) fn in_use(entered: Entered) -> usize {
        let mut lock = lock(entered);
        let unused = TABLE.unused.get(&mut lock);
        unused.first - unused.free.len()
    }
}
