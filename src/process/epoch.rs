//! The epoch: a number for the process that we are in, another one after each fork.

use std::sync::atomic::{AtomicU32, Ordering::Acquire};

/// The number of forks between this process and the one that loaded the library.
static EPOCH: AtomicU32 = AtomicU32::new(0);

/// The number of this process. A number that was read before a fork differs from it in the child.
#[inline]
pub(crate) fn epoch() -> u32 {
    EPOCH.load(Acquire)
}

/// The child of a fork begins an epoch of its own. Only the fork handler calls this.
#[cfg(all(unix, not(loom)))]
pub(crate) fn advance() {
    EPOCH.fetch_add(1, std::sync::atomic::Ordering::AcqRel);
}
