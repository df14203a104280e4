//! Events, hubs, and the listeners between them: one descriptor per loop, not per event.
//!
//! A room for all that lies between `notify` and a notifier. It may know `notifier`, `process` and `sync`. Here are the
//! types, the states and the argument; `notify` has the notifier's side, `dispatch` the loop's, `lifetime` how events,
//! hubs and listeners begin and end, `after_fork` what a child repairs. `self_pipe` is one `word` and its notifier,
//! which a `descriptor` keeps open. `handover` has the notifier of a loop let go of the GIL, if its `habit` is to compute, at the
//! loop's `pace`.
//! `wait_table` knows who waits on a hub, and `thread_wait` is how a thread without a loop sleeps.
//!
//! A *hub* belongs to one event loop or one blocked thread: a pipe whose reader that loop watches, and a lock-free
//! stack of the listeners that fired. An event keeps a list of *listeners*, one per hub that waits on it, and a few
//! whose hubs did so (fewer than `CROWDED`). So `notify` costs O(loops that wait), and a loop that is busy while
//! thousands of events fire is woken by one system call.
//!
//! # A listener's state
//!
//! ```text
//!   FREE --attach--> CLAIMED --> IDLE <--cancel-- ARMED --notify--> QUEUED --dispatch--> IDLE
//!    ^                            |  ---wait--->    |                 |
//!    +--detach, or hub closes-----+-----------------+                 +--its hub is closed--> FREE
//! ```
//!
//! A QUEUED listener has exactly one owner at a time: the notifier that queued it, then the stack, then whoever took
//! the stack. Only that owner touches `keep` and `fired`. It follows that a listener is never in two stacks or twice in
//! one.
//!
//! # The order of steps, and why (each has a model that fails without it)
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
//! nothing. Their descriptors are closed with them: writers to a descriptor are counted (see `self_pipe`).

pub(crate) mod descriptor;
pub(crate) mod self_pipe;
pub(crate) mod wait_table;

#[cfg(all(unix, not(loom)))]
pub(crate) mod after_fork;
mod dispatch;
#[cfg_attr(not(feature = "python"), allow(dead_code))]
mod habit;
#[cfg_attr(not(feature = "python"), allow(dead_code))]
pub(crate) mod handover;
mod lifetime;
#[cfg(any(loom, wakefd_steps))]
pub(crate) mod model;
mod notify;
#[cfg_attr(not(feature = "python"), allow(dead_code))]
mod pace;
mod reference;
#[cfg(not(wakefd_steps))]
pub(crate) mod thread_wait;
mod word;

use crate::{
    process::{Entered, Guarded, Locked},
    sync::{AtomicPtr, AtomicU32, AtomicUsize, Census, UnsafeCell},
};
pub(crate) use reference::EventRef;
use self_pipe::SelfPipe;
use slotmap::DefaultKey;
use std::{
    ptr,
    sync::atomic::{
        self, AtomicBool,
        Ordering::{Acquire, Relaxed},
    },
};

const IDLE: u32 = 0;
const ARMED: u32 = 1;
const QUEUED: u32 = 2;
const FREE: u32 = 3;
const CLAIMED: u32 = 4;

/// The event, which an `IoEvent` is a handle of.
pub(crate) struct Event {
    /// The number of `EventRef`s.
    references: atomic::AtomicUsize,
    pub(crate) entered: Entered,
    pub(crate) pipe: SelfPipe,
    /// The listeners that a notify looks at; written under the lock only.
    listeners: AtomicPtr<Listener>,
    /// The number of these; written under the lock only.
    attached: atomic::AtomicU32,
    /// The number of those among them that late notifiers have freed, without the lock; a hint for `attach`.
    strays: atomic::AtomicU32,
    /// Listeners for the next hub that waits, linked by `fired`.
    unlinked: Guarded<*mut Listener>,
    /// The number of waiters, for people to read; nothing depends on it.
    pub(crate) waiting: atomic::AtomicU32,
    /// Whether the event has, or had, a listener.
    listened: AtomicBool,
    /// Whether native code knows the event's address: then its memory is for ever, and is used again as an event.
    immortal: AtomicBool,
    _census: Census<Event>,
}

/// The listener, which links one event to one hub while somebody waits.
pub(crate) struct Listener {
    state: AtomicU32,
    /// The hub that the listener tells; null while FREE. Stable while the listener is that hub's, or QUEUED by the reader.
    hub: AtomicPtr<Hub>,
    /// The next one in the hub's stack, or among the event's unlinked ones.
    fired: AtomicPtr<Listener>,
    /// The next one in the event's list; written under the lock only, and not while it is out of the list.
    next: AtomicPtr<Listener>,
    /// The pointer to this listener in the event's list: the head, or another listener's `next`.
    back: Guarded<*const AtomicPtr<Listener>>,
    /// The event that owns this listener.
    event: *const Event,
    /// The reference that keeps the event alive while the listener is QUEUED.
    keep: UnsafeCell<Option<EventRef>>,
    /// The listener's place in its hub's `own`.
    index: Guarded<usize>,
    /// First and last of the waiters, kept by `wait_table`; the hub's thread only.
    waiters: UnsafeCell<[DefaultKey; 2]>,
    _census: Census<Listener>,
}

/// The hub, which one loop watches, or one blocked thread sleeps on.
pub(crate) struct Hub {
    entered: Entered,
    pub(crate) pipe: SelfPipe,
    /// The stack of the listeners that fired: null, a listener, or `CLOSED`.
    head: AtomicPtr<Listener>,
    /// The number of listeners that point here.
    refs: AtomicUsize,
    /// 1 if a blocked thread sleeps on the hub: then it pays to let go of the GIL before the hub is woken.
    blocking: AtomicU32,
    /// The listeners that point here, but for those that their pushers will free.
    own: Guarded<Vec<*const Listener>>,
}

/// The sentinel on the stack of a hub that is closed. Never dereferenced.
const CLOSED: *mut Listener = ptr::without_provenance_mut(1);

// SAFETY: everything in them is atomic, under the lock, or has one owner at a time, as the fields say.
unsafe impl Send for Event {}
// SAFETY: as above.
unsafe impl Sync for Event {}
// SAFETY: as above.
unsafe impl Sync for Hub {}

/// The number of listeners from which on an event is crowded. It keeps fewer in its list though nobody waits there: a
/// hub that waits again and again takes no lock.
const CROWDED: u32 = 5;
/// Whether each event is crowded: a model has no room for five hubs.
#[cfg(any(loom, wakefd_steps))]
static CROWD: AtomicBool = AtomicBool::new(false);

impl Event {
    fn listeners(&self) -> impl Iterator<Item = &Listener> {
        let mut at = &self.listeners;
        std::iter::from_fn(move || {
            let listener = Self::listener_at(at)?;
            at = &listener.next;
            Some(listener)
        })
    }

    /// The listener that the head of an event's list, or a listener's `next`, points to.
    #[inline]
    fn listener_at(at: &AtomicPtr<Listener>) -> Option<&Listener> {
        // SAFETY: null, or published by the Release in `link`, and freed with the event only.
        unsafe { at.load(Acquire).as_ref() }
    }

    /// The number of listeners that a notify looks at: those of the loops and threads that wait, and of a few that did.
    pub(crate) fn listener_count(&self) -> usize {
        self.listeners().count()
    }

    /// Whether there are more listeners than may stay though nobody waits.
    #[inline]
    fn is_crowded(&self) -> bool {
        #[cfg(any(loom, wakefd_steps))]
        if CROWD.load(Relaxed) {
            return true;
        }
        self.attached.load(Relaxed) >= CROWDED
    }
}

impl Listener {
    fn is_of(&self, hub: &Hub) -> bool {
        ptr::eq(self.hub.load(Relaxed), hub)
    }

    /// The listener goes out of its hub's `own`.
    fn remove_from_own(&self, hub: &Hub, lock: &mut Locked) {
        let index = *self.index.get(lock);
        let own = hub.own.get(lock);
        own.swap_remove(index);
        if let Some(&moved) = own.get(index) {
            // SAFETY: what is in `own` is alive.
            *unsafe { &*moved }.index.get(lock) = index;
        }
    }
}
