//! A notifier without an operating system, for the models: a count of tokens, and writes that can be refused.
//!
//! The mutex stands for the kernel's: eventfd and sockets take a lock in read and write, which orders what they order.
//! Closing takes none: that it comes after all else is the caller's business, and loom watches it (`life`).
//!
//! A thread's is the shipped `Futex`, over a kernel that is no more than its lock and its queue of one.

#[cfg(loom)]
#[path = "futex.rs"]
mod futex;

use crate::sync::Mutex;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

pub(crate) struct Notifier {
    state: Mutex<Counter>,
    #[cfg(loom)]
    life: loom::cell::UnsafeCell<()>,
    log: Arc<Log>,
    /// A thread sleeps on it, and the rest is not used.
    #[cfg(loom)]
    futex: Option<futex::Futex>,
}

#[derive(Default)]
struct Counter {
    tokens: u64,
    /// How many writes from now on are refused.
    refuse: usize,
    /// How many fit; more is "would block".
    room: Option<u64>,
    dead: bool,
    closed: bool,
}

/// The log of the calls to a notifier. It outlives the notifier, and is no step in a model.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) writes: AtomicUsize,
    pub(crate) drains: AtomicUsize,
    pub(crate) closes: AtomicUsize,
}

pub(crate) fn may_die() -> bool {
    false
}

/// Does nothing: no stranger closes descriptors in a model.
#[cfg(wakefd_steps)]
pub(crate) fn suspect() {}

pub(crate) fn for_a_thread() -> io::Result<Notifier> {
    let made = Notifier::new()?;
    #[cfg(loom)]
    let made = Notifier {
        futex: Some(Default::default()),
        ..made
    };
    Ok(made)
}

impl Notifier {
    #[allow(clippy::unnecessary_wraps)] // the contract's
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            state: Mutex::default(),
            #[cfg(loom)]
            life: loom::cell::UnsafeCell::new(()),
            log: Arc::default(),
            #[cfg(loom)]
            futex: None,
        })
    }

    fn with<R>(&self, f: impl FnOnce(&mut Counter) -> R) -> R {
        #[cfg(wakefd_steps)]
        crate::sync::steps::step();
        #[cfg(loom)]
        self.life.with(|_| ());
        f(&mut self.state.lock().unwrap())
    }

    pub(crate) fn signal(&self) -> io::Result<bool> {
        self.log.writes.fetch_add(1, Relaxed);
        #[cfg(loom)]
        if let Some(futex) = &self.futex {
            return self.life.with(|_| futex.signal());
        }
        self.with(|s| {
            assert!(!s.closed, "WRITE TO A CLOSED DESCRIPTOR");
            if s.refuse > 0 {
                s.refuse -= 1;
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            let fits = s.room.is_none_or(|room| s.tokens < room);
            s.tokens += u64::from(fits);
            Ok(fits)
        })
    }

    pub(crate) fn drain(&self) -> io::Result<u64> {
        self.log.drains.fetch_add(1, Relaxed);
        #[cfg(loom)]
        if let Some(futex) = &self.futex {
            return self.life.with(|_| Ok(futex.drain()));
        }
        self.with(|s| {
            assert!(!s.closed, "READ FROM A CLOSED DESCRIPTOR");
            if s.dead {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Ok(std::mem::take(&mut s.tokens))
        })
    }

    pub(crate) fn close(&self) {
        self.log.closes.fetch_add(1, Relaxed);
        #[cfg(loom)]
        self.life.with_mut(|_| ());
        self.with(|s| {
            assert!(!s.closed, "CLOSED TWICE");
            s.closed = true;
        });
    }

    #[allow(clippy::unused_self)] // the contract's
    pub(crate) fn name(&self) -> &'static str {
        "sim"
    }

    #[allow(clippy::unused_self)] // the contract's
    pub(crate) fn is_ours(&self) -> bool {
        true
    }

    /// The child of a fork gets an empty one, under the same sandbox.
    #[cfg(not(loom))]
    #[allow(clippy::unnecessary_wraps)] // the contract's
    pub(crate) fn renew(&mut self) -> io::Result<()> {
        let refuse = self.state.lock().unwrap().refuse;
        let state = Mutex::new(Counter {
            refuse,
            ..Counter::default()
        });
        *self = Self {
            state,
            log: Arc::default(),
        };
        Ok(())
    }

    // The hooks of the models.

    pub(crate) fn log(&self) -> Arc<Log> {
        self.log.clone()
    }

    pub(crate) fn readable(&self) -> bool {
        #[cfg(loom)]
        if self.futex.is_some() {
            return self.wait(Some(std::time::Duration::ZERO)).unwrap();
        }
        let s = self.state.lock().unwrap();
        s.tokens > 0 || s.dead
    }

    pub(crate) fn refuse(&self, writes: usize) {
        self.state.lock().unwrap().refuse = writes;
    }

    /// By one thread, and for a thread's only.
    #[cfg(loom)]
    pub(crate) fn wait(&self, left: Option<std::time::Duration>) -> io::Result<bool> {
        self.life.with(|_| self.futex.as_ref().unwrap().wait(left))
    }

    #[cfg(loom)]
    pub(crate) fn room(&self, tokens: u64) {
        self.state.lock().unwrap().room = Some(tokens);
    }

    pub(crate) fn die(&self) {
        self.state.lock().unwrap().dead = true;
    }
}
