//! How a thread without a loop waits: it sleeps on a hub of its own.

use crate::{
    event::EventRef,
    event::self_pipe::Descriptor,
    event::wait_table::{Begun, Hub, Outcome, Ticket},
    fork,
    sync::local,
};
use std::{
    cell::RefCell,
    io,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

type ThreadHub = Hub<Arc<OnceLock<Outcome>>>;

local! {
    // Borrowed for moments only: a signal handler of Python's may wait in the middle of a wait.
    static HUB: RefCell<Option<ThreadHub>> = RefCell::new(None);
}

/// A wait for the first of some events that has begun and not ended; dropping it ends it.
pub(crate) struct Wait {
    events: Vec<EventRef>,
    epoch: u32,
    outcome: Arc<OnceLock<Outcome>>,
    tickets: Vec<Ticket>,
    descriptor: Descriptor,
}

/// What `Wait::begin` found.
pub(crate) enum Started {
    Up,
    Closed,
    Waiting(Wait),
}

impl Wait {
    /// # Errors
    /// No descriptor to be had for this thread's hub.
    pub(crate) fn begin(events: Vec<EventRef>) -> io::Result<Started> {
        HUB.with(|slot| {
            let slot = &mut *slot.borrow_mut();
            let epoch = fork::epoch();
            if !slot.as_ref().is_some_and(Hub::is_usable) {
                *slot = Some(Hub::new(true)?); // the first wait, or the first one after a fork
            }
            let hub = slot.as_mut().ok_or(io::ErrorKind::NotFound)?;
            let descriptor = hub.descriptor().ok_or(io::ErrorKind::NotFound)?;
            let outcome = Arc::new(OnceLock::new());
            let mut tickets = Vec::with_capacity(events.len());
            for event in &events {
                let started = match hub.wait(event, outcome.clone()) {
                    Begun::Waiting(ticket) => {
                        tickets.push(ticket);
                        continue;
                    }
                    Begun::Up => Started::Up,
                    Begun::Closed => Started::Closed,
                };
                for ticket in tickets {
                    hub.cancel(ticket);
                }
                return Ok(started);
            }
            Ok(Started::Waiting(Self {
                events,
                epoch,
                outcome,
                tickets,
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
            if self.epoch != fork::epoch() {
                // A signal handler has forked in the middle of this wait, and we are the child: nobody knows of us here.
                match Self::begin(std::mem::take(&mut self.events))? {
                    Started::Up => return Ok(Some(Outcome::Rose)),
                    Started::Closed => return Ok(Some(Outcome::Closed)),
                    Started::Waiting(again) => *self = again,
                }
            }
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if !self.descriptor.notifier().wait(left)? {
                return Ok(self.outcome.get().copied());
            }
            self.dispatch()?;
            // Whatever keeps it readable must not keep us beyond the deadline.
            if left == Some(Duration::ZERO) {
                return Ok(self.outcome.get().copied());
            }
        }
    }

    fn dispatch(&mut self) -> io::Result<()> {
        let mut released = Vec::new();
        HUB.with(|slot| {
            let mut slot = slot.borrow_mut();
            let hub = slot
                .as_mut()
                .filter(|hub| hub.is_usable())
                .ok_or(io::ErrorKind::NotFound)?;
            hub.dispatch(&mut released);
            self.descriptor = hub.descriptor().ok_or(io::ErrorKind::NotFound)?;
            Ok::<_, io::Error>(())
        })?;
        for (outcome, how) in released {
            let _ = outcome.set(how);
        }
        Ok(())
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if self.epoch != fork::epoch() {
            return; // the ticket means nothing to a hub of this process
        }
        // The thread may be ending, and its hub be gone already.
        let _ = HUB.try_with(|slot| {
            if let Some(hub) = slot.borrow_mut().as_mut() {
                for ticket in &self.tickets {
                    hub.cancel(*ticket);
                }
            }
        });
    }
}

/// What the end of a thread does by itself, though to loom only when its globals may be gone.
#[cfg(loom)]
pub(crate) fn thread_ends() {
    drop(HUB.with(|slot| slot.borrow_mut().take()));
}
