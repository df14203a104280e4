//! What a fork must find repaired.
//!
//! A child shares its parent's descriptors: it would wake the parent and steal its tokens. So a `pthread_atfork` handler
//! gives the child its own, under the same numbers, before anything else runs there; waiters, which were the parent's, are
//! forgotten. The handler before the fork holds the lock, so that no list is caught half changed.

use crate::{event, native::handle_table, process::GATE, ring};
use std::{
    cell::RefCell,
    sync::{
        Once,
        atomic::{
            AtomicU32,
            Ordering::{AcqRel, Acquire},
        },
    },
};

/// Counts the forks that lie between this process and the one that loaded the library.
static EPOCH: AtomicU32 = AtomicU32::new(0);

/// The process we are in; another number after a fork.
#[inline]
pub(crate) fn epoch() -> u32 {
    ready();
    EPOCH.load(Acquire)
}

/// To be called by whatever makes something that a fork would copy.
#[inline]
pub(crate) fn ready() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(install);
}

/// All that a child of a fork must do, with the lock in hand.
fn in_child(registry: event::Locked) {
    EPOCH.fetch_add(1, AcqRel);
    GATE.reset(); // before the repair: that may raise it
    handle_table::forget_visitors();
    event::reset_after_fork(registry);
    ring::forks::empty_all();
}

thread_local! {
    // One thread forks, and it is this one in the parent and in the child.
    static HELD: RefCell<Vec<event::Locked>> = const { RefCell::new(Vec::new()) };
}

pub(crate) extern "C" fn prepare() {
    let registry = event::lock();
    HELD.with_borrow_mut(|held| held.push(registry));
}

pub(crate) extern "C" fn parent() {
    drop(HELD.with_borrow_mut(Vec::pop));
}

pub(crate) extern "C" fn child() {
    if let Some(registry) = HELD.with_borrow_mut(Vec::pop) {
        in_child(registry);
    }
}

#[cfg(not(wakefd_steps))]
fn install() {
    // SAFETY: the three are plain functions that live as long as the library, which is never unloaded. It fails only when
    // memory is out, and then so does everything else.
    unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) };
}

/// Who forks there calls the handlers himself.
#[cfg(wakefd_steps)]
fn install() {}
