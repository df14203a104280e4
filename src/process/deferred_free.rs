//! Deferred freeing: memory that is let go where nothing may be freed, as in a signal handler, waits here.
//!
//! A lock-free stack takes it, without an allocation. The next call that makes or closes something frees it (`enter`).

use super::entry::Entered;
use crate::sync::{AtomicPtr, global};
use std::{
    ptr,
    sync::atomic::Ordering::{Acquire, Relaxed, Release},
};

global! {
    /// The stack of what waits to be freed.
    static DEFERRED: AtomicPtr<DeferredFree> = AtomicPtr::new(ptr::null_mut());
}

/// The head of an allocation whose freeing can be deferred: the allocation is `#[repr(C)]`, and this is its first field.
pub(crate) struct DeferredFree {
    next: AtomicPtr<DeferredFree>,
    free: unsafe fn(*mut DeferredFree, Entered),
}

impl DeferredFree {
    /// A head whose `free` is called once for each `defer`, with the pointer that `defer` was given.
    pub(crate) fn new(free: unsafe fn(*mut DeferredFree, Entered)) -> Self {
        Self {
            next: AtomicPtr::new(ptr::null_mut()),
            free,
        }
    }

    /// Memory is handed over to the next `free_all`: no allocation, no lock.
    ///
    /// # Safety
    /// `this` is valid for its `free`, and nobody else uses it any more.
    pub(crate) unsafe fn defer(this: *mut Self) {
        let mut head = DEFERRED.load(Relaxed);
        loop {
            // SAFETY: ours alone until the exchange below has published it.
            unsafe { &*this }.next.store(head, Relaxed);
            match DEFERRED.compare_exchange_weak(head, this, Release, Relaxed) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }
}

/// All memory that waits is freed. The destructors may take the lock, so the caller does not hold it.
#[inline]
pub(crate) fn free_all(entered: Entered) {
    if !DEFERRED.load(Relaxed).is_null() {
        free_each(entered);
    }
}

#[cold]
fn free_each(entered: Entered) {
    let mut at = DEFERRED.swap(ptr::null_mut(), Acquire);
    while !at.is_null() {
        // SAFETY: it was deferred, so it is ours since the swap; `next` is read before the memory goes.
        unsafe {
            let (next, free) = ((*at).next.load(Relaxed), (*at).free);
            free(at, entered);
            at = next;
        }
    }
}
