//! The lock of the process, and the values that only its holder can touch.
//!
//! There is one lock. `notify` never takes it; attaching, closing, exposing and the fork handler do. It is a leaf: whoever
//! holds it takes no other lock, drops no event, and does nothing of Python.

use super::entry::Entered;
use crate::sync::{Mutex, MutexGuard, UnsafeCell, global};
use std::{collections::BTreeSet, ptr, sync::PoisonError};

global! {
    static LOCK: Mutex<()> = Mutex::new(());
}

/// The lock, held. There is at most one of these in a process.
pub(crate) struct Locked {
    _guard: MutexGuard<'static, ()>,
}

/// The lock, once nobody else holds it.
pub(crate) fn lock(_entered: Entered) -> Locked {
    Locked {
        // Nothing that is done under the lock panics half-way: a poisoned lock is as good as any.
        _guard: LOCK.lock().unwrap_or_else(PoisonError::into_inner),
    }
}

/// A value that only the holder of the lock can touch.
///
/// The reference that `get` returns borrows the lock mutably, so there is one such reference at a time in a process,
/// whatever value it is for. Nobody needs two: what belongs together stands behind one `Guarded`.
pub(crate) struct Guarded<T>(UnsafeCell<T>);

// SAFETY: the value is touched through `get` only, by one thread at a time (`Locked`), which may be any: T is Send.
unsafe impl<T: Send> Sync for Guarded<T> {}
// SAFETY: as the value itself.
unsafe impl<T: Send> Send for Guarded<T> {}

impl<T> Guarded<T> {
    #[cfg(not(loom))]
    pub(crate) const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    #[cfg(loom)]
    pub(crate) fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// The value. `_lock` proves that nobody else has a reference to it.
    #[allow(clippy::mut_from_ref)] // the reference comes with the mutable borrow of the lock
    pub(crate) fn get<'a>(&'a self, _lock: &'a mut Locked) -> &'a mut T {
        // SAFETY: a process has one `Locked` at most, and it is borrowed mutably for as long as the reference lives.
        self.0.with_mut(|value| unsafe { &mut *value })
    }
}

/// The addresses of values, to be kept behind the lock. Whoever follows one shows why its value is there.
pub(crate) struct Addresses<T>(BTreeSet<*const T>);

// SAFETY: an address is a number that any thread may know; following it is unsafe by itself.
unsafe impl<T> Send for Addresses<T> {}

impl<T> Addresses<T> {
    pub(crate) const fn new() -> Self {
        Self(BTreeSet::new())
    }

    pub(crate) fn insert(&mut self, value: &T) {
        self.0.insert(value);
    }

    pub(crate) fn remove(&mut self, value: &T) {
        self.0.remove(&ptr::from_ref(value));
    }

    #[cfg(all(unix, not(loom)))]
    pub(crate) fn iter(&self) -> impl Iterator<Item = *const T> {
        self.0.iter().copied()
    }
}
