//! The hooks of the models: questions and states that nothing shipped has.

#[cfg(loom)]
use super::word::{TOKEN, USER};
use super::{
    CROWD, Event, Listener,
    lifetime::{HUBS, RESTING},
};
use crate::{
    process::{Entered, lock},
    sync::Population,
};
#[cfg(loom)]
use std::sync::atomic::Ordering::AcqRel;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

impl Population for Event {
    fn alive() -> &'static AtomicUsize {
        static ALIVE: AtomicUsize = AtomicUsize::new(0);
        &ALIVE
    }
}

impl Population for Listener {
    fn alive() -> &'static AtomicUsize {
        static ALIVE: AtomicUsize = AtomicUsize::new(0);
        &ALIVE
    }
}

/// The number of hubs there are.
pub(crate) fn hubs(entered: Entered) -> usize {
    HUBS.get(&mut lock(entered)).all.len()
}

/// The number of immortal events that nobody uses.
pub(crate) fn resting(entered: Entered) -> usize {
    RESTING.get(&mut lock(entered)).len()
}

/// A crowd makes each event crowded until it is dropped: no listener stays for nothing. A model has no room for five hubs.
pub(crate) struct Crowd;

impl Crowd {
    pub(crate) fn new() -> Self {
        CROWD.store(true, Relaxed);
        Self
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        CROWD.store(false, Relaxed);
    }
}

#[cfg(loom)]
impl super::EventRef {
    /// Whether a notify would wake a blocked thread.
    pub(crate) fn wakes_a_thread(&self) -> bool {
        self.unlocked().is_some()
    }

    /// The number of references.
    pub(crate) fn references(&self) -> usize {
        self.references.load(Relaxed)
    }
}

#[cfg(loom)]
impl super::self_pipe::SelfPipe {
    /// As if `users` others were in the middle of a write, and `owed` tokens were promised that never come.
    pub(crate) fn crowd(&self, users: u64, owed: u64) {
        self.word.fetch_add(users * USER + owed * TOKEN, AcqRel);
    }

    /// `users` of those leave.
    pub(crate) fn disperse(&self, users: u64) {
        self.word.fetch_sub((users - 1) * USER, AcqRel);
        self.leave(|word| word);
    }
}

/// The end of a thread drops its hub by itself, though to loom only when its globals may be gone.
#[cfg(loom)]
pub(crate) fn thread_ends() {
    drop(super::thread_wait::HUB.with(|slot| slot.borrow_mut().take()));
}
