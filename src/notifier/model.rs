//! The kernel's part of a futex in the models.

use crate::sync::Mutex;
use std::{io, sync::atomic::Ordering::Relaxed};

/// FUTEX_WAIT and FUTEX_WAKE on the word of one thread. Asleep for ever is a deadlock to loom, and no time passes in a model.
#[derive(Default)]
pub(super) struct Kernel {
    asleep: Mutex<bool>,
    woken: loom::sync::Condvar,
}

#[allow(clippy::unnecessary_wraps)] // the real one's
impl Kernel {
    pub(super) fn wake(&self, _word: &crate::sync::AtomicU32) -> io::Result<()> {
        if std::mem::take(&mut *self.asleep.lock().unwrap()) {
            self.woken.notify_one();
        }
        Ok(())
    }

    pub(super) fn sleep(
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
