//! `IoEvent::notified().await` on the async-io reactor, as smol's IoEvent had it.
//!
//! One hub for all tasks of the process. A waker of our own dispatches, in the thread in which async-io finds the hub's
//! descriptor readable: no wait depends on another one's being polled.

use crate::{
    IoEvent,
    event::descriptor::Descriptor,
    event::wait_table::{Begun, Outcome, WaitKey, WaitTable},
    fork,
    io_event::closed,
    process::{Entered, epoch::epoch},
};
use async_io::Async;
use std::{
    future::Future,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
};

/// How a wait ended. The error is one for all who waited.
type End = Result<Outcome, Arc<io::Error>>;

/// One task's wait: its end, and the task's waker until then.
struct Sleeper(Mutex<(Option<End>, Option<Waker>)>);

struct Reactor {
    hub: WaitTable<Arc<Sleeper>>,
    source: Async<Descriptor>,
    pump: Arc<Pump>,
}

/// The waker that async-io wakes when the hub's descriptor is readable; its address tells one reactor from the next.
struct Pump {
    epoch: u32,
}

/// Locked without any other lock; no waker is cloned, woken or dropped under it, nor under a sleeper's: that runs code of
/// others, which may wait, be dropped, and panic.
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
        match start(self, &sleeper)? {
            (Begun::Up, _) => Ok(()),
            (Begun::Closed, _) => Err(closed()),
            (Begun::Waiting(key), pump) => match (Notified { key, sleeper, pump }).await? {
                Outcome::Rose => Ok(()),
                Outcome::Closed => Err(closed()),
            },
        }
    }
}

fn reactor() -> MutexGuard<'static, Option<Reactor>> {
    REACTOR.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start(event: &IoEvent, sleeper: &Arc<Sleeper>) -> io::Result<(Begun, Arc<Pump>)> {
    let entered = fork::enter();
    let _old; // dropped last, with the wakers in it
    let mut slot = reactor();
    _old = match &*slot {
        Some(reactor) if reactor.hub.is_usable() => None,
        _ => slot.replace(Reactor::new(entered)?),
    };
    let Some(reactor) = slot.as_mut() else {
        unreachable!("it has just been made if it was not there")
    };
    Ok((reactor.hub.wait(&event.event, sleeper.clone()), reactor.pump.clone()))
}

impl Reactor {
    fn new(entered: Entered) -> io::Result<Self> {
        let hub = WaitTable::new(entered, false)?;
        let source = Async::new(hub.usable_descriptor())?;
        let pump = Arc::new(Pump { epoch: epoch() });
        let mut reactor = Self { hub, source, pump };
        reactor.turn(&mut Vec::new())?;
        Ok(reactor)
    }

    /// Dispatches while the descriptor is readable, and has the pump woken when it is so again.
    fn turn(&mut self, released: &mut Vec<(Arc<Sleeper>, Outcome)>) -> io::Result<()> {
        let waker = self.pump.clone().into();
        let mut context = Context::from_waker(&waker);
        while self.source.poll_readable(&mut context)?.is_ready() {
            if self.hub.dispatch(released).is_some() {
                // The descriptor was dead and has been replaced. The old source holds it open until the new one is watched.
                self.source = Async::new(self.hub.usable_descriptor())?;
            }
        }
        Ok(())
    }
}

impl Wake for Pump {
    fn wake(self: Arc<Self>) {
        let mut slot = reactor();
        let Some(reactor) = slot.as_mut().filter(|reactor| Arc::ptr_eq(&reactor.pump, &self)) else {
            return;
        };
        let mut released = Vec::new();
        let error = reactor.turn(&mut released).err().map(Arc::new);
        // Nothing would wake the pump again: all who wait are told, and the next wait makes another reactor.
        let broken = if error.is_some() { slot.take() } else { None };
        drop(slot);
        for (sleeper, outcome) in released {
            sleeper.end(Ok(outcome));
        }
        if let (Some(mut broken), Some(error)) = (broken, error) {
            for sleeper in broken.hub.close() {
                sleeper.end(Err(error.clone()));
            }
        }
    }
}

struct Notified {
    key: WaitKey,
    sleeper: Arc<Sleeper>,
    pump: Arc<Pump>,
}

impl Future for Notified {
    type Output = io::Result<Outcome>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.pump.epoch != epoch() {
            let why = "IoEvent::notified: this wait began before the fork, in the parent process: begin a new one";
            return Poll::Ready(Err(io::Error::other(why)));
        }
        let waker = context.waker().clone();
        let mut state = self.sleeper.lock();
        if let Some(end) = &state.0 {
            return Poll::Ready(end.clone().map_err(|error| io::Error::new(error.kind(), error)));
        }
        let old = state.1.replace(waker);
        drop(state);
        drop(old);
        Poll::Pending
    }
}

impl Drop for Notified {
    fn drop(&mut self) {
        let mut slot = reactor();
        if let Some(reactor) = slot.as_mut().filter(|reactor| Arc::ptr_eq(&reactor.pump, &self.pump)) {
            reactor.hub.cancel(self.key); // not the last reference to the sleeper: we have one
        }
    }
}

impl Sleeper {
    fn lock(&self) -> MutexGuard<'_, (Option<End>, Option<Waker>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, end: End) {
        let waker = {
            let mut state = self.lock();
            state.0 = Some(end);
            state.1.take()
        };
        if let Some(waker) = waker {
            // As in async-io's own reactor: one task's panic is not the end of the others.
            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
        }
    }
}
