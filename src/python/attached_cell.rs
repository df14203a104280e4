//! What one thread at a time may touch.

use pyo3::pyfunction;
use std::{
    cell::UnsafeCell,
    sync::atomic::{
        AtomicBool,
        Ordering::{Acquire, Relaxed, Release},
    },
};

/// This Python has no GIL, or may run without. Until somebody knows: yes.
static FREE_THREADED: AtomicBool = AtomicBool::new(true);
/// The same, as it was found at the import.
static FOUND: AtomicBool = AtomicBool::new(true);

/// To be called at the import, as long as no other thread is at it: with the GIL, the exchange in `take` would cost as much
/// as all else that `put` does.
pub(super) fn free_threaded(yes: bool) {
    FOUND.store(yes, Relaxed);
    FREE_THREADED.store(yes, Relaxed);
}

/// For tests: do as where there may be no GIL; False: as it was found at the import.
#[pyfunction]
pub(super) fn assume_free_threaded(assume: bool) {
    FREE_THREADED.store(assume || FOUND.load(Relaxed), Relaxed);
}

/// May another thread be attached to Python at the same time as this one?
#[inline]
pub(super) fn is_free_threaded() -> bool {
    FREE_THREADED.load(Relaxed)
}

/// One at a time, of the threads that are attached to Python: no other may touch it. Under the GIL nobody ever finds it
/// taken, as nobody lets go of the GIL in there.
pub(super) struct Exclusive<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: one at a time.
unsafe impl<T: Send> Sync for Exclusive<T> {}

impl<T> Exclusive<T> {
    pub(super) fn new(value: T) -> Self {
        Self {
            taken: AtomicBool::new(false),
            value: UnsafeCell::new(value),
        }
    }

    #[inline]
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut T) -> R) -> R {
        struct Free<'a>(&'a AtomicBool);
        impl Drop for Free<'_> {
            fn drop(&mut self) {
                self.0.store(false, Release);
            }
        }
        while !self.take() {
            std::thread::yield_now();
        }
        let _free = Free(&self.taken);
        // SAFETY: we have it.
        act(unsafe { &mut *self.value.get() })
    }
    #[inline]
    fn take(&self) -> bool {
        if is_free_threaded() {
            return !self.taken.swap(true, Acquire);
        }
        // Nobody is between these two: whoever gets here has the GIL, and the one before let go of it since.
        let free = !self.taken.load(Relaxed);
        if free {
            self.taken.store(true, Relaxed);
        }
        free
    }
}
