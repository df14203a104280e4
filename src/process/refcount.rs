//! A counted reference, as `Arc` is one; but what it refers to decides what becomes of it when the last one goes.
//!
//! An event that native code may know is never freed: a late caller must find its word. It is used again, as an event.

use std::{
    mem::ManuallyDrop,
    ops::Deref,
    ptr::NonNull,
    // As those of `Arc`, the counts are no steps to loom.
    sync::atomic::{AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release, fence},
};

/// The number of references to a value, within it.
pub(crate) struct Count(pub(super) AtomicUsize);

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
        // Relaxed: whoever has a reference knows the value already. No overflow: a reference takes more memory than one.
        self.count().0.fetch_add(1, Relaxed);
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
