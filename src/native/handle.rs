//! The handle: what native code gets of an event, or of a byte queue.

use super::{capi, handle_table};
use crate::{
    event::EventRef,
    process::{Entered, deferred_free},
    ring::Ring,
};
use std::{ffi::c_void, fmt, io, ptr, sync::Arc};

/// A C function and its argument, for native code that notifies an event: see [`IoEvent::native`](crate::IoEvent::native).
///
/// The handle keeps the event alive. Dropping it makes the argument *stale*: a call with it, at any time later, does nothing. Native
/// code that needs the argument for longer has holds of its own (`retain` and `release` of [`capi::Api`]).
pub struct NativeHandle {
    argument: usize,
    entered: Entered,
}

impl NativeHandle {
    /// A handle of `event`, and of `ring` if it is a byte queue's event.
    pub(crate) fn new(entered: Entered, event: &EventRef, ring: Option<&Arc<Ring>>) -> io::Result<Self> {
        let argument = handle_table::open(entered, event, ring)?;
        Ok(Self { argument, entered })
    }

    /// Raises the flag of the event that its argument names, from any thread and in signal handlers; drops what `notify`
    /// would have answered. It takes any argument, and does nothing with one that is stale.
    #[allow(clippy::unused_self)] // a method as its twin is one
    pub fn function(&self) -> extern "C" fn(*mut c_void) {
        capi::function
    }

    /// The argument of the function. Never null; a number, not an address.
    pub fn argument(&self) -> *mut c_void {
        ptr::without_provenance_mut(self.argument)
    }
}

impl Drop for NativeHandle {
    fn drop(&mut self) {
        let _ = handle_table::release(self.argument); // a `release` too many by native code made it stale before
        deferred_free::free_all(self.entered);
    }
}

impl fmt::Debug for NativeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NativeHandle")
            .field("argument", &self.argument)
            .finish_non_exhaustive()
    }
}
