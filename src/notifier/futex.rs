//! A word of memory that one thread sleeps on: what a blocked thread of Linux has, and no descriptor.
//!
//! The word is the count of the tokens, so that there is one truth: a signal adds one and then wakes; a drain takes all; and
//! the kernel lets the thread sleep only if there is none, which it compares under the lock that a wake-up takes as well. A
//! token that comes between the thread's last look and its sleep is therefore never slept through. (A flag beside the word,
//! "somebody sleeps", would need an order of its own.)
//!
//! The word lies in the notifier, in memory that outlives everybody at work on it (USERS and holders, see `self_pipe`): no
//! wake-up goes to an address that is somebody else's by now. It does not overflow: until the next drain takes all there are
//! the token of one rise, and one for each user that was late, at most 4095.

#[cfg_attr(not(loom), path = "kernel.rs")]
#[cfg_attr(loom, path = "model.rs")]
mod kernel;

use crate::sync::AtomicU32;
use kernel::Kernel;
use std::{
    io,
    sync::atomic::Ordering::{Acquire, Release},
    time::Duration,
};

#[derive(Default)]
pub(crate) struct Futex {
    tokens: AtomicU32,
    kernel: Kernel,
}

/// A sleep without an end would be taken up again behind our back after a signal handler with SA_RESTART, and Python would
/// not hear of the signal. One with an end, however far, is interrupted by every handler.
const LONGEST: Duration = Duration::from_secs(86_400);

impl Futex {
    /// Release, and Acquire in `drain`: whoever takes the token sees that it was promised.
    #[inline]
    pub(crate) fn signal(&self) -> io::Result<bool> {
        self.tokens.fetch_add(1, Release);
        self.kernel.wake(&self.tokens)?;
        Ok(true)
    }

    #[inline]
    pub(crate) fn drain(&self) -> u64 {
        self.tokens.swap(0, Acquire).into()
    }

    pub(crate) fn wait(&self, left: Option<Duration>) -> io::Result<bool> {
        if left == Some(Duration::ZERO) {
            return Ok(self.tokens.load(Acquire) > 0);
        }
        let nap = left.unwrap_or(LONGEST).min(LONGEST);
        let woken = self.kernel.sleep(&self.tokens, 0, nap)?;
        Ok(woken || left != Some(nap)) // after the longest nap: look again
    }

    /// In the child of a fork, which has a copy of the word: the tokens were the parent's.
    #[cfg(not(loom))]
    pub(crate) fn renew(&mut self) {
        *self = Self::default();
    }
}
