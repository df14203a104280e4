//! Hubs and listeners: one descriptor per loop, not per event.
//!
//! A *hub* belongs to one event loop or one blocked thread: a pipe whose reader that loop watches, and a lock-free stack of
//! the listeners that fired. An event keeps a list of *listeners*, one per hub that waits on it, and a few whose hubs did so
//! (`KEPT`). So `notify` costs O(loops that wait), and a loop that is busy while thousands of events fire is woken by one
//! system call.
//!
//! # A listener's state
//!
//! ```text
//!   FREE --attach--> CLAIMED --> IDLE <--cancel-- ARMED --notify--> QUEUED --dispatch--> IDLE
//!    ^                            |  ---wait--->    |                 |
//!    +--detach, or hub closes-----+-----------------+                 +--its hub is closed--> FREE
//! ```
//!
//! QUEUED has exactly one owner at a time: the notifier that put it there, then the stack, then the one who took the stack.
//! Only that owner touches `keep` and `fired`. It follows that a listener is never in two stacks or twice in one.
//!
//! # What must be in this order, and why (each has a model that fails without it)
//!
//! - `notify`: raise the flag, fence, look at the listeners. `arm`: ARMED, fence, look at the flag. One of the two sees
//!   the other.
//! - `dispatch`: clear the pipe, *then* take the stack: a listener pushed in between finds the flag down and raises it. Per
//!   listener: read `fired` before it can be armed again; after IDLE look at the generation, and once more
//!   after each re-arming.
//! - A waiter is released if the generation is not the one it saw when it began to wait: it never looks at the flag, which a
//!   third party may have cleared.
//! - A hub's stack is closed by a sentinel: a late notifier that finds it frees the listener itself.
//! - A listener that leaves its event's list keeps its `next`, and comes back at the head only. A notifier that stands on it
//!   goes on from there, or begins again: it passes every listener that was in the list, and stayed there, since before its
//!   look at the head. Memory is freed with the event.
//!
//! Hubs are immortal and pooled, hence `notify` never meets a freed one; at worst a late token wakes the next owner once for
//! nothing. Their descriptors are closed with them: those who are writing to one are counted (see `self_pipe`).
//!
//! Attaching, closing and the pool share one lock that `notify` never takes. It is a leaf: nothing of Python, and no
//! destructor of an event, runs under it.

pub(crate) mod self_pipe;
#[cfg(not(wakefd_steps))]
pub(crate) mod thread_wait;
pub(crate) mod wait_table;

use crate::{
    event::self_pipe::{Descriptor, Raised, SelfPipe, Word},
    notifier::{self, Notifier},
    process::refcount::{Count, Counted, Last},
    sync::{AtomicPtr, AtomicU32, AtomicUsize, Mutex, MutexGuard, UnsafeCell, fence, global},
};
use slotmap::DefaultKey;
use std::{
    collections::BTreeSet,
    io,
    ops::{Deref, DerefMut},
    ptr::{self, NonNull},
    sync::{
        PoisonError,
        atomic::{
            AtomicBool,
            Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
        },
    },
};

const IDLE: u32 = 0;
const ARMED: u32 = 1;
const QUEUED: u32 = 2;
const FREE: u32 = 3;
const CLAIMED: u32 = 4;

/// What an `IoEvent` is a handle of.
pub(crate) struct Event {
    count: Count,
    pub(crate) pipe: SelfPipe,
    /// Those that a notify looks at; written under the lock only.
    listeners: AtomicPtr<Listener>,
    /// How many these are; written under the lock only.
    attached: std::sync::atomic::AtomicUsize,
    /// How many of them late notifiers have freed, without the lock; a hint for `attach`.
    strays: std::sync::atomic::AtomicUsize,
    /// Listeners for the next who waits, linked by `fired`; under the lock.
    spare: UnsafeCell<*mut Listener>,
    /// How many wait, for people to read; nothing depends on it.
    pub(crate) waiting: std::sync::atomic::AtomicUsize,
    /// Whether the event has, or had, a listener.
    listened: AtomicBool,
    /// Native code knows where it is: its memory is for ever, and used again as an event.
    immortal: AtomicBool,
}

/// A reference that keeps an event alive.
pub(crate) type EventRef = Counted<Event>;

pub(crate) struct Listener {
    state: AtomicU32,
    /// Whom it tells; null while FREE. Stable while it is ours, or QUEUED by us.
    hub: AtomicPtr<HubCore>,
    /// The next one in the hub's stack, or among the event's spare ones.
    fired: AtomicPtr<Listener>,
    /// The next one in the event's list; written under the lock only, and not while it is out of the list.
    next: AtomicPtr<Listener>,
    /// The pointer to this listener in the event's list: the head, or another listener's `next`; under the lock.
    back: UnsafeCell<*const AtomicPtr<Listener>>,
    /// The event that owns this listener.
    event: *const Event,
    /// While QUEUED: keeps the event alive.
    keep: UnsafeCell<Option<EventRef>>,
    /// Where it stands in its hub's `own`; under the lock.
    index: UnsafeCell<usize>,
    /// First and last of those who wait, kept by `waiters`; the hub's thread only.
    pub(crate) waiters: UnsafeCell<[DefaultKey; 2]>,
}

pub(crate) struct HubCore {
    pub(crate) pipe: SelfPipe,
    /// null, a listener, or `CLOSED`.
    head: AtomicPtr<Listener>,
    /// How many listeners point here.
    refs: AtomicUsize,
    /// 1 if a blocked thread sits on it and not a loop: then it pays to let go of the GIL before it is woken.
    blocking: AtomicU32,
    /// The listeners that point here, but for those that their pushers will free; under the lock.
    own: UnsafeCell<Vec<*const Listener>>,
}

/// The sentinel on the stack of a hub that is closed. Never dereferenced.
const CLOSED: *mut Listener = ptr::without_provenance_mut(1);

// SAFETY: everything in them is atomic, under the lock, or has one owner at a time, as the fields say.
unsafe impl Send for Event {}
// SAFETY: as above.
unsafe impl Sync for Event {}
// SAFETY: as above.
unsafe impl Sync for HubCore {}

/// The number of listeners that an event keeps in its list though nobody waits there: a hub that waits again and again takes no
/// lock.
const KEPT: usize = 4;

/// The number by which `KEPT` is less in a model, which has no room for as many hubs.
#[cfg(all(test, any(loom, wakefd_steps)))]
pub(crate) static CROWDED_BY: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

// ---------------------------------------------------------------------------------------------------------------------
// The lock

/// All hubs there are, and those that nobody uses.
pub(crate) struct Registry {
    pub(crate) hubs: Vec<&'static HubCore>,
    /// Has room for all hubs: closing one allocates nothing.
    pool: Vec<&'static HubCore>,
    /// The events that have, or had, a descriptor of their own, for the child of a fork.
    pub(crate) exposed: BTreeSet<*const Event>,
    /// Immortal events that nobody uses.
    resting: Vec<NonNull<Event>>,
}

pub(crate) struct Lock {
    mutex: Mutex<()>,
    registry: std::cell::UnsafeCell<Registry>,
}

// SAFETY: the registry is touched under the mutex only.
unsafe impl Sync for Lock {}
// SAFETY: as above; the pointers in the registry are to things that are Sync and outlive their entry.
unsafe impl Send for Lock {}

global! {
    static LOCK: Lock = Lock {
        mutex: Mutex::new(()),
        registry: std::cell::UnsafeCell::new(Registry { hubs: Vec::new(), pool: Vec::new(), exposed: BTreeSet::new(), resting: Vec::new() }),
    };
}

/// The registry, locked. A leaf: no other lock is taken, no event dropped and nothing of Python done under it.
pub(crate) struct Locked {
    _guard: MutexGuard<'static, ()>,
}

pub(crate) fn lock() -> Locked {
    let mutex: &'static Mutex<()> = &LOCK.mutex;
    // Nothing that is done under it panics half-way: a poisoned lock is as good as any.
    Locked {
        _guard: mutex.lock().unwrap_or_else(PoisonError::into_inner),
    }
}

impl Deref for Locked {
    type Target = Registry;
    fn deref(&self) -> &Registry {
        // SAFETY: we hold the mutex.
        unsafe { &*LOCK.registry.get() }
    }
}

impl DerefMut for Locked {
    fn deref_mut(&mut self) -> &mut Registry {
        // SAFETY: we hold the mutex.
        unsafe { &mut *LOCK.registry.get() }
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Events

impl Event {
    pub(crate) fn new() -> EventRef {
        if RESTING.load(Relaxed) > 0 {
            if let Some(event) = Self::again() {
                return event;
            }
        }
        #[cfg(all(test, any(loom, wakefd_steps)))]
        ALIVE.fetch_add(1, Relaxed);
        Counted::new(Self {
            count: Count::new(),
            pipe: SelfPipe::new(),
            listeners: AtomicPtr::new(ptr::null_mut()),
            attached: std::sync::atomic::AtomicUsize::new(0),
            strays: std::sync::atomic::AtomicUsize::new(0),
            spare: UnsafeCell::new(ptr::null_mut()),
            waiting: std::sync::atomic::AtomicUsize::new(0),
            listened: AtomicBool::new(false),
            immortal: AtomicBool::new(false),
        })
    }

    /// One that has lived before.
    #[cold]
    fn again() -> Option<EventRef> {
        let event = lock().rested()?;
        // SAFETY: `last` put it there, and now it is ours alone.
        Some(unsafe { Counted::again(event) })
    }

    /// Its memory stays, whatever becomes of the references.
    pub(crate) fn make_immortal(&self) {
        self.immortal.store(true, Relaxed); // whoever is the last to let go comes after this
    }

    /// Will a notify wake a blocked thread? A guess, for those who hold the GIL.
    #[cfg_attr(not(feature = "python"), allow(dead_code))]
    #[inline]
    pub(crate) fn wakes_a_thread(&self) -> bool {
        self.listeners().any(|listener| {
            listener.state.load(Relaxed) == ARMED
                // SAFETY: null or a hub, which is immortal.
                && unsafe { listener.hub.load(Acquire).as_ref() }.is_some_and(|hub| hub.blocking.load(Relaxed) == 1)
        })
    }

    fn listeners(&self) -> impl Iterator<Item = &Listener> {
        let mut at = &self.listeners;
        std::iter::from_fn(move || {
            // SAFETY: null, or published by the Release in `attach`, and freed with the event only.
            let listener = unsafe { at.load(Acquire).as_ref() }?;
            at = &listener.next;
            Some(listener)
        })
    }

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
        let _lock = lock();
        // Another thread may have been here first, and made a new one since: look again, now that nobody can.
        self.pipe.clear().inspect_err(|_| self.pipe.retire())
    }

    /// The descriptor, made now if there is none. `None`: closed.
    ///
    /// # Errors
    /// None could be made, or its first token was refused.
    pub(crate) fn expose(&self) -> io::Result<Option<Descriptor>> {
        let mut registry = lock();
        if self.pipe.word().is_closed() {
            return Ok(None);
        }
        if !self.pipe.word().is_exposed() {
            let notifier = Notifier::new()?;
            registry.exposed.insert(ptr::from_ref(self));
            self.pipe.expose(notifier)?;
        }
        Ok(self.pipe.hold())
    }

    /// A listener that a late notifier has freed where it stands in the list. Under the lock.
    fn claim_stray(&self) -> Option<&Listener> {
        if self.strays.load(Relaxed) == 0 {
            return None;
        }
        let claimed = |listener: &&Listener| listener.state.compare_exchange(FREE, CLAIMED, Acquire, Relaxed).is_ok();
        let stray = self.listeners().find(claimed)?;
        self.strays.fetch_sub(1, Relaxed);
        Some(stray)
    }

    /// A spare listener, or a new one, not in the list yet. Under the lock.
    fn claim_spare(&self) -> &Listener {
        // SAFETY: under the lock; what is spare is ours, and FREE.
        let spare = self.spare.with_mut(|spare| unsafe {
            let listener = (*spare).as_ref()?;
            *spare = listener.fired.load(Relaxed);
            Some(listener)
        });
        if let Some(spare) = spare {
            spare.state.store(CLAIMED, Relaxed);
            return spare;
        }
        #[cfg(all(test, any(loom, wakefd_steps)))]
        LISTENERS.fetch_add(1, Relaxed);
        self.listened.store(true, Relaxed); // whoever is the last to let go comes after this
        let fresh = Box::into_raw(Box::new(Listener {
            state: AtomicU32::new(CLAIMED),
            hub: AtomicPtr::new(ptr::null_mut()),
            fired: AtomicPtr::new(ptr::null_mut()),
            next: AtomicPtr::new(ptr::null_mut()),
            back: UnsafeCell::new(ptr::null()),
            event: self,
            keep: UnsafeCell::new(None),
            index: UnsafeCell::new(0),
            waiters: UnsafeCell::new(Default::default()),
        }));
        // SAFETY: the event frees it, when it goes.
        unsafe { &*fresh }
    }

    /// How many listeners a notify looks at: those of the loops and threads that wait, and of a few that did.
    #[cfg_attr(not(feature = "python"), allow(dead_code))]
    pub(crate) fn listener_count(&self) -> usize {
        self.listeners().count()
    }

    /// Are there more listeners than may stay though nobody waits?
    #[inline]
    fn is_crowded(&self) -> bool {
        let attached = self.attached.load(Relaxed);
        #[cfg(all(test, any(loom, wakefd_steps)))]
        let attached = attached + CROWDED_BY.load(Relaxed);
        attached > KEPT
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
            self.raise()
        }
    }

    /// `notify` off its fast path.
    #[inline(always)] // with `notify`, `tell` and `clear_if`: a tenth of a notify and clear
    pub(crate) fn raise(&self) -> io::Result<bool> {
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
            return Ok(());
        }
        self.tell_each()
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
            let mut registry = lock();
            let closed = self.pipe.close();
            registry.exposed.remove(&self.as_ptr());
            if !closed {
                return Ok(());
            }
        }
        self.tell()
    }
}

global! {
    /// How many events rest; a hint for those who make one.
    static RESTING: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
}

/// How many of them rest.
#[cfg(all(test, any(loom, wakefd_steps)))]
pub(crate) fn resting() -> usize {
    lock().resting.len()
}

impl Registry {
    fn rested(&mut self) -> Option<NonNull<Event>> {
        let event = self.resting.pop();
        RESTING.store(self.resting.len(), Relaxed);
        event
    }

    fn rest(&mut self, event: NonNull<Event>) {
        self.resting.push(event);
        RESTING.store(self.resting.len(), Relaxed);
    }
}

/// How many events there are, for the models.
#[cfg(all(test, any(loom, wakefd_steps)))]
pub(crate) static ALIVE: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

/// How many listeners they have, spare ones included.
#[cfg(all(test, any(loom, wakefd_steps)))]
pub(crate) static LISTENERS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

impl Last for Event {
    #[inline]
    fn count(&self) -> &Count {
        &self.count
    }

    unsafe fn last(this: NonNull<Self>) {
        // SAFETY: alive up to here, and nobody else's; but for the word, which late native callers may read.
        let event = unsafe { this.as_ref() };
        if event.immortal.load(Relaxed) {
            event.rest();
        } else {
            // SAFETY: `Counted::new` made it with Box, and nobody has it any more.
            drop(unsafe { Box::from_raw(this.as_ptr()) });
        }
    }
}

impl Event {
    /// The end of an immortal event, and the beginning of its next life.
    #[cold]
    fn rest(&self) {
        let mut registry = lock();
        self.pipe.close();
        registry.exposed.remove(&ptr::from_ref(self));
        for listener in self.listeners() {
            // Nobody waits, so it is one of these or FREE.
            if matches!(listener.state.load(Acquire), IDLE | ARMED) {
                // SAFETY: not FREE, so it points to a hub.
                let hub = unsafe { &*listener.hub.load(Acquire) };
                listener.leave_own(hub);
                listener.detach(hub);
            } else if listener.state.load(Relaxed) == FREE {
                listener.unlink();
            }
        }
        self.strays.store(0, Relaxed);
        self.pipe.reopen();
        registry.rest(NonNull::from(self));
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        #[cfg(all(test, any(loom, wakefd_steps)))]
        ALIVE.fetch_sub(1, Relaxed);
        if !self.listened.load(Relaxed) && !self.pipe.was_exposed() {
            return;
        }
        let mut registry = lock();
        registry.exposed.remove(&ptr::from_ref(self));
        for listener in self.listeners() {
            // Nobody waits (a waiter would keep the event), so it is IDLE (or ARMED, by a cancel that lost a race against nobody)
            // or FREE.
            if matches!(listener.state.load(Acquire), IDLE | ARMED) {
                // SAFETY: not FREE, so it points to a hub.
                let hub = unsafe { &*listener.hub.load(Acquire) };
                listener.leave_own(hub);
                hub.refs.fetch_sub(1, AcqRel);
            }
        }
        drop(registry);
        // No hub knows of them any more.
        free_each(self.listeners.load(Relaxed), |listener| &listener.next);
        // SAFETY: nobody has the event any more.
        free_each(self.spare.with_mut(|spare| unsafe { *spare }), |listener| {
            &listener.fired
        });
    }
}

/// Frees the listeners of an event that goes.
fn free_each(mut at: *mut Listener, next: impl Fn(&Listener) -> &AtomicPtr<Listener>) {
    while !at.is_null() {
        #[cfg(all(test, any(loom, wakefd_steps)))]
        LISTENERS.fetch_sub(1, Relaxed);
        // SAFETY: `claim_spare` made it with Box, the event owns it, and nobody else has it.
        let listener = unsafe { Box::from_raw(at) };
        at = next(&listener).load(Relaxed);
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Listeners

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

    fn is_of(&self, hub: &HubCore) -> bool {
        ptr::eq(self.hub.load(Relaxed), hub)
    }

    /// Nobody waits any more. The hub's thread only.
    pub(crate) fn disarm(&self) {
        let _ = self.state.compare_exchange(ARMED, IDLE, AcqRel, Relaxed);
    }

    /// Has the next `dispatch` look at it, as if a notify had told us: it has been armed. The hub's thread only.
    ///
    /// # Errors
    /// The hub's token was refused. It is queued all the same, and the next notify tries again.
    #[cfg_attr(not(feature = "python"), allow(dead_code))]
    pub(crate) fn fire(&self, event: &EventRef) -> io::Result<()> {
        match self.state.compare_exchange(ARMED, QUEUED, AcqRel, Relaxed) {
            Ok(_) => self.push(event),
            // Somebody has told us. If he was refused the hub sleeps, and whoever fires counts on its waking.
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
                self.free(hub);
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

    /// Somebody has queued it already. If the hub's token was refused then, this is the next notify.
    fn retry(&self) -> io::Result<()> {
        // SAFETY: null or a hub, which is immortal. It may be another one by now: that costs it a spurious wake-up.
        match unsafe { self.hub.load(Acquire).as_ref() } {
            Some(hub) if hub.pipe.is_unsent() => hub.wake(),
            _ => Ok(()),
        }
    }

    /// Owned by the caller (QUEUED or CLAIMED), and not in `own` any more. `hub` is touched last.
    fn free(&self, hub: &HubCore) {
        self.hub.store(ptr::null_mut(), Relaxed);
        // SAFETY: ours until the state says FREE.
        self.waiters
            .with_mut(|waiters| unsafe { *waiters = Default::default() });
        self.state.store(FREE, Release);
        hub.refs.fetch_sub(1, AcqRel);
    }

    /// Takes it out of its event's list and frees it. Under the lock; owned by the caller, and not in `own` any more.
    fn detach(&self, hub: &HubCore) {
        self.unlink();
        self.free(hub);
    }

    /// Takes it out of its event's list, for the next who waits. Under the lock; owned by the caller, or FREE; not in `own`.
    fn unlink(&self) {
        // SAFETY: the event owns the listener.
        let event = unsafe { &*self.event };
        let next = self.next.load(Relaxed);
        // SAFETY: under the lock; what points to us is the event or a listener of its list.
        let back = self.back.with_mut(|back| unsafe { *back });
        // SAFETY: null, or a listener of the event's list.
        if let Some(next) = unsafe { next.as_ref() } {
            // SAFETY: under the lock.
            next.back.with_mut(|at| unsafe { *at = back });
        }
        // SAFETY: as above. Our own `next` stays: a notifier may stand here.
        unsafe { (*back).store(next, Release) };
        event.attached.fetch_sub(1, Relaxed);
        // SAFETY: under the lock.
        event.spare.with_mut(|spare| unsafe {
            self.fired.store(*spare, Relaxed);
            *spare = ptr::from_ref(self).cast_mut();
        });
    }

    /// Puts it at the head of its event's list. Under the lock; owned by the caller, and not yet in `own`.
    fn link(&self, event: &Event) {
        let this = ptr::from_ref(self).cast_mut();
        let head = event.listeners.load(Relaxed);
        self.next.store(head, Release); // a notifier may stand here, and goes on from the head
        // SAFETY: under the lock, as is the next one.
        self.back.with_mut(|back| unsafe { *back = &raw const event.listeners });
        event.listeners.store(this, Release);
        // SAFETY: null, or a listener of the event's list.
        if let Some(head) = unsafe { head.as_ref() } {
            // SAFETY: under the lock.
            head.back.with_mut(|back| unsafe { *back = &raw const self.next });
        }
        event.attached.fetch_add(1, Relaxed);
    }

    /// Takes it out of its hub's `own`. Under the lock.
    fn leave_own(&self, hub: &HubCore) {
        // SAFETY: under the lock; what is in `own` is alive, and stands where its `index` says.
        hub.own.with_mut(|own| unsafe {
            let own = &mut *own;
            let index = self.index.with_mut(|index| *index);
            own.swap_remove(index);
            if let Some(&moved) = own.get(index) {
                (*moved).index.with_mut(|at| *at = index);
            }
        });
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Hubs

impl HubCore {
    /// A hub from the pool, or a new one.
    ///
    /// # Errors
    /// No descriptor to be had.
    pub(crate) fn acquire(blocking: bool) -> io::Result<&'static Self> {
        let mut registry = lock();
        let fresh = Self::notifier(blocking)?;
        let idle = registry.pool.iter().position(|hub| hub.refs.load(Acquire) == 0);
        let hub = if let Some(index) = idle {
            registry.pool.swap_remove(index)
        } else {
            let hub: &'static Self = Box::leak(Box::new(Self {
                pipe: SelfPipe::new(),
                head: AtomicPtr::new(ptr::null_mut()),
                refs: AtomicUsize::new(0),
                blocking: AtomicU32::new(0),
                own: UnsafeCell::new(Vec::new()),
            }));
            registry.hubs.push(hub);
            let all = registry.hubs.len();
            registry.pool.reserve(all);
            hub
        };
        hub.head.store(ptr::null_mut(), Release);
        hub.expose_anew(fresh);
        hub.blocking.store(blocking.into(), Relaxed);
        Ok(hub)
    }

    fn notifier(blocking: bool) -> io::Result<Notifier> {
        if blocking {
            notifier::for_a_thread()
        } else {
            Notifier::new()
        }
    }

    pub(crate) fn wake(&self) -> io::Result<()> {
        match self.pipe.notify() {
            Raised::Closed | Raised::Coalesced => Ok(()),
            Raised::Retried(sent) | Raised::Rose(sent) => sent,
        }
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
        let _lock = lock();
        // SAFETY: under the lock; what is in `own` is alive, and so is what the event has.
        let found = self.own.with_mut(|own| unsafe {
            let own = &*own;
            if own.len() <= event.attached.load(Relaxed) {
                own.iter()
                    .map(|&listener| &*listener)
                    .find(|listener| ptr::eq(listener.event, event))
            } else {
                event.listeners().find(|listener| listener.is_of(self))
            }
        });
        if let Some(listener) = found {
            return listener;
        }
        let listener = event.claim_stray().unwrap_or_else(|| {
            let listener = event.claim_spare();
            listener.link(event);
            listener
        });
        self.refs.fetch_add(1, Relaxed);
        // SAFETY: under the lock.
        self.own.with_mut(|own| unsafe {
            let own = &mut *own;
            listener.index.with_mut(|index| *index = own.len());
            own.push(ptr::from_ref(listener));
        });
        listener.hub.store(ptr::from_ref(self).cast_mut(), Release);
        listener.state.store(IDLE, Release);
        listener
    }

    /// The last wait of this hub for `event` has ended: if the event has many listeners, this one leaves them. The hub's thread only.
    #[inline]
    pub(crate) fn let_go(&self, listener: &Listener, event: &Event) {
        if event.is_crowded() {
            self.detach(listener);
        }
    }

    #[cold]
    fn detach(&self, listener: &Listener) {
        let _lock = lock();
        // QUEUED: the dispatch lets go of it.
        if listener.state.compare_exchange(IDLE, CLAIMED, Acquire, Relaxed).is_ok() {
            listener.leave_own(self);
            listener.detach(self);
        }
    }

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
        let _lock = lock();
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

    /// It has no notifier; its flag may be up, raised by a late notify.
    fn expose_anew(&self, fresh: Notifier) {
        let _ = self.pipe.clear(); // nothing to drain: cannot fail
        // A refusal leaves UNSENT behind: the next notify tries again.
        let _ = self.pipe.expose(fresh);
    }

    /// The loop is gone, or the thread has ended. Listeners become free, late notifiers find the sentinel.
    pub(crate) fn close(&'static self) {
        let mut registry = lock();
        let queued = self.head.swap(CLOSED, AcqRel);
        // SAFETY: under the lock.
        self.own.with_mut(|own| unsafe {
            let own = &mut *own;
            for &listener in &*own {
                let listener = &*listener;
                // A notifier may be queueing it: what it holds it frees itself.
                let claimed = |from| listener.state.compare_exchange(from, CLAIMED, AcqRel, Relaxed).is_ok();
                if claimed(IDLE) || claimed(ARMED) {
                    listener.detach(self);
                }
            }
            own.clear();
        });
        // Its memory is for ever, its descriptor is not: a late notifier that still writes to it closes it.
        self.pipe.retire();
        registry.pool.push(self);
        drop(registry);
        self.free_chain(queued);
    }

    /// Frees listeners that are ours, linked by `fired`. Not under the lock: the last reference to an event may go.
    fn free_chain(&self, mut at: *mut Listener) {
        while !at.is_null() && at != CLOSED {
            // SAFETY: ours (its state is QUEUED or CLAIMED), and kept alive by its `keep` until that is dropped below.
            let listener = unsafe { &*at };
            at = listener.fired.load(Relaxed);
            // SAFETY: as above.
            let keep = listener.keep.with_mut(|keep| unsafe { (*keep).take() });
            let locked = lock();
            listener.detach(self);
            drop(locked);
            drop(keep);
        }
    }

    /// In the child of a fork: forgets all who waited (they were the parent's), lets go of the parent's descriptor, and goes
    /// into the pool.
    ///
    /// What is not in `own` is QUEUED by a thread that is no more: nobody will free it, so it goes on counting in `refs`, and
    /// this hub is not used again. (Whoever took it would find that listener for its own, and never be told.)
    ///
    /// Leaves the listeners that own a reference to their event on the stack: it may be the last one, and the lock is closed.
    #[cfg(all(unix, not(loom)))]
    fn reset(&'static self, pool: &mut Vec<&'static Self>) {
        let mut chain = ptr::null_mut();
        // SAFETY: under the lock, in a process without other threads.
        self.own.with_mut(|own| unsafe {
            let own = &mut *own;
            for &listener in &*own {
                let listener = &*listener;
                listener.state.store(CLAIMED, Relaxed);
                if listener.keep.with_mut(|keep| (*keep).is_some()) {
                    listener.fired.store(chain, Relaxed);
                    chain = ptr::from_ref(listener).cast_mut();
                } else {
                    listener.detach(self);
                }
            }
            own.clear();
        });
        self.head.store(chain, Relaxed);
        self.pipe.void();
        self.pipe.retire();
        if !pool.iter().any(|pooled| ptr::eq(*pooled, self)) {
            pool.push(self);
        }
    }
}

/// In the child of a fork, before any other thread is there: every hub is closed and in the pool, every exposed event has a
/// descriptor of its own, under the old number where that still is ours. Allocates nothing.
#[cfg(all(unix, not(loom)))]
pub(crate) fn reset_after_fork(mut registry: Locked) {
    let Registry {
        hubs, pool, exposed, ..
    } = &mut *registry;
    // First what gives descriptors back.
    for hub in hubs {
        hub.reset(pool);
    }
    for event in &*exposed {
        // SAFETY: events remove themselves under the lock when they go.
        let pipe = &unsafe { &**event }.pipe;
        pipe.void();
        let _ = pipe.renew(); // without a descriptor the next `fileno` makes one
    }
    drop(registry);
    let mut index = 0;
    while let Some(hub) = { lock().hubs.get(index).copied() } {
        hub.free_chain(hub.head.swap(CLOSED, Relaxed));
        index += 1;
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
