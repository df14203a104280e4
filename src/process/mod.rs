//! What all events of a process share: the gate, and the memory that waits to be freed.

pub(crate) mod refcount;

use crate::sync::{AtomicPtr, AtomicUsize, global};
use std::{
    ptr,
    sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release},
};

/// The gate is 1 when all is well, and one more for each pipe that is UNSENT.
///
/// `notify` reads it beside its own word, so that one load tells it of everything that is out of the ordinary.
pub(crate) struct Gate(AtomicUsize);

global! {
    static GATE: Gate = Gate(AtomicUsize::new(1));
}

impl Gate {
    #[inline]
    pub(crate) fn read(&self) -> usize {
        self.0.load(Relaxed)
    }

    /// A pipe is about to be marked UNSENT. AcqRel, as `lower`: whoever reads the new value sees what led to it.
    pub(crate) fn raise(&self) {
        self.0.fetch_add(1, AcqRel);
    }

    /// A pipe's UNSENT has fallen.
    pub(crate) fn lower(&self) {
        self.0.fetch_sub(1, AcqRel);
    }

    /// No pipe is UNSENT, as in the child of a fork.
    #[cfg(all(unix, not(loom)))]
    pub(crate) fn reset(&self) {
        self.0.store(1, Release);
    }
}

global! {
    /// Memory that was let go where nothing may be freed: a lock-free stack.
    static GRAVES: AtomicPtr<Grave> = AtomicPtr::new(ptr::null_mut());
}

/// The head of an allocation that can be buried: `#[repr(C)]`, and this first.
pub(crate) struct Grave {
    next: AtomicPtr<Grave>,
    free: unsafe fn(*mut Grave),
}

impl Grave {
    /// `free` is called once, with the pointer that was given to `bury`.
    pub(crate) fn new(free: unsafe fn(*mut Grave)) -> Self {
        Self {
            next: AtomicPtr::new(ptr::null_mut()),
            free,
        }
    }

    /// Hands memory over to the next `free_the_buried`: no allocation, no lock.
    ///
    /// # Safety
    /// `this` is valid for its `free`, and nobody else uses it any more.
    pub(crate) unsafe fn bury(this: *mut Self) {
        let mut head = GRAVES.load(Relaxed);
        loop {
            // SAFETY: ours alone until the exchange below has published it.
            unsafe { &*this }.next.store(head, Relaxed);
            match GRAVES.compare_exchange_weak(head, this, Release, Relaxed) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }
}

/// To be called where memory may be freed and the lock is not held: by whoever makes or closes something.
pub(crate) fn free_the_buried() {
    if GRAVES.load(Relaxed).is_null() {
        return;
    }
    let mut at = GRAVES.swap(ptr::null_mut(), Acquire);
    while !at.is_null() {
        // SAFETY: buried, so ours since the swap; `next` is read before the memory goes.
        unsafe {
            let (next, free) = ((*at).next.load(Relaxed), (*at).free);
            free(at);
            at = next;
        }
    }
}
