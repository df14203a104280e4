//! The notifier's side: the flag goes up or down, and the listeners are told.
//!
//! Any thread. `notify` may run in signal handlers too: no lock, no allocation, nothing freed.

use super::{ARMED, CLOSED, Event, EventRef, Hub, Listener, QUEUED, lifetime::EXPOSED, self_pipe::Raised};
use crate::{
    process::lock,
    sync::{AtomicPtr, fence},
};
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

/// The rest of the listeners that a notify has to tell.
pub(crate) struct Rest<'a> {
    event: &'a EventRef,
    first: &'a AtomicPtr<Listener>,
}

impl Rest<'_> {
    /// Tells each listener of the rest.
    ///
    /// # Errors
    /// A hub's token was refused, as in `notify`.
    pub(crate) fn tell(self) -> io::Result<()> {
        self.event.tell_each(self.first, |_| false).0
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
            self.raise_and(|| self.tell())
        }
    }

    /// `notify` for a thread that holds a lock which a blocked thread takes once it is woken: the GIL.
    ///
    /// `let_go` is called before the first blocked thread is woken. It is to let go of the lock, tell the rest, and take the
    /// lock again. An event for which no thread is blocked is notified with the lock held: a loop is usually woken for later.
    ///
    /// # Errors
    /// Those of `notify`.
    #[inline]
    pub(crate) fn notify_with_lock(&self, let_go: impl FnOnce(Rest<'_>) -> io::Result<()>) -> io::Result<bool> {
        if self.pipe.is_coalescing() {
            return Ok(false);
        }
        self.raise_and(|| {
            if !self.has_listeners() {
                return Ok(());
            }
            match self.tell_each(&self.listeners, Listener::wakes_a_thread) {
                (told, Some(first)) => told.and(let_go(Rest { event: self, first })),
                (told, None) => told,
            }
        })
    }

    /// Raises the flag, and has `tell` tell the listeners.
    #[inline(always)] // with `notify`, `tell` and `clear_if`: a tenth of a notify and clear
    fn raise_and(&self, tell: impl FnOnce() -> io::Result<()>) -> io::Result<bool> {
        let (rose, sent) = match self.pipe.notify() {
            Raised::Closed => return Ok(false),
            Raised::Coalesced => (false, Ok(())), // but a hub's token was refused, somewhere
            Raised::Retried(sent) => (false, sent),
            Raised::Rose(sent) => (true, sent),
        };
        let told = tell();
        sent.and(told)?;
        Ok(rose)
    }

    /// Queues each armed listener at its hub and wakes the hub; wakes hubs again whose token was refused.
    #[inline(always)]
    fn tell(&self) -> io::Result<()> {
        if self.has_listeners() {
            self.tell_each(&self.listeners, |_| false).0
        } else {
            Ok(())
        }
    }

    /// Whether a notify that has raised the flag has listeners to tell.
    #[inline(always)]
    fn has_listeners(&self) -> bool {
        fence(SeqCst); // the flag first, then the look at the listeners: `arm` does it the other way round
        !self.listeners.load(Relaxed).is_null()
    }

    /// Tells the listeners from `at` on, up to one that `stops` it, whose place is the second value.
    fn tell_each<'a>(
        &'a self,
        mut at: &'a AtomicPtr<Listener>,
        stops: impl Fn(&Listener) -> bool,
    ) -> (io::Result<()>, Option<&'a AtomicPtr<Listener>>) {
        let mut result = Ok(());
        while let Some(listener) = Event::listener_at(at) {
            if stops(listener) {
                return (result, Some(at));
            }
            at = &listener.next;
            let told = match listener.state.load(Relaxed) {
                ARMED if listener.state.compare_exchange(ARMED, QUEUED, AcqRel, Relaxed).is_ok() => listener.push(self),
                QUEUED => listener.retry(),
                _ => continue,
            };
            result = result.and(told);
        }
        (result, None)
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
    /// Whether a notify that comes to this listener wakes a blocked thread. A guess: the thread may just be waking up.
    #[inline]
    pub(crate) fn wakes_a_thread(&self) -> bool {
        self.state.load(Relaxed) == ARMED
            // SAFETY: null or a hub, which is immortal.
            && unsafe { self.hub.load(Acquire).as_ref() }.is_some_and(|hub| hub.blocking.load(Relaxed) == 1)
    }

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
