//! What all events of a process share: the gate, and the memory that waits to be freed.

pub(crate) mod refcount;

use crate::sync::{AtomicPtr, AtomicUsize, global};
use std::{
    ptr,
    sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release},
};

/// 0 in a raw clone (the page is wiped there), 1 when all is well, and one more for each pipe that is UNSENT.
///
/// `notify` reads it beside its own word, so that one load tells it of everything that is out of the ordinary.
pub(crate) struct Gate {
    word: AtomicPtr<AtomicUsize>,
    here: AtomicUsize,
}

global! {
    static GATE: Gate = Gate { word: AtomicPtr::new(ptr::null_mut()), here: AtomicUsize::new(1) };
}

impl Gate {
    #[inline]
    fn word(&self) -> &AtomicUsize {
        // SAFETY: null, or what `move_to` stored, which lives for ever.
        unsafe { self.word.load(Acquire).as_ref() }.unwrap_or(&self.here)
    }

    #[inline]
    pub(crate) fn read(&self) -> usize {
        self.word().load(Relaxed)
    }

    /// A pipe is about to be marked UNSENT. AcqRel, as `lower`: whoever reads the new value sees what led to it.
    pub(crate) fn raise(&self) {
        self.change(|word| word + 1);
    }

    /// A pipe's UNSENT has fallen.
    pub(crate) fn lower(&self) {
        self.change(|word| word - 1);
    }

    /// Not in a raw clone, which finds the parent's UNSENT pipes: it stays at 0 until all is repaired.
    fn change(&self, change: impl Fn(usize) -> usize) {
        let word = self.word();
        let mut seen = word.load(Relaxed);
        while seen != 0 {
            match word.compare_exchange_weak(seen, change(seen), AcqRel, Relaxed) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// All is well (again): nothing is UNSENT any more.
    #[cfg(all(unix, not(loom)))]
    pub(crate) fn reset(&self) {
        self.word().store(1, Release);
    }

    /// From now on the word stands there. To be called before any pipe exists.
    #[cfg(all(target_os = "linux", not(any(loom, wakefd_steps))))]
    pub(crate) fn move_to(&self, word: &'static AtomicUsize) {
        word.store(1, Relaxed);
        self.word.store(ptr::from_ref(word).cast_mut(), Release);
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
