//! What native code gets of an event.

use crate::{event::EventRef, native::capi, native::handle_table, process::free_the_buried, ring::Ring};
use std::{ffi::c_void, io, ptr, sync::Arc};

/// A C function and its argument, for native code that notifies an event: see [`IoEvent::native`](crate::IoEvent::native).
///
/// It keeps the event alive. Dropping it makes the argument *stale*: a call with it, at any time later, does nothing. Native
/// code that needs the argument for longer has holds of its own (`retain` and `release` of [`capi::Api`]).
#[derive(Debug)]
pub struct NativeHandle {
    argument: usize,
}

impl NativeHandle {
    pub(crate) fn new(event: &EventRef) -> io::Result<Self> {
        let argument = handle_table::open(event)?;
        Ok(Self { argument })
    }

    pub(crate) fn of_ring(ring: &Arc<Ring>) -> io::Result<Self> {
        let argument = handle_table::open_ring(ring)?;
        Ok(Self { argument })
    }

    /// Raises the flag of the event that its argument names, from any thread and in signal handlers; drops what `notify`
    /// would have answered. It takes any argument, and does nothing with one that is stale.
    #[allow(clippy::unused_self)] // a method as its twin is one
    pub fn function(&self) -> extern "C" fn(*mut c_void) {
        capi::function
    }

    /// What to call it with. Never null; a number, not an address.
    pub fn argument(&self) -> *mut c_void {
        ptr::without_provenance_mut(self.argument)
    }
}

impl Drop for NativeHandle {
    fn drop(&mut self) {
        let _ = handle_table::release(self.argument); // a `release` too many by native code made it stale before
        free_the_buried();
    }
}
