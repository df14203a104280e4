//! The ring: messages of bytes from any threads, in memory that never grows, and the rule that keeps the ring's event up
//! while there are messages.
//!
//! A room for byte queues without their faces. It may know `event`, `process` and `sync`. `memory` has the bytes, and
//! `after_fork` what a child repairs.
//!
//! The ring is the many-to-one ring buffer of Aeron (and the BPF ring buffer of Linux), with one difference: a message that
//! does not fit before the end goes on at the beginning. So a message has room whenever that number of bytes is free.
//!
//! # The ring
//!
//! The ring is counted in *units* of 8 bytes. A message has a header of one unit, which is 0 until the message is
//! *committed*, and then its bytes, padded. `head` and `tail` each hold, in one word, an offset and the number of messages
//! that have passed it. So the two tell how many units and messages are between them, and a stale one is recognized.
//!
//! ```text
//!   push:     t = tail; SHUT -> refused. h = head (Acquire); too few units free between t and h -> full
//!             CAS(tail: t -> behind the message) ; on failure again: it is *reserved*
//!             the bytes ; header = COMMITTED and the length (Release) ; event.notify()
//!   take:     one consumer at a time. header at the head (Acquire); 0 -> nothing
//!             copy the bytes ; zero all of the message ; head = behind it (Release)
//! ```
//!
//! A producer does not wait, takes no lock and allocates nothing: it may be a signal handler. A producer that stands still
//! between reservation and commit stops the consumers at its message, as messages come out in the order of their reservations; other
//! producers go on until the ring is full.
//!
//! # Memory ordering (each has a model that fails without it)
//!
//! - The commit is a Release store, and the consumer's look at it an Acquire load: the consumer reads all of the message.
//! - All units from `tail` to `head` are zero: the memory begins so, and what is consumed is zeroed *before* the head is
//!   stored (Release). A producer that reserves has loaded that head (Acquire): it writes after the zeroes. So the consumer finds the
//!   header of a message that is only reserved to be 0, whatever stood there one round before.
//! - "Full" must have been true at some time. A tail that is too old (other producers have been there since, and consumers
//!   have even taken what they pushed) is known by the counts. A head that is too old for the tail is never seen: the exchange
//!   of the tail is Release, and the load of it Acquire, so a thread that sees a reservation sees the head for which it was made,
//!   or a newer one.
//!
//! # The rule
//!
//! The event is up while a consumer would not have to wait: a committed message stands at the head, or the ring is shut
//! down and empty. A producer commits, and notifies *afterwards*. A consumer that lowers the flag looks *afterwards*,
//! and raises it again if need be. Both have a SeqCst fence in between (`notify` begins with one and `clear` ends with
//! one), so one of them sees the other. Nobody else lowers it.
//!
//! The event may be up although the ring is empty: a consumer may take a message before its producer has notified. The
//! consumer that is woken by that late notify looks, finds nothing, and lowers the flag.

#[cfg(all(unix, not(loom)))]
pub(crate) mod after_fork;
#[cfg_attr(loom, path = "memory_model.rs")]
mod memory;

use crate::{
    event::{Event, EventRef},
    process::Entered,
    sync::{AtomicU32, AtomicU64, yield_now},
};
use memory::{Memory, UNIT};
use std::{
    io,
    sync::{
        Arc,
        atomic::Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
};

/// Of `tail`: nothing more is reserved. Of `head`: nothing more is taken.
const SHUT: u64 = 1 << 63;
/// Of a header; the rest is the length.
const COMMITTED: u64 = 1 << 63;
/// Fewer units than that: an offset takes less than half of a word.
const TOO_MANY_UNITS: usize = 1 << 31;

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PushError {
    Full,
    TooLong,
    Shut,
}

/// Why there is no such ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RingError {
    /// Not one of the longest messages would fit, or there is more memory than can be counted.
    Impossible,
    /// There is no memory.
    NoMemory,
}

/// Why there is nothing to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nothing {
    /// Not now: wait.
    Yet,
    /// Never again.
    Ever,
}

/// On a cache line of its own, and none of its neighbour's either.
#[repr(align(128))]
struct Apart<T>(T);

pub(crate) struct Ring {
    /// The producers': behind the last message that was reserved.
    tail: Apart<AtomicU64>,
    /// The consumers': at the first message that was not taken.
    head: Apart<AtomicU64>,
    /// 1: a consumer is at work.
    taking: Apart<AtomicU32>,
    memory: Memory,
    units: u64,
    /// The number of the lower bits of `head` and `tail` that are the offset.
    shift: u32,
    pub(crate) max_message: usize,
    pub(crate) event: EventRef,
}

/// A message at the head.
#[derive(Clone, Copy)]
pub(crate) struct Message {
    at: usize,
    pub(crate) length: usize,
}

/// The number of units that a message of `length` bytes takes.
const fn units_of(length: usize) -> usize {
    1 + length.div_ceil(UNIT)
}

impl Ring {
    /// Room for `max_bytes`, of which a message takes its own, padded to a multiple of 8, and 8 more.
    pub(crate) fn new(entered: Entered, max_bytes: usize, max_message: usize) -> Result<Arc<Self>, RingError> {
        let units = max_bytes / UNIT;
        if units >= TOO_MANY_UNITS || units_of(max_message) > units {
            return Err(RingError::Impossible);
        }
        let ring = Arc::new(Self {
            tail: Apart(AtomicU64::new(0)),
            head: Apart(AtomicU64::new(0)),
            taking: Apart(AtomicU32::new(0)),
            memory: Memory::new(units).ok_or(RingError::NoMemory)?,
            units: units as u64,
            shift: usize::BITS - units.leading_zeros(),
            max_message,
            event: Event::new(entered),
        });
        #[cfg(all(unix, not(loom)))]
        ring.remember();
        Ok(ring)
    }

    fn offset(&self, word: u64) -> u64 {
        word & ((1 << self.shift) - 1)
    }

    /// The number of messages between head and tail. A number above the capacity means that `tail` is stale.
    fn messages(&self, tail: u64, head: u64) -> u64 {
        ((tail & !SHUT) >> self.shift).wrapping_sub(head >> self.shift) & (u64::MAX >> (self.shift + 1))
    }

    /// The number of units between head and tail. None: `tail` is stale.
    fn used(&self, tail: u64, head: u64) -> Option<u64> {
        let messages = self.messages(tail, head);
        let (tail, head) = (self.offset(tail), self.offset(head));
        match messages {
            0 => Some(0),
            n if n > self.units => None,
            _ if tail > head => Some(tail - head),
            _ => Some(tail + self.units - head),
        }
    }

    /// Behind one message more.
    fn behind(&self, word: u64, units: u64) -> u64 {
        let offset = self.offset(word) + units;
        let offset = if offset >= self.units {
            offset - self.units
        } else {
            offset
        };
        (((word >> self.shift) + 1) << self.shift | offset) & !SHUT
    }

    // -----------------------------------------------------------------------------------------------------------------
    // Producers

    /// Copies one more message in. May run in a signal handler.
    ///
    /// # Safety
    /// `data` points to `length` bytes to read; any pointer will do if `length` is 0.
    #[inline]
    pub(crate) unsafe fn push(&self, data: *const u8, length: usize) -> Result<(), PushError> {
        if length > self.max_message {
            return Err(PushError::TooLong);
        }
        let at = self.reserve(units_of(length) as u64)?;
        // SAFETY: reserved for us, so nobody else's until the commit.
        unsafe { self.memory.write(at, data, length) };
        self.memory.commit(at, COMMITTED | length as u64);
        // A refused wake-up loses nothing: the flag is up, and the next notify tries again.
        let _ = self.event.notify();
        Ok(())
    }

    #[inline]
    fn reserve(&self, units: u64) -> Result<usize, PushError> {
        let mut tail = self.tail.0.load(Acquire);
        loop {
            if tail & SHUT != 0 {
                return Err(PushError::Shut);
            }
            let head = self.head.0.load(Acquire);
            let Some(used) = self.used(tail, head) else {
                tail = self.tail.0.load(Acquire);
                continue;
            };
            if used + units > self.units {
                return Err(PushError::Full);
            }
            let next = self.behind(tail, units);
            match self.tail.0.compare_exchange_weak(tail, next, AcqRel, Acquire) {
                Ok(_) => return Ok(self.offset(tail) as usize),
                Err(now) => tail = now,
            }
        }
    }

    // -----------------------------------------------------------------------------------------------------------------
    // Consumers

    /// To take messages; nobody else does meanwhile. To be held for moments, and not while anything waits.
    #[inline]
    pub(crate) fn take(&self) -> Take<'_> {
        while self.taking.0.compare_exchange(0, 1, Acquire, Relaxed).is_err() {
            yield_now();
        }
        Take {
            ring: self,
            head: self.head.0.load(Relaxed),
            unseen: 0,
        }
    }

    /// Lowers the flag unless there is a message. Native code that polls may call this at any time. True if the flag was up.
    ///
    /// # Errors
    /// Those of `Event::clear` and `EventRef::notify`.
    pub(crate) fn clear(&self) -> io::Result<bool> {
        let cleared = self.event.clear()?;
        // The header at the head is the consumers' to read: a message that is only reserved wakes them once for nothing.
        let tail = self.tail.0.load(Relaxed);
        if tail & SHUT != 0 || tail != self.head.0.load(Relaxed) {
            self.event.notify()?;
        }
        Ok(cleared)
    }

    /// How many messages there are, those included that are only reserved yet.
    pub(crate) fn len(&self) -> usize {
        let head = self.head.0.load(Acquire);
        let tail = self.tail.0.load(Relaxed);
        self.messages(tail, head).min(self.units) as usize
    }

    /// Nothing more is pushed. `now`: what is in there is thrown away.
    ///
    /// # Errors
    /// A wake-up was refused. It is shut down all the same.
    pub(crate) fn shut(&self, now: bool) -> io::Result<()> {
        let take = self.take();
        let mut tail = self.tail.0.load(Relaxed);
        while let Err(other) = self.tail.0.compare_exchange_weak(tail, tail | SHUT, AcqRel, Relaxed) {
            tail = other;
        }
        if now {
            // A producer may still write to the memory, so the memory stays as it is; no consumer reads it any more.
            self.head.0.store(tail | SHUT, Release);
        }
        drop(take);
        self.event.notify().map(drop)
    }

    pub(crate) fn is_shut(&self) -> bool {
        self.tail.0.load(Relaxed) & SHUT != 0
    }
}

/// A consumer at work.
pub(crate) struct Take<'a> {
    ring: &'a Ring,
    head: u64,
    /// The number of units that were consumed since the producers were told.
    unseen: u64,
}

impl Take<'_> {
    /// The message at the head.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<Message> {
        if self.head & SHUT != 0 {
            return None;
        }
        let at = self.ring.offset(self.head) as usize;
        let header = self.ring.memory.header(at);
        (header & COMMITTED != 0).then_some(Message {
            at,
            length: (header & !COMMITTED) as usize,
        })
    }

    /// Copies the bytes of a message to `to`.
    ///
    /// # Safety
    /// The message is the one at the head, and `to` has room for its bytes.
    #[inline]
    pub(crate) unsafe fn copy(&self, message: Message, to: *mut u8) {
        // SAFETY: committed, and we are the only consumer.
        unsafe { self.ring.memory.read(message.at, to, message.length) };
    }

    /// Takes the message at the head out of the ring.
    #[inline]
    pub(crate) fn consume(&mut self, message: Message) {
        let units = units_of(message.length);
        // SAFETY: it is ours until the head is stored.
        unsafe { self.ring.memory.zero(message.at, units) };
        self.head = self.ring.behind(self.head, units as u64);
        self.unseen += units as u64;
        // Not each time: the producers all look at that word.
        if self.unseen * 8 >= self.ring.units {
            self.publish_head();
        }
    }

    /// The producers are told of the room that has been made.
    fn publish_head(&mut self) {
        if self.unseen > 0 {
            self.unseen = 0;
            self.ring.head.0.store(self.head, Release);
        }
    }

    /// Why there is no message.
    pub(crate) fn nothing(&self) -> Nothing {
        if self.ring.tail.0.load(Relaxed) == self.head | SHUT {
            Nothing::Ever
        } else {
            Nothing::Yet
        }
    }

    /// Is there something for which a consumer need not wait?
    fn something(&mut self) -> bool {
        self.next().is_some() || self.nothing() == Nothing::Ever
    }

    /// The event is as the rule wants it.
    ///
    /// # Errors
    /// A wake-up was refused; the next notify tries again.
    #[inline]
    pub(crate) fn end(mut self) -> io::Result<()> {
        self.publish_head();
        if self.something() { Ok(()) } else { self.lower() }
    }

    /// The flag goes down, unless something has come meanwhile.
    fn lower(&mut self) -> io::Result<()> {
        let event = &self.ring.event;
        let _ = event.clear().or_else(|_| event.clear()); // a dead descriptor is given up by the first
        if self.something() {
            self.ring.event.notify()?;
        }
        Ok(())
    }
}

impl Drop for Take<'_> {
    fn drop(&mut self) {
        self.publish_head();
        self.ring.taking.0.store(0, Release);
    }
}
