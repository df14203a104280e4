//! The counted reference to an event: as `Arc`, but the event decides what happens when the last reference goes.
//!
//! An event that native code may know is never freed: a late caller must find its word. It is used again, as an event.

use super::Event;
use std::{
    mem::ManuallyDrop,
    ops::Deref,
    process::abort,
    ptr::NonNull,
    // The standard library's, as in `Arc`: the counts are no steps to loom.
    sync::atomic::{Ordering::Acquire, Ordering::Relaxed, Ordering::Release, fence},
};

/// A count above this number aborts the process. As in `Arc`, that leaves room for as many threads as there can be between
/// their count and their look at it; only references that are forgotten (`mem::forget`) get there.
const MAX: usize = isize::MAX as usize;

/// A reference that keeps an event alive.
pub(crate) struct EventRef(NonNull<Event>);

// SAFETY: as an Arc, a shared reference that may be the one to drop the value.
unsafe impl Send for EventRef {}
// SAFETY: as above.
unsafe impl Sync for EventRef {}

impl EventRef {
    pub(super) fn new(event: Event) -> Self {
        Self(NonNull::from(Box::leak(Box::new(event))))
    }

    /// An event whose `last` reference had gone begins another life.
    ///
    /// # Safety
    /// `last` was called with it and has not freed it; nobody else uses it yet.
    pub(super) unsafe fn again(event: NonNull<Event>) -> Self {
        // SAFETY: alive, says the caller.
        unsafe { event.as_ref() }.references.store(1, Relaxed);
        Self(event)
    }

    /// Not counted any more by us, until `from_raw`.
    pub(crate) fn into_raw(self) -> *mut Event {
        ManuallyDrop::new(self).0.as_ptr()
    }

    /// # Safety
    /// `event` came out of `into_raw`, and what it counted is now ours (or, in a `ManuallyDrop`, borrowed).
    pub(crate) unsafe fn from_raw(event: *mut Event) -> Self {
        // SAFETY: a reference is not null.
        Self(unsafe { NonNull::new_unchecked(event) })
    }
}

impl Deref for EventRef {
    type Target = Event;
    #[inline]
    fn deref(&self) -> &Event {
        // SAFETY: we are counted, so it is alive.
        unsafe { self.0.as_ref() }
    }
}

impl Clone for EventRef {
    #[inline]
    fn clone(&self) -> Self {
        // Relaxed: whoever has a reference knows the event already.
        if self.references.fetch_add(1, Relaxed) > MAX {
            abort();
        }
        Self(self.0)
    }
}

impl Drop for EventRef {
    #[inline]
    fn drop(&mut self) {
        if self.references.fetch_sub(1, Release) == 1 {
            fence(Acquire); // after all that the others did with it
            // SAFETY: that was the last one.
            unsafe { Event::last(self.0) };
        }
    }
}

#[cfg(all(test, unix, not(any(loom, wakefd_steps))))]
mod tests {
    use super::{super::Event, MAX};
    use crate::fork;
    use std::{mem, sync::atomic::Ordering::Relaxed};

    /// The signal that ends a child in which `count` references are there and one more is made; none: 0.
    fn one_more_than(count: usize) -> i32 {
        let event = Event::new(fork::enter());
        // SAFETY: the child touches an atomic and leaves.
        unsafe {
            match libc::fork() {
                0 => {
                    event.references.store(count, Relaxed);
                    mem::forget(event.clone());
                    libc::_exit(0)
                }
                child => {
                    let mut status = 0;
                    assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
                    if libc::WIFSIGNALED(status) {
                        libc::WTERMSIG(status)
                    } else {
                        0
                    }
                }
            }
        }
    }

    #[test]
    fn more_references_than_can_be_counted_abort_and_free_nothing() {
        assert_eq!(one_more_than(MAX), 0);
        assert_eq!(one_more_than(MAX + 1), libc::SIGABRT);
    }
}
