//! The descriptor: a notifier that stays open while anybody holds it.

use crate::{notifier::Notifier, process::deferred_free::DeferredFree, sync::AtomicUsize};
use std::{
    mem::ManuallyDrop,
    sync::atomic::Ordering::{AcqRel, Relaxed},
};

/// An open notifier and the count of those who hold it: the pipe while it is EXPOSED, and each `Descriptor`.
#[repr(C)]
pub(super) struct Open {
    head: DeferredFree,
    pub(super) holders: AtomicUsize,
    pub(super) notifier: ManuallyDrop<Notifier>,
}

impl Open {
    pub(super) fn new(notifier: Notifier) -> *mut Self {
        Box::into_raw(Box::new(Self {
            // SAFETY: `defer` is given what `Box::into_raw` returned here, and `DeferredFree` comes first.
            head: DeferredFree::new(|this, _| drop(unsafe { Box::from_raw(this.cast::<Self>()) })),
            holders: AtomicUsize::new(1),
            notifier: ManuallyDrop::new(notifier),
        }))
    }

    /// Gives up one hold. The last one closes the descriptor and defers the freeing of the memory, because this may be a signal
    /// handler.
    ///
    /// # Safety
    /// The caller owns one hold and gives it up.
    pub(super) unsafe fn release(this: *mut Self) {
        // SAFETY: the caller's hold keeps it alive up to here.
        if unsafe { &*this }.holders.fetch_sub(1, AcqRel) == 1 {
            // SAFETY: that was the last hold, so nobody else uses it; it is closed here and only here.
            unsafe {
                #[cfg(not(any(loom, wakefd_steps)))]
                ManuallyDrop::drop(&mut (*this).notifier);
                #[cfg(any(loom, wakefd_steps))]
                (*this).notifier.close(); // the memory stays until `defer`, and reports whoever comes too late
                DeferredFree::defer(this.cast());
            }
        }
    }
}

/// A descriptor that is readable while the event is set; open as long as this lives, even after the event was closed.
///
/// To be polled, never read: only [`IoEvent::clear`](crate::IoEvent::clear) reads it.
pub struct Descriptor {
    pub(super) open: *mut Open,
}

// SAFETY: it is a counted reference to an `Open`, whose notifier is Sync and whose count is atomic.
unsafe impl Send for Descriptor {}
// SAFETY: as above.
unsafe impl Sync for Descriptor {}

impl Descriptor {
    pub(crate) fn notifier(&self) -> &Notifier {
        // SAFETY: our hold keeps it open.
        unsafe { &(*self.open).notifier }
    }

    /// Its number, as the system's own functions take it.
    #[cfg(not(any(loom, wakefd_steps)))]
    pub(crate) fn number(&self) -> i64 {
        #[cfg(unix)]
        return std::os::fd::AsRawFd::as_raw_fd(self).into();
        #[cfg(windows)]
        return std::os::windows::io::AsRawSocket::as_raw_socket(&self.notifier().as_fd()) as i64;
    }
}

impl Clone for Descriptor {
    fn clone(&self) -> Self {
        // SAFETY: our own hold keeps it alive.
        unsafe { &*self.open }.holders.fetch_add(1, Relaxed);
        Self { open: self.open }
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: gives up the hold that this value is.
        unsafe { Open::release(self.open) };
    }
}

impl std::fmt::Debug for Descriptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Descriptor")
            .field("notifier", &self.notifier().name())
            .finish_non_exhaustive()
    }
}

#[cfg(all(unix, not(any(loom, wakefd_steps))))]
impl std::os::fd::AsFd for Descriptor {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.notifier().as_fd()
    }
}

#[cfg(all(unix, not(any(loom, wakefd_steps))))]
impl std::os::fd::AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.notifier().as_fd().as_raw_fd()
    }
}

#[cfg(all(windows, not(any(loom, wakefd_steps))))]
impl std::os::windows::io::AsSocket for Descriptor {
    fn as_socket(&self) -> std::os::windows::io::BorrowedSocket<'_> {
        self.notifier().as_fd()
    }
}
