//! Who waits for what: the loop's (or thread's) own end of a hub.
//!
//! One table per hub, touched by that hub's thread only. `W` is whatever its loop needs to wake somebody.

use crate::{
    event::self_pipe::Descriptor,
    event::{EventRef, HubCore, Listener},
    fork,
    process::free_the_buried,
    sync::fence,
};
use slotmap::{DefaultKey, Key as _, SlotMap};
use std::{
    io, mem,
    sync::atomic::Ordering::{Relaxed, SeqCst},
};

/// Names one wait of one hub; never reused.
pub(crate) type Ticket = DefaultKey;

struct Waiter<W> {
    event: Waiting,
    /// The generation that it saw when it began to wait.
    rises: u64,
    previous: Ticket,
    next: Ticket,
    who: W,
}

/// A reference to an event by somebody who waits for it.
struct Waiting(EventRef);

impl Waiting {
    fn new(event: &EventRef) -> Self {
        event.waiting.fetch_add(1, Relaxed);
        Self(event.clone())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The flag rose (and may have been cleared since).
    Rose,
    /// The event was closed before the flag rose.
    Closed,
}

/// How a wait began.
pub(crate) enum Begun {
    /// The flag is up: no need to wait.
    Up,
    /// The event is closed.
    Closed,
    /// `dispatch` will say when.
    Waiting(Ticket),
}

pub(crate) struct Hub<W> {
    core: &'static HubCore,
    epoch: u32,
    waiters: SlotMap<Ticket, Waiter<W>>,
    closed: bool,
}

impl<W> Hub<W> {
    /// # Errors
    /// No descriptor to be had.
    pub(crate) fn new(blocking: bool) -> io::Result<Self> {
        fork::ready();
        free_the_buried();
        Ok(Self {
            core: HubCore::acquire(blocking)?,
            epoch: fork::epoch(),
            waiters: SlotMap::new(),
            closed: false,
        })
    }

    /// False once it is closed, and in the child of a fork: then whoever waits here waits for ever.
    #[inline]
    pub(crate) fn is_usable(&self) -> bool {
        !self.closed && !self.is_inherited()
    }

    /// Was it made before a fork, on the other side?
    #[inline]
    pub(crate) fn is_inherited(&self) -> bool {
        self.epoch != fork::epoch()
    }

    /// What to watch for reading, or for its thread to sleep on; `dispatch` when it is readable.
    pub(crate) fn descriptor(&self) -> Option<Descriptor> {
        self.core.pipe.hold()
    }

    /// Begins to wait for `event`. The hub must be usable.
    pub(crate) fn wait(&mut self, event: &EventRef, who: W) -> Begun {
        debug_assert!(self.is_usable());
        let listener = self.core.listener(event);
        let word = listener.arm(event);
        if word.is_closed() || word.is_set() {
            self.let_go_if_empty(listener, event);
            return if word.is_closed() { Begun::Closed } else { Begun::Up };
        }
        Begun::Waiting(self.enlist(listener, event, word.rises(), who))
    }

    /// Begins to wait for a generation of `event` other than `seen`, whether the flag is up or not; `None`: if the flag is
    /// up, that counts. What has passed already is answered by the next `dispatch` too, and so is a close. The hub must be
    /// usable.
    ///
    /// # Errors
    /// The hub's own token was refused; nobody waits then.
    #[cfg_attr(not(feature = "python"), allow(dead_code))]
    pub(crate) fn wait_after(&mut self, event: &EventRef, seen: Option<u64>, who: W) -> io::Result<Ticket> {
        debug_assert!(self.is_usable());
        let listener = self.core.listener(event);
        let word = listener.arm(event);
        let seen = seen.unwrap_or_else(|| word.rises().wrapping_sub(word.is_set().into()));
        let ticket = self.enlist(listener, event, seen, who);
        if word.rises() != seen || word.is_closed() {
            listener.fire(event).inspect_err(|_| drop(self.cancel(ticket)))?;
        }
        Ok(ticket)
    }

    fn enlist(&mut self, listener: &Listener, event: &EventRef, rises: u64, who: W) -> Ticket {
        let [first, last] = self.chain(listener);
        let ticket = self.waiters.insert(Waiter {
            event: Waiting::new(event),
            rises,
            previous: last,
            next: Ticket::null(),
            who,
        });
        match self.waiters.get_mut(last) {
            Some(last) => last.next = ticket,
            None => debug_assert!(first.is_null()),
        }
        self.set_chain(listener, [if first.is_null() { ticket } else { first }, ticket]);
        ticket
    }

    /// Ends a wait; None if it has ended already. O(1).
    pub(crate) fn cancel(&mut self, ticket: Ticket) -> Option<W> {
        let waiter = self.waiters.remove(ticket)?;
        if self.is_usable() {
            let event = &waiter.event.0;
            let listener = self.core.listener(event);
            self.unlink(listener, &waiter);
            self.let_go_if_empty(listener, event);
        }
        Some(waiter.who)
    }

    fn let_go_if_empty(&self, listener: &Listener, event: &EventRef) {
        if self.chain(listener)[0].is_null() {
            listener.disarm();
            self.core.let_go(listener, event);
        }
    }

    /// Those who wait, in no order.
    #[cfg_attr(not(feature = "python"), allow(dead_code))]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &W> {
        self.waiters.values().map(|waiter| &waiter.who)
    }

    /// Moves those who are to be released to the end of `released`, in the order in which their events fired and they came.
    ///
    /// The answer is a dead descriptor that has been replaced: watch the new one before you drop it.
    pub(crate) fn dispatch(&mut self, released: &mut impl Extend<(W, Outcome)>) -> Option<Descriptor> {
        if !self.is_usable() {
            return None;
        }
        let core = self.core;
        core.dispatch(|listener, event| self.settle(listener, event, released))
    }

    /// Makes the hub readable, so that its loop calls `dispatch`. If that is refused, the next notify tries again.
    #[cfg_attr(not(feature = "python"), allow(dead_code))]
    pub(crate) fn call_again(&self) {
        if self.is_usable() {
            let _ = self.core.wake();
        }
    }

    /// Releases every waiter whose generation has passed; re-arms for those who stay.
    fn settle(&mut self, listener: &Listener, event: &EventRef, released: &mut impl Extend<(W, Outcome)>) {
        // The word is read after the listener is IDLE, and again after each arming: a rise in between was not told.
        fence(SeqCst);
        let mut word = event.pipe.word();
        loop {
            let mut at = self.chain(listener)[0];
            while let Some(waiter) = self.waiters.get(at) {
                let next = waiter.next;
                let rose = waiter.rises != word.rises();
                if rose || word.is_closed() {
                    if let Some(waiter) = self.waiters.remove(at) {
                        self.unlink(listener, &waiter);
                        released.extend([(waiter.who, if rose { Outcome::Rose } else { Outcome::Closed })]);
                    }
                }
                at = next;
            }
            if self.chain(listener)[0].is_null() {
                return self.core.let_go(listener, event);
            }
            let now = listener.arm(event);
            if now.rises() == word.rises() && now.is_closed() == word.is_closed() {
                return;
            }
            word = now;
        }
    }

    fn unlink(&mut self, listener: &Listener, waiter: &Waiter<W>) {
        let [mut first, mut last] = self.chain(listener);
        match self.waiters.get_mut(waiter.previous) {
            Some(previous) => previous.next = waiter.next,
            None => first = waiter.next,
        }
        match self.waiters.get_mut(waiter.next) {
            Some(next) => next.previous = waiter.previous,
            None => last = waiter.previous,
        }
        self.set_chain(listener, [first, last]);
    }

    #[allow(clippy::unused_self)] // it is what entitles us
    fn chain(&self, listener: &Listener) -> [Ticket; 2] {
        // SAFETY: this hub's thread, and the listener is this hub's.
        listener.waiters.with_mut(|waiters| unsafe { *waiters })
    }

    #[allow(clippy::unused_self)] // as in `chain`
    fn set_chain(&self, listener: &Listener, chain: [Ticket; 2]) {
        // SAFETY: as in `chain`.
        listener.waiters.with_mut(|waiters| unsafe { *waiters = chain });
    }

    /// The loop is gone: nobody is told any more. Gives back those who still waited.
    pub(crate) fn close(&mut self) -> Vec<W> {
        if !mem::replace(&mut self.closed, true) && !self.is_inherited() {
            self.core.close();
        }
        let left = mem::take(&mut self.waiters);
        left.into_iter().map(|(_, waiter)| waiter.who).collect()
    }
}

impl<W> Drop for Hub<W> {
    fn drop(&mut self) {
        self.close();
    }
}
