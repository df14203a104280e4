//! The repair of events and hubs in the child of a fork: every hub is closed and in the pool, and every exposed event
//! has a descriptor of its own, under the old number where that still is ours.
//!
//! The fork handler calls it before any other thread is there.

use super::{
    CLAIMED, CLOSED, Hub,
    lifetime::{EXPOSED, HUBS},
};
use crate::process::{Entered, Locked, lock};
use std::{mem, ptr, sync::atomic::Ordering::Relaxed};

/// Hubs first, as they give descriptors back; then the events. Allocates nothing.
pub(crate) fn repair(lock: &mut Locked) {
    let mut index = 0;
    while let Some(&hub) = HUBS.get(lock).all.get(index) {
        hub.reset(lock);
        index += 1;
    }
    for event in EXPOSED.get(lock).iter() {
        // SAFETY: events remove themselves under the lock when they go.
        let pipe = &unsafe { &*event }.pipe;
        pipe.void();
        let _ = pipe.renew(); // without a descriptor the next `fileno` makes one
    }
}

/// The listeners that `reset` has left on the stacks become free. Their events may go, so the lock is not held.
pub(crate) fn free_queued_listeners(entered: Entered) {
    let mut index = 0;
    while let Some(hub) = { HUBS.get(&mut lock(entered)).all.get(index).copied() } {
        hub.free_chain(hub.head.swap(CLOSED, Relaxed));
        index += 1;
    }
}

impl Hub {
    /// The hub forgets its waiters (they were the parent's), lets go of the parent's descriptor, and goes into the pool.
    ///
    /// A listener that is not in `own` is QUEUED by a thread that is no more: nobody will free it, so it goes on counting in
    /// `refs`, and this hub is not used again. (Another loop would take that listener for its own, and never be told.)
    ///
    /// The listeners that own a reference to their event stay on the stack: it may be the last one, and the lock is held.
    fn reset(&'static self, lock: &mut Locked) {
        let mut chain = ptr::null_mut();
        let mut own = mem::take(self.own.get(lock));
        for listener in own.drain(..) {
            // SAFETY: what is in `own` is alive.
            let listener = unsafe { &*listener };
            listener.state.store(CLAIMED, Relaxed);
            // SAFETY: this process has no other thread.
            if listener.keep.with_mut(|keep| unsafe { (*keep).is_some() }) {
                listener.fired.store(chain, Relaxed);
                chain = ptr::from_ref(listener).cast_mut();
            } else {
                listener.detach(self, lock);
            }
        }
        *self.own.get(lock) = own;
        self.head.store(chain, Relaxed);
        self.pipe.void();
        self.pipe.retire();
        let pool = &mut HUBS.get(lock).pool;
        if !pool.iter().any(|pooled| ptr::eq(*pooled, self)) {
            pool.push(self);
        }
    }
}
