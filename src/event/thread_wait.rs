//! How a thread without a loop waits: it sleeps on a hub of its own.

use super::{
    EventRef,
    descriptor::Descriptor,
    wait_table::{Begun, Outcome, WaitKey, WaitTable},
};
use crate::{
    process::{Entered, epoch::epoch},
    sync::local,
};
use std::{
    cell::RefCell,
    io,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

local! {
    // Borrowed for moments only: a signal handler of Python's may wait in the middle of a wait.
    pub(super) static HUB: RefCell<Option<WaitTable<Arc<OnceLock<Outcome>>>>> = RefCell::new(None);
}

/// A wait for the first of some events that has begun and not ended; dropping it ends it.
pub(crate) struct Wait {
    events: Vec<EventRef>,
    entered: Entered,
    epoch: u32,
    outcome: Arc<OnceLock<Outcome>>,
    keys: Vec<WaitKey>,
    descriptor: Descriptor,
}

impl Wait {
    /// Starts to wait for `events`, if none of them is up or closed.
    ///
    /// # Errors
    /// No descriptor to be had for this thread's hub.
    pub(crate) fn start(entered: Entered, events: Vec<EventRef>) -> io::Result<Begun<Self>> {
        HUB.with(|slot| {
            let slot = &mut *slot.borrow_mut();
            let epoch = epoch();
            let hub = match slot {
                Some(hub) if hub.is_usable() => hub,
                _ => slot.insert(WaitTable::new(entered, true)?), // the first wait, or the first one after a fork
            };
            let descriptor = hub.usable_descriptor();
            let outcome = Arc::new(OnceLock::new());
            let mut keys = Vec::with_capacity(events.len());
            for event in &events {
                let started = match hub.wait(event, outcome.clone()) {
                    Begun::Waiting(key) => {
                        keys.push(key);
                        continue;
                    }
                    Begun::Up => Begun::Up,
                    Begun::Closed => Begun::Closed,
                };
                for key in keys {
                    hub.cancel(key);
                }
                return Ok(started);
            }
            Ok(Begun::Waiting(Self {
                events,
                entered,
                epoch,
                outcome,
                keys,
                descriptor,
            }))
        })
    }

    /// Sleeps until the wait has ended (`Some`) or the time is up (`None`).
    ///
    /// # Errors
    /// `Interrupted`: a signal came; sleep again. Anything else: the system refused.
    pub(crate) fn sleep(&mut self, deadline: Option<Instant>) -> io::Result<Option<Outcome>> {
        loop {
            // A wait that was begun in the middle of this one may have dispatched for us.
            if let Some(&outcome) = self.outcome.get() {
                return Ok(Some(outcome));
            }
            if self.epoch != epoch() {
                // A signal handler has forked in the middle of this wait, and we are the child: nobody knows of us here.
                match Self::start(self.entered, std::mem::take(&mut self.events))? {
                    Begun::Up => return Ok(Some(Outcome::Rose)),
                    Begun::Closed => return Ok(Some(Outcome::Closed)),
                    Begun::Waiting(again) => *self = again,
                }
            }
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if !self.descriptor.notifier().wait(left)? {
                return Ok(self.outcome.get().copied());
            }
            self.dispatch();
            // Whatever keeps it readable must not keep us beyond the deadline.
            if left == Some(Duration::ZERO) {
                return Ok(self.outcome.get().copied());
            }
        }
    }

    fn dispatch(&mut self) {
        let mut released = Vec::new();
        HUB.with(|slot| {
            let mut slot = slot.borrow_mut();
            let Some(hub) = slot.as_mut().filter(|hub| hub.is_usable()) else {
                return; // a signal handler has forked since `sleep` looked, and `sleep` looks again
            };
            hub.dispatch(&mut released);
            self.descriptor = hub.usable_descriptor();
        });
        for (outcome, how) in released {
            let _ = outcome.set(how);
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if self.epoch != epoch() {
            return; // the keys mean nothing to a hub of this process
        }
        // The thread may be ending, and its hub be gone already.
        let _ = HUB.try_with(|slot| {
            if let Some(hub) = slot.borrow_mut().as_mut() {
                for key in &self.keys {
                    hub.cancel(*key);
                }
            }
        });
    }
}
