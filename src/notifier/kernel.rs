//! The kernel's part of a futex: to sleep on a word while it has a value, and to wake the sleeper.

#[cfg(loom)]
pub(super) use model::Kernel;
#[cfg(not(loom))]
pub(super) use real::Kernel;

#[cfg(not(loom))]
mod real {
    use crate::sync::AtomicU32;
    use std::{io, time::Duration};

    #[derive(Default)]
    pub(in super::super) struct Kernel;

    impl Kernel {
        /// Wakes the thread that sleeps on the word, if there is one. rustix calls Linux itself and leaves errno alone.
        #[allow(clippy::unused_self)]
        #[inline]
        pub(in super::super) fn wake(&self, word: &AtomicU32) -> io::Result<()> {
            use rustix::thread::futex::{Flags, wake};

            wake(word, Flags::PRIVATE, 1)?;
            Ok(())
        }

        /// Sleeps while the word has this value, until somebody wakes us; false if the time was up.
        #[allow(clippy::unused_self)]
        pub(in super::super) fn sleep(&self, word: &AtomicU32, value: u32, nap: Duration) -> io::Result<bool> {
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
}

#[cfg(loom)]
mod model {
    use crate::sync::Mutex;
    use std::{io, sync::atomic::Ordering::Relaxed};

    /// FUTEX_WAIT and FUTEX_WAKE on the word of one thread. Asleep for ever is a deadlock to loom, and no time passes in a model.
    #[derive(Default)]
    pub(in super::super) struct Kernel {
        asleep: Mutex<bool>,
        woken: loom::sync::Condvar,
    }

    #[allow(clippy::unnecessary_wraps)] // the real one's
    impl Kernel {
        pub(in super::super) fn wake(&self, _word: &crate::sync::AtomicU32) -> io::Result<()> {
            if std::mem::take(&mut *self.asleep.lock().unwrap()) {
                self.woken.notify_one();
            }
            Ok(())
        }

        pub(in super::super) fn sleep(
            &self,
            word: &crate::sync::AtomicU32,
            value: u32,
            _nap: std::time::Duration,
        ) -> io::Result<bool> {
            let mut asleep = self.asleep.lock().unwrap();
            *asleep = word.load(Relaxed) == value;
            while *asleep {
                asleep = self.woken.wait(asleep).unwrap();
            }
            Ok(true)
        }
    }
}
