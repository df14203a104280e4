//! The kernel's part of a futex: to sleep on a word while it has a value, and to wake the sleeper.

use crate::sync::AtomicU32;
use std::{io, time::Duration};

#[derive(Default)]
pub(super) struct Kernel;

impl Kernel {
    /// Wakes the thread that sleeps on the word, if there is one. rustix calls Linux itself and leaves errno alone.
    #[allow(clippy::unused_self)]
    #[inline]
    pub(super) fn wake(&self, word: &AtomicU32) -> io::Result<()> {
        use rustix::thread::futex::{Flags, wake};

        wake(word, Flags::PRIVATE, 1)?;
        Ok(())
    }

    /// Sleeps while the word has this value, until somebody wakes us; false if the time was up.
    #[allow(clippy::unused_self)]
    pub(super) fn sleep(&self, word: &AtomicU32, value: u32, nap: Duration) -> io::Result<bool> {
        use rustix::{
            io::Errno,
            thread::futex::{Flags, Timespec, wait},
        };

        let nap = Timespec::try_from(nap).map_err(io::Error::other)?;
        match wait(word, Flags::PRIVATE, value, Some(&nap)) {
            Ok(()) | Err(Errno::AGAIN) => Ok(true),
            Err(Errno::TIMEDOUT) => Ok(false),
            Err(Errno::INTR) => Err(io::ErrorKind::Interrupted.into()),
            Err(e) => Err(e.into()),
        }
    }
}
