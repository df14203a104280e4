//! The entry guard: the proof that this process is ready for an event, a hub, a ring or a handle.

use std::sync::Once;

/// The proof that the fork handlers of this process are installed.
///
/// Each constructor and `lock` demand it by type, so none of them can forget the handlers. Whatever has been constructed
/// keeps its copy, which takes no memory, for the times at which it takes the lock itself.
#[derive(Clone, Copy)]
pub(crate) struct Entered(());

impl Entered {
    /// The guard once the fork handlers are installed: by `install`, once per process.
    #[inline]
    pub(super) fn after(install: fn()) -> Self {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(install);
        Self(())
    }

    /// The guard of a fork handler: it runs, so it is installed. It frees nothing, as a handler may run at any time.
    #[cfg(all(unix, not(loom)))]
    pub(crate) fn of_a_fork_handler() -> Self {
        Self(())
    }
}
