//! The counted reference: as `Arc`, but the value decides what happens when the last reference goes.
//!
//! An event that native code may know is never freed: a late caller must find its word. It is used again, as an event.

use std::{
    mem::ManuallyDrop,
    ops::Deref,
    process::abort,
    ptr::NonNull,
    // The standard library's, as in `Arc`: the counts are no steps to loom.
    sync::atomic::{AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release, fence},
};

/// The number of references to a value, kept within the value.
pub(crate) struct Count(pub(super) AtomicUsize);

/// A count above this number aborts the process. As in `Arc`, that leaves room for as many threads as there can be between
/// their count and their look at it; only references that are forgotten (`mem::forget`) get there.
const MAX: usize = isize::MAX as usize;

impl Count {
    /// One: that of `Counted::new`.
    pub(crate) const fn new() -> Self {
        Self(AtomicUsize::new(1))
    }
}

pub(crate) trait Last {
    fn count(&self) -> &Count;

    /// The last reference is gone.
    ///
    /// # Safety
    /// `this` came out of `Box::into_raw`, and nobody else uses it any more.
    unsafe fn last(this: NonNull<Self>);
}

pub(crate) struct Counted<T: Last>(NonNull<T>);

// SAFETY: as an Arc, a shared reference that may be the one to drop the value.
unsafe impl<T: Last + Send + Sync> Send for Counted<T> {}
// SAFETY: as above.
unsafe impl<T: Last + Send + Sync> Sync for Counted<T> {}

impl<T: Last> Counted<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(NonNull::from(Box::leak(Box::new(value))))
    }

    /// A value that was the `last` of its former life begins another one.
    ///
    /// # Safety
    /// `last` was called with it and has not freed it; nobody else uses it yet.
    pub(crate) unsafe fn again(value: NonNull<T>) -> Self {
        // SAFETY: alive, says the caller.
        unsafe { value.as_ref() }.count().0.store(1, Relaxed);
        Self(value)
    }

    /// Not counted any more by us, until `from_raw`.
    pub(crate) fn into_raw(self) -> *mut T {
        ManuallyDrop::new(self).0.as_ptr()
    }

    /// # Safety
    /// `value` came out of `into_raw`, and what it counted is now ours (or, in a `ManuallyDrop`, borrowed).
    pub(crate) unsafe fn from_raw(value: *mut T) -> Self {
        // SAFETY: a reference is not null.
        Self(unsafe { NonNull::new_unchecked(value) })
    }
}

impl<T: Last> Deref for Counted<T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: we are counted, so it is alive.
        unsafe { self.0.as_ref() }
    }
}

impl<T: Last> Clone for Counted<T> {
    #[inline]
    fn clone(&self) -> Self {
        // Relaxed: whoever has a reference knows the value already.
        if self.count().0.fetch_add(1, Relaxed) > MAX {
            abort();
        }
        Self(self.0)
    }
}

impl<T: Last> Drop for Counted<T> {
    #[inline]
    fn drop(&mut self) {
        if self.count().0.fetch_sub(1, Release) == 1 {
            fence(Acquire); // after all that the others did with it
            // SAFETY: that was the last one.
            unsafe { T::last(self.0) };
        }
    }
}

#[cfg(all(test, unix, not(any(loom, wakefd_steps))))]
mod tests {
    use super::{Count, Counted, Last, MAX};
    use std::{mem, ptr::NonNull, sync::atomic::Ordering::Relaxed};

    struct Value(Count);

    impl Last for Value {
        fn count(&self) -> &Count {
            &self.0
        }

        unsafe fn last(this: NonNull<Self>) {
            // SAFETY: so says the caller.
            drop(unsafe { Box::from_raw(this.as_ptr()) });
        }
    }

    /// The signal that ends a child in which `count` references are there and one more is made; none: 0.
    fn one_more_than(count: usize) -> i32 {
        // SAFETY: the child touches an atomic and leaves.
        unsafe {
            match libc::fork() {
                0 => {
                    let value = Counted::new(Value(Count::new()));
                    value.count().0.store(count, Relaxed);
                    mem::forget(value.clone());
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
