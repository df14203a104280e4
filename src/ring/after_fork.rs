//! The repair of rings in the child of a fork: every ring is empty, as a producer of the parent's may have been in the
//! middle of a message.

use super::{Ring, SHUT};
use crate::{
    process::{Addresses, Guarded, Locked, lock},
    sync::global,
};
use std::sync::atomic::Ordering::Relaxed;

global! {
    /// All rings there are.
    static RINGS: Guarded<Addresses<Ring>> = Guarded::new(Addresses::new());
}

impl Ring {
    /// The ring will be emptied after a fork.
    pub(super) fn remember(&self) {
        let mut lock = lock(self.event.entered);
        RINGS.get(&mut lock).insert(self);
    }

    /// The ring is empty again. This process has no other thread.
    fn empty(&self) {
        let (tail, head) = (self.tail.0.load(Relaxed), self.head.0.load(Relaxed));
        // All else is zero.
        let used = self.used(tail, head).unwrap_or(self.units);
        // SAFETY: nobody else's, as nobody else is there.
        unsafe { self.memory.clear(self.offset(head) as usize, used as usize) };
        if head & SHUT == 0 {
            self.head.0.store(tail & !SHUT, Relaxed);
        }
        self.taking.0.store(0, Relaxed);
        // Not `Event::clear`, which may take the lock.
        let _ = self.event.pipe.clear();
        if self.is_shut() {
            let _ = self.event.notify();
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let mut lock = lock(self.event.entered);
        RINGS.get(&mut lock).remove(self);
    }
}

/// Every ring is emptied, once the events have descriptors of their own. Allocates nothing.
pub(crate) fn empty_all(lock: &mut Locked) {
    for ring in RINGS.get(lock).iter() {
        // SAFETY: rings remove themselves under the lock when they go.
        unsafe { &*ring }.empty();
    }
}
