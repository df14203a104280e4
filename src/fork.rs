//! The fork handlers: what a child must find repaired.
//!
//! A child shares its parent's descriptors: it would wake the parent and steal its tokens. So a `pthread_atfork` handler
//! gives the child descriptors of its own, under the same numbers, before anything else runs there. The waiters were the
//! parent's, and are forgotten. The handler before the fork takes the lock, so that no list is caught half changed.
//!
//! This file knows each room in which something must be repaired. Of all rooms only the faces know this file: they enter
//! the library here.

use crate::process::{self, Entered};

/// A call into the library begins here if it makes or closes something; see `process::enter`.
#[inline]
pub(crate) fn enter() -> Entered {
    process::enter(install)
}

/// The handlers of the operating system's own fork.
#[cfg(all(unix, not(any(loom, wakefd_steps))))]
fn install() {
    // SAFETY: the three are plain functions that live as long as the library, which is never unloaded. It fails only when
    // memory is out, and then so does everything else.
    unsafe { libc::pthread_atfork(Some(handlers::prepare), Some(handlers::parent), Some(handlers::child)) };
}

/// Windows does not fork, neither do the models of loom, and the enumerations call the handlers themselves.
#[cfg(any(not(unix), loom, wakefd_steps))]
fn install() {}

#[cfg(all(unix, not(loom)))]
pub(crate) mod handlers {
    use crate::{
        event,
        native::handle_table,
        notifier,
        process::{Entered, GATE, Locked, epoch, lock},
        ring,
    };
    use std::cell::RefCell;

    thread_local! {
        // The thread that forks runs the handlers, before the fork and after it, in the parent and in the child.
        static HELD: RefCell<Vec<Locked>> = const { RefCell::new(Vec::new()) };
    }

    pub(crate) extern "C" fn prepare() {
        let locked = lock(Entered::of_a_fork_handler());
        HELD.with_borrow_mut(|held| held.push(locked));
    }

    pub(crate) extern "C" fn parent() {
        drop(HELD.with_borrow_mut(Vec::pop));
    }

    pub(crate) extern "C" fn child() {
        if let Some(locked) = HELD.with_borrow_mut(Vec::pop) {
            repair(locked);
        }
    }

    /// All that a child of a fork must do. The child allocates nothing here.
    fn repair(mut lock: Locked) {
        epoch::advance();
        notifier::suspect();
        GATE.reset(); // before the events are repaired: that may raise it
        handle_table::forget_visitors(&mut lock);
        event::after_fork::repair(&mut lock);
        ring::after_fork::empty_all(&mut lock);
        drop(lock);
        event::after_fork::free_queued_listeners(Entered::of_a_fork_handler());
    }
}
