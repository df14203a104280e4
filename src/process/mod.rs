//! The process: all that its events share.
//!
//! A room for what exists once per process, or once per allocation: the lock and the values behind it, the gate, the
//! epoch, the entry guard, and memory that is freed later. It may know `sync` only.

pub(crate) mod deferred_free;
mod entry;
pub(crate) mod epoch;
mod gate;
mod lock;

pub(crate) use entry::Entered;
pub(crate) use gate::GATE;
pub(crate) use lock::{Addresses, Guarded, Locked, lock};

/// A call into the library begins here if it makes or closes something: the fork handlers are installed (by `install`, once
/// per process), and memory that was let go where nothing may be freed is freed now.
///
/// The caller does not hold the lock.
#[inline]
pub(crate) fn enter(install: fn()) -> Entered {
    let entered = Entered::after(install);
    deferred_free::free_all(entered);
    entered
}
