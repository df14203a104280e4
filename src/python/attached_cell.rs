//! The attached cell: a value for one thread at a time, of those that are attached to Python.
//!
//! The GIL does most of the locking. A thread that has the GIL, and keeps it until it is done with the value, needs no lock;
//! only an interpreter without a GIL has several attached threads at a time, and a flag keeps these apart.

use pyo3::{PyVisit, Python, pyfunction};
use std::{
    cell::UnsafeCell,
    sync::atomic::{
        AtomicBool,
        Ordering::{Acquire, Relaxed, Release},
    },
};

/// Whether this interpreter can run without the GIL. True until the import has found out.
static FREE_THREADED: AtomicBool = AtomicBool::new(true);
/// The answer of the import, which `assume_free_threaded` goes back to.
static FOUND: AtomicBool = AtomicBool::new(true);

/// The import says here whether the interpreter can run without the GIL, while no other thread is attached.
///
/// With the GIL, the atomic exchange in `take` would cost as much as all the rest of `put`.
pub(super) fn set_free_threaded(yes: bool) {
    FOUND.store(yes, Relaxed);
    FREE_THREADED.store(yes, Relaxed);
}

/// For tests: True has the cells work as without a GIL, False as the import found the interpreter.
#[pyfunction]
pub(super) fn assume_free_threaded(assume: bool) {
    FREE_THREADED.store(assume || FOUND.load(Relaxed), Relaxed);
}

/// Whether several threads can be attached to Python at a time.
#[inline]
pub(super) fn is_free_threaded() -> bool {
    FREE_THREADED.load(Relaxed)
}

/// Tells PyO3 that this thread is attached, where CPython has called us without PyO3's wrapper.
///
/// `Python::attach` would first ask whether it may attach. While the interpreter ends it may not, but `__del__` still runs,
/// and calls us: it would panic.
#[inline]
pub(super) fn attached<R>(py: Python<'_>, act: impl FnOnce(Python<'_>) -> R) -> R {
    let _ = py;
    // SAFETY: `py` proves that this thread is attached. A thread that has a thread state may take it once more, and let go of it.
    unsafe { Python::attach_unchecked(act) }
}

/// A cell whose value one attached thread at a time may touch.
///
/// Its users must neither run Python code nor detach while they have the value. With the GIL no thread then finds the cell
/// taken. A user that breaks the rule hangs; two threads never have the value at once.
///
/// Only an attached thread has a `Python` token, which is why a thread that is not cannot reach the value.
pub(super) struct AttachedCell<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: `enter` gives the value to one thread at a time.
unsafe impl<T: Send> Sync for AttachedCell<T> {}

impl<T> AttachedCell<T> {
    pub(super) fn new(value: T) -> Self {
        Self {
            taken: AtomicBool::new(false),
            value: UnsafeCell::new(value),
        }
    }

    /// Gives the value to `act`.
    #[inline]
    pub(super) fn with<R>(&self, _attached: Python<'_>, act: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: the token proves that this thread is attached.
        unsafe { self.enter(act) }
    }

    /// Gives the value to the garbage collector's visit. An attached thread makes that visit, but PyO3 has no token for it.
    pub(super) fn traverse<R>(&self, _attached: &PyVisit<'_>, act: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: a `PyVisit` is only lent to a `__traverse__`, and CPython calls that from an attached thread.
        unsafe { self.enter(act) }
    }

    /// # Safety
    /// This thread is attached.
    #[inline]
    unsafe fn enter<R>(&self, act: impl FnOnce(&mut T) -> R) -> R {
        struct Leave<'a>(&'a AtomicBool);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.0.store(false, Release);
            }
        }
        // SAFETY: the caller's promise.
        while !unsafe { self.take() } {
            std::thread::yield_now();
        }
        let _leave = Leave(&self.taken);
        // SAFETY: this thread has taken the cell, and no other one takes it until `_leave` is dropped.
        act(unsafe { &mut *self.value.get() })
    }

    /// Takes the cell, unless it is taken.
    ///
    /// # Safety
    /// This thread is attached.
    #[inline]
    unsafe fn take(&self) -> bool {
        if is_free_threaded() {
            return !self.taken.swap(true, Acquire);
        }
        // This thread has the GIL, so no other one is between these two lines; the GIL also orders what they do in here.
        let free = !self.taken.load(Relaxed);
        if free {
            self.taken.store(true, Relaxed);
        }
        free
    }
}
