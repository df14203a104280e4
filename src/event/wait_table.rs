//! The wait table knows who waits for what on a hub: the loop's (or thread's) own end of it.
//!
//! There is one table per hub, touched by that hub's thread only. `W` is whatever the loop needs to wake a waiter.

use super::{EventRef, Hub, Listener, descriptor::Descriptor};
use crate::{
    process::{Entered, epoch::epoch},
    sync::fence,
};
use slotmap::{DefaultKey, Key as _, SlotMap};
use std::{
    io, mem,
    sync::atomic::Ordering::{Relaxed, SeqCst},
};

/// The key of one wait in its table; never reused.
pub(crate) type WaitKey = DefaultKey;

/// A waiter's row in the table.
struct Row<W> {
    event: Waiting,
    /// The waiter's ticket: the generation that it saw when it began to wait.
    rises: u64,
    previous: WaitKey,
    next: WaitKey,
    waiter: W,
}

/// A waiter's reference to its event.
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
pub(crate) enum Begun<T = WaitKey> {
    /// The flag is up: no need to wait.
    Up,
    /// The event is closed.
    Closed,
    /// `dispatch` will say when; or, to a thread, `Wait::sleep`.
    Waiting(T),
}

pub(crate) struct WaitTable<W> {
    hub: &'static Hub,
    epoch: u32,
    rows: SlotMap<WaitKey, Row<W>>,
    closed: bool,
}

impl<W> WaitTable<W> {
    /// A table on a hub of its own.
    ///
    /// # Errors
    /// No descriptor to be had.
    pub(crate) fn new(entered: Entered, blocking: bool) -> io::Result<Self> {
        Ok(Self {
            hub: Hub::acquire(entered, blocking)?,
            epoch: epoch(),
            rows: SlotMap::new(),
            closed: false,
        })
    }

    /// Whether the table is of use. False once it is closed, and in the child of a fork: a wait here would never end.
    #[inline]
    pub(crate) fn is_usable(&self) -> bool {
        !self.closed && !self.is_inherited()
    }

    /// Whether the table was made before a fork, by the parent.
    #[inline]
    pub(crate) fn is_inherited(&self) -> bool {
        self.epoch != epoch()
    }

    /// The hub's descriptor, to be watched for reading, or for the thread to sleep on; `dispatch` when it is readable.
    pub(crate) fn descriptor(&self) -> Option<Descriptor> {
        self.hub.pipe.hold()
    }

    /// The descriptor of a table that is usable.
    #[cfg(not(wakefd_steps))]
    pub(crate) fn usable_descriptor(&self) -> Descriptor {
        match self.descriptor() {
            Some(descriptor) => descriptor,
            None => unreachable!("a usable hub has a notifier: `renew` takes it away only when it has another one"),
        }
    }

    /// Begins to wait for `event`. The hub must be usable.
    pub(crate) fn wait(&mut self, event: &EventRef, waiter: W) -> Begun {
        debug_assert!(self.is_usable());
        let listener = self.hub.listener(event);
        let word = listener.arm(event);
        if word.is_closed() || word.is_set() {
            self.let_go_if_empty(listener, event);
            return if word.is_closed() { Begun::Closed } else { Begun::Up };
        }
        Begun::Waiting(self.enlist(listener, event, word.rises(), waiter))
    }

    /// Begins to wait for a generation of `event` other than `seen`, whether the flag is up or not; `None`: if the flag is
    /// up, that counts. What has passed already is answered by the next `dispatch` too, and so is a close. The hub must be
    /// usable.
    ///
    /// # Errors
    /// The hub's own token was refused; nobody waits then.
    pub(crate) fn wait_after(&mut self, event: &EventRef, seen: Option<u64>, waiter: W) -> io::Result<WaitKey> {
        debug_assert!(self.is_usable());
        let listener = self.hub.listener(event);
        let word = listener.arm(event);
        let seen = seen.unwrap_or_else(|| word.rises().wrapping_sub(word.is_set().into()));
        let key = self.enlist(listener, event, seen, waiter);
        if word.rises() != seen || word.is_closed() {
            listener.fire(event).inspect_err(|_| drop(self.cancel(key)))?;
        }
        Ok(key)
    }

    fn enlist(&mut self, listener: &Listener, event: &EventRef, rises: u64, waiter: W) -> WaitKey {
        let [first, last] = self.chain(listener);
        let key = self.rows.insert(Row {
            event: Waiting::new(event),
            rises,
            previous: last,
            next: WaitKey::null(),
            waiter,
        });
        match self.rows.get_mut(last) {
            Some(last) => last.next = key,
            None => debug_assert!(first.is_null()),
        }
        self.set_chain(listener, [if first.is_null() { key } else { first }, key]);
        key
    }

    /// Ends a wait; None if it has ended already. O(1).
    pub(crate) fn cancel(&mut self, key: WaitKey) -> Option<W> {
        let row = self.rows.remove(key)?;
        if self.is_usable() {
            let event = &row.event.0;
            let listener = self.hub.listener(event);
            self.unlink(listener, &row);
            self.let_go_if_empty(listener, event);
        }
        Some(row.waiter)
    }

    fn let_go_if_empty(&self, listener: &Listener, event: &EventRef) {
        if self.chain(listener)[0].is_null() {
            listener.disarm();
            self.hub.let_go(listener, event);
        }
    }

    /// The waiters, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &W> {
        self.rows.values().map(|row| &row.waiter)
    }

    /// Moves the waiters that are released to the end of `released`, in the order in which their events fired and they came.
    ///
    /// The answer is a dead descriptor that has been replaced: watch the new one before you drop it.
    pub(crate) fn dispatch(&mut self, released: &mut impl Extend<(W, Outcome)>) -> Option<Descriptor> {
        if !self.is_usable() {
            return None;
        }
        let hub = self.hub;
        hub.dispatch(|listener, event| self.release(listener, event, released))
    }

    /// Makes the hub readable, so that its loop calls `dispatch`. If that is refused, the next notify tries again.
    pub(crate) fn call_again(&self) {
        if self.is_usable() {
            let _ = self.hub.wake();
        }
    }

    /// Releases every waiter whose generation has passed, and arms the listener again for those that stay.
    fn release(&mut self, listener: &Listener, event: &EventRef, released: &mut impl Extend<(W, Outcome)>) {
        // The word is read after the listener is IDLE, and again after each arming: a rise in between was not told.
        fence(SeqCst);
        let mut word = event.pipe.word();
        loop {
            let mut at = self.chain(listener)[0];
            while let Some(row) = self.rows.get(at) {
                let next = row.next;
                let rose = row.rises != word.rises();
                if rose || word.is_closed() {
                    if let Some(row) = self.rows.remove(at) {
                        self.unlink(listener, &row);
                        released.extend([(row.waiter, if rose { Outcome::Rose } else { Outcome::Closed })]);
                    }
                }
                at = next;
            }
            if self.chain(listener)[0].is_null() {
                return self.hub.let_go(listener, event);
            }
            let now = listener.arm(event);
            if now.rises() == word.rises() && now.is_closed() == word.is_closed() {
                return;
            }
            word = now;
        }
    }

    fn unlink(&mut self, listener: &Listener, row: &Row<W>) {
        let [mut first, mut last] = self.chain(listener);
        match self.rows.get_mut(row.previous) {
            Some(previous) => previous.next = row.next,
            None => first = row.next,
        }
        match self.rows.get_mut(row.next) {
            Some(next) => next.previous = row.previous,
            None => last = row.previous,
        }
        self.set_chain(listener, [first, last]);
    }

    #[allow(clippy::unused_self)] // it is what entitles us
    fn chain(&self, listener: &Listener) -> [WaitKey; 2] {
        // SAFETY: this hub's thread, and the listener is this hub's.
        listener.waiters.with_mut(|waiters| unsafe { *waiters })
    }

    #[allow(clippy::unused_self)] // as in `chain`
    fn set_chain(&self, listener: &Listener, chain: [WaitKey; 2]) {
        // SAFETY: as in `chain`.
        listener.waiters.with_mut(|waiters| unsafe { *waiters = chain });
    }

    /// The table is closed, as its loop is gone: nobody is told any more. Returns the waiters that are left.
    pub(crate) fn close(&mut self) -> Vec<W> {
        if !mem::replace(&mut self.closed, true) && !self.is_inherited() {
            self.hub.close();
        }
        let left = mem::take(&mut self.rows);
        left.into_iter().map(|(_, row)| row.waiter).collect()
    }
}

impl<W> Drop for WaitTable<W> {
    fn drop(&mut self) {
        self.close();
    }
}
