//! The lock of the process, and the values that only its holder can touch.
//!
//! There is one lock. `notify` never takes it; attaching, closing, exposing and the fork handler do. It is a leaf: whoever
//! holds it takes no other lock, drops no event, and does nothing of Python.

use super::entry::Entered;
use crate::sync::{Mutex, MutexGuard, UnsafeCell, global};
use std::{cmp::Ordering, ptr, sync::PoisonError};

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

/// An address, to be kept in a list behind the lock. Whoever follows it shows why something is there.
pub(crate) struct Address<T>(*const T);

// SAFETY: an address is a number that any thread may know; following it is unsafe by itself.
unsafe impl<T> Send for Address<T> {}

impl<T> Address<T> {
    pub(crate) fn of(value: &T) -> Self {
        Self(value)
    }

    pub(crate) fn as_ptr(self) -> *const T {
        self.0
    }
}

impl<T> Clone for Address<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Address<T> {}

impl<T> PartialEq for Address<T> {
    fn eq(&self, other: &Self) -> bool {
        ptr::eq(self.0, other.0)
    }
}

impl<T> Eq for Address<T> {}

impl<T> PartialOrd for Address<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Address<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}
