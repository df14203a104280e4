//! `IoEvent::notified().await` on the async-io reactor, as smol's IoEvent had it.
//!
//! One hub for all tasks of the process, leader and followers: the first task that waits polls the hub's descriptor; when
//! it has been released, or is dropped, it wakes another one to do so.

use crate::{
    IoEvent, fork,
    io_event::closed,
    self_pipe::Descriptor,
    waiters::{Begun, Hub, Outcome, Ticket},
};
use async_io::Async;
use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
};

/// One task's wait. Locked after the reactor, if both are.
struct Sleeper(Mutex<(Option<Outcome>, Option<Waker>)>);

struct Reactor {
    hub: Hub<Arc<Sleeper>>,
    source: Async<Descriptor>,
    leader: Option<Ticket>,
}

static REACTOR: Mutex<Option<Reactor>> = Mutex::new(None);

impl IoEvent {
    /// Waits until the flag is up, or rises (even if somebody clears it at once).
    ///
    /// Any executor: the descriptor is watched by async-io's own thread. If the future is dropped, nothing is lost.
    ///
    /// # Errors
    /// The event is, or is being, closed ([`ErrorKind::BrokenPipe`](io::ErrorKind::BrokenPipe)); or there is no descriptor to be
    /// had.
    ///
    /// # Examples
    /// ```
    /// use wakefd::IoEvent;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let event = IoEvent::new();
    /// let notifier = event.clone();
    /// std::thread::spawn(move || notifier.notify());
    /// async_io::block_on(event.notified())?;
    /// assert!(event.clear()?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn notified(&self) -> io::Result<()> {
        let sleeper = Arc::new(Sleeper(Mutex::new((None, None))));
        let begun = with_reactor(|reactor| reactor.hub.wait(&self.event, sleeper.clone()))?;
        match begun {
            Begun::Up => Ok(()),
            Begun::Closed => Err(closed()),
            Begun::Waiting(ticket) => match (Notified { ticket, sleeper }).await? {
                Outcome::Rose => Ok(()),
                Outcome::Closed => Err(closed()),
            },
        }
    }
}

fn with_reactor<R>(f: impl FnOnce(&mut Reactor) -> R) -> io::Result<R> {
    fork::ready();
    let mut slot = REACTOR.lock().unwrap_or_else(PoisonError::into_inner);
    if !slot.as_ref().is_some_and(|reactor| reactor.hub.is_usable()) {
        let hub = Hub::new(false)?;
        let source = Async::new(hub.descriptor().ok_or(io::ErrorKind::NotFound)?)?;
        *slot = Some(Reactor {
            hub,
            source,
            leader: None,
        });
    }
    let reactor = slot.as_mut().ok_or(io::ErrorKind::NotFound)?;
    Ok(f(reactor))
}

struct Notified {
    ticket: Ticket,
    sleeper: Arc<Sleeper>,
}

impl Future for Notified {
    type Output = io::Result<Outcome>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut wakers = Vec::new();
        let result =
            with_reactor(|reactor| self.advance(reactor, context, &mut wakers)).unwrap_or_else(|e| Poll::Ready(Err(e)));
        wakers.into_iter().for_each(Waker::wake); // with the lock open: an executor may poll at once
        result
    }
}

impl Notified {
    fn advance(
        &self,
        reactor: &mut Reactor,
        context: &mut Context<'_>,
        wakers: &mut Vec<Waker>,
    ) -> Poll<io::Result<Outcome>> {
        loop {
            {
                let mut state = self.sleeper.lock();
                if let Some(outcome) = state.0 {
                    drop(state);
                    self.hand_over(reactor, wakers);
                    return Poll::Ready(Ok(outcome));
                }
                state.1 = Some(context.waker().clone());
            }
            if *reactor.leader.get_or_insert(self.ticket) != self.ticket {
                return Poll::Pending;
            }
            match reactor.source.poll_readable(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                Poll::Ready(Ok(())) => {}
            }
            let mut released = Vec::new();
            if reactor.hub.dispatch(&mut released).is_some() {
                // It was dead. The old source holds it open until the new one is watched.
                reactor.source = Async::new(reactor.hub.descriptor().ok_or(io::ErrorKind::NotFound)?)?;
            }
            for (sleeper, outcome) in released {
                let mut state = sleeper.lock();
                state.0 = Some(outcome);
                wakers.extend(state.1.take());
            }
        }
    }

    /// If we lead, somebody else does now. If nobody does, whoever was asked to may be gone, as we are: ask again.
    fn hand_over(&self, reactor: &mut Reactor, wakers: &mut Vec<Waker>) {
        if reactor.leader.is_none_or(|leader| leader == self.ticket) {
            reactor.leader = None;
            // One that has not been polled yet will see for itself that nobody leads.
            wakers.extend(reactor.hub.iter().find_map(|sleeper| sleeper.lock().1.take()));
        }
    }
}

impl Drop for Notified {
    fn drop(&mut self) {
        let mut wakers = Vec::new();
        let _ = with_reactor(|reactor| {
            reactor.hub.cancel(self.ticket);
            self.hand_over(reactor, &mut wakers);
        });
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Sleeper {
    fn lock(&self) -> std::sync::MutexGuard<'_, (Option<Outcome>, Option<Waker>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
