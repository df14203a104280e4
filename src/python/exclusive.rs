//! What one thread at a time may touch.

use std::{
    cell::UnsafeCell,
    sync::atomic::{
        AtomicBool,
        Ordering::{Acquire, Release},
    },
};

/// One at a time. Under the GIL nobody ever finds it taken, as nobody lets go of the GIL in there.
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
        while self.taken.swap(true, Acquire) {
            std::thread::yield_now();
        }
        let _free = Free(&self.taken);
        // SAFETY: we have it.
        act(unsafe { &mut *self.value.get() })
    }
}
