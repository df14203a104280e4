//! The notifier's side: the flag goes up or down, and the listeners are told.
//!
//! Any thread. `notify` may run in signal handlers too: no lock, no allocation, nothing freed.

use super::{ARMED, CLOSED, Event, EventRef, Hub, Listener, QUEUED, lifetime::EXPOSED, self_pipe::Raised};
use crate::{process::lock, sync::fence};
use std::{
    io, ptr,
    sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
};

impl Event {
    /// Lowers the flag; true if it was up.
    ///
    /// # Errors
    /// The descriptor is dead. It is given up, the flag stays as it is, and the next `expose` makes a new one.
    #[inline]
    pub(crate) fn clear(&self) -> io::Result<bool> {
        self.pipe.clear().or_else(|_| self.give_up_the_dead())
    }

    #[cold]
    fn give_up_the_dead(&self) -> io::Result<bool> {
        let _lock = lock(self.entered);
        // Another thread may have been here first, and made a new one since: look again, now that nobody can.
        self.pipe.clear().inspect_err(|_| self.pipe.retire())
    }
}

impl EventRef {
    /// Raises the flag and tells the listeners. True if it was this call that raised it.
    ///
    /// # Errors
    /// A token was refused, the event's own or a hub's. The flag is up, all others were told, and the next `notify` tries
    /// again.
    #[inline]
    pub(crate) fn notify(&self) -> io::Result<bool> {
        if self.pipe.is_coalescing() {
            Ok(false)
        } else {
            self.raise_and_tell()
        }
    }

    /// `notify` off its fast path.
    #[inline(always)] // with `notify`, `tell` and `clear_if`: a tenth of a notify and clear
    pub(crate) fn raise_and_tell(&self) -> io::Result<bool> {
        let (rose, sent) = match self.pipe.notify() {
            Raised::Closed => return Ok(false),
            Raised::Coalesced => (false, Ok(())), // but a hub's token was refused, somewhere
            Raised::Retried(sent) => (false, sent),
            Raised::Rose(sent) => (true, sent),
        };
        let told = self.tell();
        sent.and(told)?;
        Ok(rose)
    }

    /// Queues each armed listener at its hub and wakes the hub; wakes hubs again whose token was refused.
    #[inline(always)]
    fn tell(&self) -> io::Result<()> {
        fence(SeqCst); // the flag first, then the look at the listeners: `arm` does it the other way round
        if self.listeners.load(Relaxed).is_null() {
            Ok(())
        } else {
            self.tell_each()
        }
    }

    fn tell_each(&self) -> io::Result<()> {
        let mut result = Ok(());
        for listener in self.listeners() {
            let told = match listener.state.load(Relaxed) {
                ARMED if listener.state.compare_exchange(ARMED, QUEUED, AcqRel, Relaxed).is_ok() => listener.push(self),
                QUEUED => listener.retry(),
                _ => continue,
            };
            result = result.and(told);
        }
        result
    }

    /// Closes for ever and releases everybody who waits.
    ///
    /// # Errors
    /// A hub's token was refused. The event is closed all the same.
    pub(crate) fn close(&self) -> io::Result<()> {
        {
            let mut lock = lock(self.entered);
            let closed = self.pipe.close();
            EXPOSED.get(&mut lock).remove(self);
            if !closed {
                return Ok(());
            }
        }
        self.tell()
    }
}

impl Listener {
    /// Has the next `dispatch` look at it, as if a notify had told us: it has been armed. The hub's thread only.
    ///
    /// # Errors
    /// The hub's token was refused. It is queued all the same, and the next notify tries again.
    pub(crate) fn fire(&self, event: &EventRef) -> io::Result<()> {
        match self.state.compare_exchange(ARMED, QUEUED, AcqRel, Relaxed) {
            Ok(_) => self.push(event),
            // Another notifier has queued the listener. If the hub's token was refused then, the hub sleeps, and this notifier
            // counts on its waking.
            Err(_) => self.retry(),
        }
    }

    /// The caller has made it QUEUED, so it owns `keep` and `fired`.
    fn push(&self, event: &EventRef) -> io::Result<()> {
        let this = ptr::from_ref(self).cast_mut();
        // SAFETY: stable while QUEUED by us, and immortal.
        let hub = unsafe { &*self.hub.load(Acquire) };
        // SAFETY: ours while QUEUED by us.
        self.keep.with_mut(|keep| unsafe { *keep = Some(event.clone()) });
        let mut head = hub.head.load(Relaxed);
        loop {
            if head == CLOSED {
                fence(Acquire); // after all that its thread did before it closed: a wait that had just begun
                // SAFETY: still ours. Never the last reference: the caller has one.
                self.keep.with_mut(|keep| unsafe { *keep = None });
                self.set_free(hub);
                event.strays.fetch_add(1, Relaxed);
                return Ok(());
            }
            self.fired.store(head, Relaxed);
            match hub.head.compare_exchange_weak(head, this, Release, Relaxed) {
                Ok(_) => break, // from here on it belongs to the hub
                Err(now) => head = now,
            }
        }
        hub.wake()
    }

    /// Wakes the hub of a listener that another notifier has queued, if the hub's token was refused then.
    fn retry(&self) -> io::Result<()> {
        // SAFETY: null or a hub, which is immortal. It may be another one by now: that costs it a spurious wake-up.
        match unsafe { self.hub.load(Acquire).as_ref() } {
            Some(hub) if hub.pipe.is_unsent() => hub.wake(),
            _ => Ok(()),
        }
    }
}

impl Hub {
    pub(super) fn wake(&self) -> io::Result<()> {
        match self.pipe.notify() {
            Raised::Closed | Raised::Coalesced => Ok(()),
            Raised::Retried(sent) | Raised::Rose(sent) => sent,
        }
    }
}
