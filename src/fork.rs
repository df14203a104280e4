//! What a fork must find repaired.
//!
//! A child shares its parent's descriptors: it would wake the parent and steal its tokens. So a `pthread_atfork` handler
//! gives the child its own, under the same numbers, before anything else runs there; waiters, which were the parent's, are
//! forgotten. The handler before the fork holds the lock, so that no list is caught half changed.
//!
//! A raw `clone` runs no handlers. There the page that the gate stands on is wiped (`MADV_WIPEONFORK`), so the gate reads 0:
//! `notify` then only raises the flag, and the first call that may take a lock repairs everything, under *new* numbers. (By
//! then an old number may belong to somebody else: fork, closerange, open a log, notify turned the log into an eventfd.)

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

/// To be called by whatever makes something that a fork would copy, and by the calls that repair a raw clone.
#[inline]
pub(crate) fn ready() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(install);
    repaired();
}

/// The half of `ready` for something that has been made already.
#[inline]
pub(crate) fn repaired() {
    if GATE.read() == 0 {
        repair_raw_clone();
    }
}

/// A raw clone is repaired by its first thread; more threads come after.
#[cold]
fn repair_raw_clone() {
    // SAFETY: the first call in a process that began with one thread.
    unsafe { event::reset_lock() };
    in_child(event::lock_as_it_is(), false);
}

/// All that a child of a fork must do, with the lock in hand.
fn in_child(registry: event::Locked, in_place: bool) {
    EPOCH.fetch_add(1, AcqRel);
    GATE.reset(); // before the repair: that may raise it
    handle_table::forget_visitors();
    event::reset_after_fork(registry, in_place);
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
        in_child(registry, true);
    }
}

#[cfg(not(wakefd_steps))]
fn install() {
    #[cfg(target_os = "linux")]
    wipe_the_gate_on_fork();
    // SAFETY: the three are plain functions that live as long as the library, which is never unloaded. It fails only when
    // memory is out, and then so does everything else.
    unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) };
}

/// Who forks there calls the handlers himself.
#[cfg(wakefd_steps)]
fn install() {}

/// Where the kernel refuses (before 4.14), only the detection of raw clones is lost.
#[cfg(all(target_os = "linux", not(wakefd_steps)))]
fn wipe_the_gate_on_fork() {
    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
    use std::{ptr, sync::atomic::AtomicUsize};

    let page = rustix::param::page_size();
    // SAFETY: a fresh private mapping at a place of the kernel's choice; unmapped only where nothing refers to it yet. An
    // AtomicUsize of zero bytes is valid, and a page is aligned for it.
    unsafe {
        let Ok(at) = mmap_anonymous(
            ptr::null_mut(),
            page,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE,
        ) else {
            return;
        };
        if madvise(at, page, Advice::LinuxWipeOnFork).is_ok() {
            GATE.move_to(&*at.cast::<AtomicUsize>());
        } else {
            let _ = munmap(at, page);
        }
    }
}
