//! The loop's side: a hub arms its listeners, and takes those that fired.
//!
//! The hub's thread only.

use super::{ARMED, CLOSED, Event, EventRef, Hub, IDLE, Listener, descriptor::Descriptor, word::Word};
use crate::{process::lock, sync::fence};
use std::{
    ptr,
    sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
};

impl Listener {
    /// From now on a notify tells us. Then the word: look at it before you sleep.
    ///
    /// The hub's thread only.
    pub(crate) fn arm(&self, event: &Event) -> Word {
        // QUEUED: it will be dispatched, and that looks at the generation.
        let _ = self.state.compare_exchange(IDLE, ARMED, AcqRel, Relaxed);
        fence(SeqCst); // armed first, then the look at the flag: `tell` does it the other way round
        event.pipe.word()
    }

    /// Disarms the listener, whose last waiter is gone. The hub's thread only.
    pub(crate) fn disarm(&self) {
        let _ = self.state.compare_exchange(ARMED, IDLE, AcqRel, Relaxed);
    }
}

impl Hub {
    /// Takes what has fired, oldest first. `each` gets listeners that are IDLE again, and must not panic.
    ///
    /// The answer is the old descriptor if it was dead and has been replaced: watch the new one before you drop it.
    ///
    /// The hub's thread only.
    pub(crate) fn dispatch(&self, mut each: impl FnMut(&Listener, &EventRef)) -> Option<Descriptor> {
        // The pipe first: a listener that is pushed after the swap below finds the flag down and raises it.
        let replaced = if self.pipe.clear_readable().is_ok() {
            None
        } else {
            self.renew()
        };
        if self.head.load(Relaxed) == CLOSED {
            return replaced;
        }
        let mut at = reversed(self.head.swap(ptr::null_mut(), Acquire));
        while !at.is_null() {
            // SAFETY: it was in our stack, so it is ours; its event is kept alive by `keep`, and that keeps the listener.
            let listener = unsafe { &*at };
            at = listener.fired.load(Relaxed);
            // SAFETY: as above.
            let keep = listener.keep.with_mut(|keep| unsafe { (*keep).take() });
            listener.state.store(IDLE, Release);
            if let Some(event) = keep {
                each(listener, &event);
            }
        }
        replaced
    }

    /// The notifier is dead (its pair at its end or reset, its descriptor closed under us): a new one takes its place.
    #[cold]
    fn renew(&self) -> Option<Descriptor> {
        let _lock = lock(self.entered);
        let old = self.pipe.hold();
        if let Some(old) = &old {
            let _ = old.notifier().is_ours(); // asked now: the new one may get its number
        }
        if let Ok(fresh) = Self::notifier(self.blocking.load(Relaxed) == 1) {
            self.pipe.retire();
            self.expose_anew(fresh);
            old
        } else {
            // The dead one stays readable, so the loop comes back and we try again.
            self.pipe.lower();
            None
        }
    }
}

fn reversed(mut at: *mut Listener) -> *mut Listener {
    let mut result = ptr::null_mut();
    while !at.is_null() {
        // SAFETY: the stack was taken, so its listeners are ours.
        let listener = unsafe { &*at };
        let next = listener.fired.load(Relaxed);
        listener.fired.store(result, Relaxed);
        result = at;
        at = next;
    }
    result
}
