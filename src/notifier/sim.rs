//! A notifier without an operating system, for the models: a count of tokens, and writes that can be refused.
//!
//! The mutex stands for the kernel's: eventfd and sockets take a lock in read and write, which orders what they order.

use crate::sync::Mutex;
use std::io;

pub(crate) struct Notifier(Mutex<State>);

#[derive(Default)]
struct State {
    tokens: u64,
    /// How many writes from now on are refused.
    refuse: usize,
    /// How many fit; more is "would block".
    room: Option<u64>,
    dead: bool,
    closed: bool,
}

pub(crate) fn may_die() -> bool {
    false
}

impl Notifier {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(Mutex::new(State::default())))
    }

    fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        #[cfg(wakefd_steps)]
        crate::sync::steps::step();
        f(&mut self.0.lock().unwrap())
    }

    pub(crate) fn signal(&self) -> io::Result<bool> {
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
        self.with(|s| {
            assert!(!s.closed, "READ FROM A CLOSED DESCRIPTOR");
            if s.dead {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Ok(std::mem::take(&mut s.tokens))
        })
    }

    pub(crate) fn close(&self) {
        self.with(|s| {
            assert!(!s.closed, "CLOSED TWICE");
            s.closed = true;
        });
    }

    pub(crate) fn name(&self) -> &'static str {
        "sim"
    }

    /// The child of a fork gets an empty one.
    pub(crate) fn renew(&mut self, _in_place: bool) -> io::Result<()> {
        *self = Self::new()?;
        Ok(())
    }

    // What the models ask and do.

    pub(crate) fn readable(&self) -> bool {
        let s = self.0.lock().unwrap();
        s.tokens > 0 || s.dead
    }

    pub(crate) fn refuse(&self, writes: usize) {
        self.0.lock().unwrap().refuse = writes;
    }

    pub(crate) fn room(&self, tokens: u64) {
        self.0.lock().unwrap().room = Some(tokens);
    }

    pub(crate) fn die(&self) {
        self.0.lock().unwrap().dead = true;
    }
}
