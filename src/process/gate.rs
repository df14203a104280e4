//! The gate: one word that tells `notify` of everything in the process that is out of the ordinary.

use crate::sync::{AtomicUsize, global};
use std::sync::atomic::Ordering::{AcqRel, Relaxed};

/// The gate is 1 when all is well, and one more for each pipe that is UNSENT.
///
/// `notify` reads it beside its own word.
pub(crate) struct Gate(AtomicUsize);

global! {
    static GATE: Gate = Gate(AtomicUsize::new(1));
}

impl Gate {
    #[inline]
    pub(crate) fn read(&self) -> usize {
        self.0.load(Relaxed)
    }

    /// A pipe is about to be marked UNSENT. AcqRel, as in `lower`: whoever reads the new value sees what led to it.
    pub(crate) fn raise(&self) {
        self.0.fetch_add(1, AcqRel);
    }

    /// A pipe's UNSENT has fallen.
    pub(crate) fn lower(&self) {
        let before = self.0.fetch_sub(1, AcqRel);
        debug_assert!(before > 1, "GATE: lowered before it was raised");
    }

    /// No pipe is UNSENT, as in the child of a fork.
    #[cfg(all(unix, not(loom)))]
    pub(crate) fn reset(&self) {
        self.0.store(1, std::sync::atomic::Ordering::Release);
    }
}
