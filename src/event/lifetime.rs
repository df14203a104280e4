//! How events, hubs and listeners begin and end, and how they are used again. Most of it holds the lock.

use super::{
    ARMED, CLAIMED, CLOSED, Event, EventRef, FREE, Hub, IDLE, Listener, descriptor::Descriptor, self_pipe::SelfPipe,
};
use crate::{
    notifier::{self, Notifier},
    process::{Addresses, Entered, Guarded, Locked, lock},
    sync::{AtomicPtr, AtomicU32, AtomicUsize, Census, UnsafeCell, global},
};
use std::{
    io, mem,
    ptr::{self, NonNull},
    sync::atomic::{
        self, AtomicBool,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
};

global! {
    /// The events that have, or had, a descriptor of their own, for the child of a fork.
    static EXPOSED: Guarded<Addresses<Event>> = Guarded::new(Addresses::new());
}

global! {
    /// The immortal events that nobody uses.
    static RESTING: Guarded<Vec<&'static Event>> = Guarded::new(Vec::new());
}

global! {
    /// The number of events that rest; a hint for whoever makes one.
    static RESTING_COUNT: atomic::AtomicUsize = atomic::AtomicUsize::new(0);
}

/// All hubs there are.
pub(crate) struct Hubs {
    pub(super) all: Vec<&'static Hub>,
    /// Those that nobody uses. Has room for all hubs: closing one allocates nothing.
    pub(super) pool: Vec<&'static Hub>,
}

global! {
    static HUBS: Guarded<Hubs> = Guarded::new(Hubs { all: Vec::new(), pool: Vec::new() });
}

// ---------------------------------------------------------------------------------------------------------------------
// Events

impl Event {
    /// A new event, or one that has lived before.
    #[allow(clippy::new_ret_no_self)] // an event is known by its references only
    pub(crate) fn new(entered: Entered) -> EventRef {
        if RESTING_COUNT.load(Relaxed) > 0 {
            if let Some(event) = Self::rested(entered) {
                return event;
            }
        }
        EventRef::new(Self {
            references: atomic::AtomicUsize::new(1),
            entered,
            pipe: SelfPipe::new(),
            listeners: AtomicPtr::new(ptr::null_mut()),
            attached: atomic::AtomicU32::new(0),
            strays: atomic::AtomicU32::new(0),
            unlinked: Guarded::new(ptr::null_mut()),
            waiting: atomic::AtomicU32::new(0),
            listened: AtomicBool::new(false),
            immortal: AtomicBool::new(false),
            _census: Census::default(),
        })
    }

    /// An event that has lived before.
    #[cold]
    fn rested(entered: Entered) -> Option<EventRef> {
        let mut lock = lock(entered);
        let resting = RESTING.get(&mut lock);
        let event = resting.pop()?;
        RESTING_COUNT.store(resting.len(), Relaxed);
        // SAFETY: `last` put it there, and now it is ours alone.
        Some(unsafe { EventRef::again(NonNull::from(event)) })
    }

    /// The memory of the event stays, whatever becomes of the references.
    pub(crate) fn make_immortal(&self) {
        self.immortal.store(true, Relaxed); // whoever is the last to let go comes after this
    }

    /// The event's own descriptor, made now if there is none. `None`: the event is closed.
    ///
    /// # Errors
    /// None could be made, or its first token was refused.
    pub(crate) fn expose(&self) -> io::Result<Option<Descriptor>> {
        let mut lock = lock(self.entered);
        if self.pipe.word().is_closed() {
            return Ok(None);
        }
        if !self.pipe.word().is_exposed() {
            let notifier = Notifier::new()?;
            EXPOSED.get(&mut lock).insert(self);
            self.pipe.expose(notifier)?;
        }
        Ok(self.pipe.hold())
    }

    /// A listener that a late notifier has freed where it stands in the list. The caller holds the lock.
    fn claim_stray(&self) -> Option<&Listener> {
        if self.strays.load(Relaxed) == 0 {
            return None;
        }
        let claimed = |listener: &&Listener| listener.state.compare_exchange(FREE, CLAIMED, Acquire, Relaxed).is_ok();
        let stray = self.listeners().find(claimed)?;
        self.strays.fetch_sub(1, Relaxed);
        Some(stray)
    }

    /// A listener that is not in the list yet: one that has left it, or a new one.
    fn claim_unlinked(&self, lock: &mut Locked) -> &Listener {
        let unlinked = self.unlinked.get(lock);
        // SAFETY: null or a listener of the event's, FREE, and so ours.
        if let Some(listener) = unsafe { unlinked.as_ref() } {
            *unlinked = listener.fired.load(Relaxed);
            listener.state.store(CLAIMED, Relaxed);
            return listener;
        }
        self.listened.store(true, Relaxed); // whoever is the last to let go comes after this
        let fresh = Box::into_raw(Box::new(Listener {
            state: AtomicU32::new(CLAIMED),
            hub: AtomicPtr::new(ptr::null_mut()),
            fired: AtomicPtr::new(ptr::null_mut()),
            next: AtomicPtr::new(ptr::null_mut()),
            back: Guarded::new(ptr::null()),
            event: self,
            keep: UnsafeCell::new(None),
            index: Guarded::new(0),
            waiters: UnsafeCell::new(Default::default()),
            _census: Census::default(),
        }));
        // SAFETY: the event frees it, when it goes.
        unsafe { &*fresh }
    }

    /// The end of an immortal event, and the beginning of its next life.
    #[cold]
    fn rest(&'static self) {
        let mut lock = lock(self.entered);
        self.pipe.close();
        self.forget(&mut lock);
        self.strays.store(0, Relaxed);
        self.pipe.reopen();
        let resting = RESTING.get(&mut lock);
        resting.push(self);
        RESTING_COUNT.store(resting.len(), Relaxed);
    }

    /// The listeners of an event that goes are freed.
    fn free_listeners(&self) {
        let mut lock = lock(self.entered);
        self.forget(&mut lock);
        let mut at = *self.unlinked.get(&mut lock);
        drop(lock);
        while !at.is_null() {
            // SAFETY: `claim_unlinked` made it with Box, the event owns it, and nobody else has it: no hub knows of it any more.
            let listener = unsafe { Box::from_raw(at) };
            at = listener.fired.load(Relaxed);
        }
    }

    /// The child of a fork and the hubs forget the event. All its listeners are FREE then, and out of the list.
    fn forget(&self, lock: &mut Locked) {
        EXPOSED.get(lock).remove(self);
        for listener in self.listeners() {
            // The listener has no waiter, which would keep the event. So its state is IDLE, ARMED (a cancelled wait left it so) or
            // FREE.
            if matches!(listener.state.load(Acquire), IDLE | ARMED) {
                // SAFETY: not FREE, so it points to a hub.
                let hub = unsafe { &*listener.hub.load(Acquire) };
                listener.remove_from_own(hub, lock);
                listener.detach(hub, lock);
            } else {
                listener.unlink(lock);
            }
        }
    }

    /// The last reference is gone.
    ///
    /// # Safety
    /// `this` came out of `Box::into_raw`, and nobody else uses it any more.
    pub(super) unsafe fn last(this: NonNull<Self>) {
        // SAFETY: alive up to here, and nobody else's; but for the word, which late native callers may read.
        let event = unsafe { this.as_ref() };
        if event.immortal.load(Relaxed) {
            return event.rest();
        }
        if event.listened.load(Relaxed) || event.pipe.was_exposed() {
            event.free_listeners();
        }
        // SAFETY: `EventRef::new` made it with Box, and nobody has it any more.
        drop(unsafe { Box::from_raw(this.as_ptr()) });
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Listeners

impl Listener {
    /// The listener becomes FREE. The caller owns it (QUEUED or CLAIMED), and it is not in `own` any more. `hub` is
    /// touched last.
    pub(super) fn set_free(&self, hub: &Hub) {
        self.hub.store(ptr::null_mut(), Relaxed);
        // SAFETY: ours until the state says FREE.
        self.waiters
            .with_mut(|waiters| unsafe { *waiters = Default::default() });
        self.state.store(FREE, Release);
        hub.refs.fetch_sub(1, AcqRel);
    }

    /// The listener leaves its event's list and becomes FREE. The caller owns it, and it is not in `own` any more.
    pub(super) fn detach(&self, hub: &Hub, lock: &mut Locked) {
        self.unlink(lock);
        self.set_free(hub);
    }

    /// The listener leaves its event's list, for the next hub that waits. The caller owns it, or it is FREE; it is not
    /// in `own`.
    fn unlink(&self, lock: &mut Locked) {
        // SAFETY: the event owns the listener.
        let event = unsafe { &*self.event };
        let next = self.next.load(Relaxed);
        let back = *self.back.get(lock);
        // SAFETY: null, or a listener of the event's list.
        if let Some(next) = unsafe { next.as_ref() } {
            *next.back.get(lock) = back;
        }
        // SAFETY: what points to us is the event or a listener of its list. Our own `next` stays: a notifier may stand here.
        unsafe { (*back).store(next, Release) };
        event.attached.fetch_sub(1, Relaxed);
        let unlinked = event.unlinked.get(lock);
        self.fired.store(*unlinked, Relaxed);
        *unlinked = ptr::from_ref(self).cast_mut();
    }

    /// The listener comes to the head of its event's list. The caller owns it, and it is not yet in `own`.
    fn link(&self, event: &Event, lock: &mut Locked) {
        let this = ptr::from_ref(self).cast_mut();
        let head = event.listeners.load(Relaxed);
        self.next.store(head, Release); // a notifier may stand here, and goes on from the head
        *self.back.get(lock) = &raw const event.listeners;
        event.listeners.store(this, Release);
        // SAFETY: null, or a listener of the event's list.
        if let Some(head) = unsafe { head.as_ref() } {
            *head.back.get(lock) = &raw const self.next;
        }
        event.attached.fetch_add(1, Relaxed);
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Hubs

impl Hub {
    /// A hub from the pool, or a new one.
    ///
    /// # Errors
    /// No descriptor to be had.
    pub(crate) fn acquire(entered: Entered, blocking: bool) -> io::Result<&'static Self> {
        let mut lock = lock(entered);
        let fresh = Self::notifier(blocking)?;
        let Hubs { all, pool } = HUBS.get(&mut lock);
        let idle = pool.iter().position(|hub| hub.refs.load(Acquire) == 0);
        let hub = if let Some(index) = idle {
            pool.swap_remove(index)
        } else {
            let hub: &'static Self = Box::leak(Box::new(Self {
                entered,
                pipe: SelfPipe::new(),
                head: AtomicPtr::new(ptr::null_mut()),
                refs: AtomicUsize::new(0),
                blocking: AtomicU32::new(0),
                own: Guarded::new(Vec::new()),
            }));
            all.push(hub);
            pool.reserve(all.len());
            hub
        };
        hub.head.store(ptr::null_mut(), Release);
        hub.expose_anew(fresh);
        hub.blocking.store(blocking.into(), Relaxed);
        Ok(hub)
    }

    pub(super) fn notifier(blocking: bool) -> io::Result<Notifier> {
        if blocking {
            notifier::for_a_thread()
        } else {
            Notifier::new()
        }
    }

    /// The hub gets a notifier, as it has none; its flag may be up, raised by a late notify.
    pub(super) fn expose_anew(&self, fresh: Notifier) {
        let _ = self.pipe.clear(); // nothing to drain: cannot fail
        // A refusal leaves UNSENT behind: the next notify tries again.
        let _ = self.pipe.expose(fresh);
    }

    /// This hub's listener of `event`, attached now if there is none.
    ///
    /// The hub's thread only. The answer is valid until nobody of this hub waits there any more (`let_go`), and the hub is not
    /// closed.
    pub(crate) fn listener<'a>(&'static self, event: &'a Event) -> &'a Listener {
        // Only this thread makes a listener point here, and only this thread or the closing of this hub changes that again.
        if !event.is_crowded() {
            if let Some(listener) = event.listeners().find(|listener| listener.is_of(self)) {
                return listener;
            }
        }
        self.attach(event)
    }

    #[cold]
    fn attach<'a>(&'static self, event: &'a Event) -> &'a Listener {
        let mut lock = lock(self.entered);
        let own = self.own.get(&mut lock);
        let found = if own.len() <= event.attached.load(Relaxed) as usize {
            own.iter()
                // SAFETY: what is in `own` is alive; that of this event is so for as long as the event.
                .map(|&listener| unsafe { &*listener })
                .find(|listener| ptr::eq(listener.event, event))
        } else {
            event.listeners().find(|listener| listener.is_of(self))
        };
        if let Some(listener) = found {
            return listener;
        }
        let listener = event.claim_stray().unwrap_or_else(|| {
            let listener = event.claim_unlinked(&mut lock);
            listener.link(event, &mut lock);
            listener
        });
        self.refs.fetch_add(1, Relaxed);
        let own = self.own.get(&mut lock);
        own.push(listener);
        let index = own.len() - 1;
        *listener.index.get(&mut lock) = index;
        listener.hub.store(ptr::from_ref(self).cast_mut(), Release);
        listener.state.store(IDLE, Release);
        listener
    }

    /// The last wait of this hub for `event` has ended: if the event has many listeners, this one leaves them. The
    /// hub's thread only.
    #[inline]
    pub(crate) fn let_go(&self, listener: &Listener, event: &Event) {
        if event.is_crowded() {
            self.detach(listener);
        }
    }

    #[cold]
    fn detach(&self, listener: &Listener) {
        let mut lock = lock(self.entered);
        // QUEUED: the dispatch lets go of it.
        if listener.state.compare_exchange(IDLE, CLAIMED, Acquire, Relaxed).is_ok() {
            listener.remove_from_own(self, &mut lock);
            listener.detach(self, &mut lock);
        }
    }

    /// The loop is gone, or the thread has ended. Listeners become free, late notifiers find the sentinel.
    pub(crate) fn close(&'static self) {
        let mut lock = lock(self.entered);
        let queued = self.head.swap(CLOSED, AcqRel);
        let mut own = mem::take(self.own.get(&mut lock));
        for listener in own.drain(..) {
            // SAFETY: what is in `own` is alive.
            let listener = unsafe { &*listener };
            // A notifier may be queueing it: the notifier frees what it holds itself.
            let claimed = |from| listener.state.compare_exchange(from, CLAIMED, AcqRel, Relaxed).is_ok();
            if claimed(IDLE) || claimed(ARMED) {
                listener.detach(self, &mut lock);
            }
        }
        *self.own.get(&mut lock) = own; // with its room
        // The hub's memory is for ever, its descriptor is not: a late notifier that still writes to it closes it.
        self.pipe.retire();
        HUBS.get(&mut lock).pool.push(self);
        drop(lock);
        self.free_chain(queued);
    }

    /// Frees listeners that are ours, linked by `fired`. Not under the lock: the last reference to an event may go.
    pub(super) fn free_chain(&self, mut at: *mut Listener) {
        while !at.is_null() && at != CLOSED {
            // SAFETY: ours (its state is QUEUED or CLAIMED), and kept alive by its `keep` until that is dropped below.
            let listener = unsafe { &*at };
            at = listener.fired.load(Relaxed);
            // SAFETY: as above.
            let keep = listener.keep.with_mut(|keep| unsafe { (*keep).take() });
            listener.detach(self, &mut lock(self.entered));
            drop(keep);
        }
    }
}
