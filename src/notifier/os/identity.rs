//! Is this descriptor still the one that we made? Its number may have been closed and given to a log file meanwhile.

use std::os::fd::{AsFd, OwnedFd};

/// An inode's device and number; an eventfd has no inode of its own, but an id in /proc.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity(pub(super) u64, pub(super) u64);

impl Identity {
    #[allow(clippy::useless_conversion, clippy::unnecessary_cast)] // dev_t and ino_t differ between systems
    pub(crate) fn of_inode(fd: impl AsFd) -> Option<Self> {
        let stat = rustix::fs::fstat(fd).ok()?;
        Some(Self(stat.st_dev as u64, stat.st_ino as u64))
    }
}

/// Puts `fresh` in the place of `old`: under the same number if `in_place` and `old` still is ours, else beside it.
pub(crate) fn replace(old: &mut OwnedFd, fresh: OwnedFd, in_place: bool, ours: bool) -> std::io::Result<()> {
    if in_place && ours {
        #[cfg(target_os = "linux")]
        rustix::io::dup3(&fresh, old, rustix::io::DupFlags::CLOEXEC)?;
        #[cfg(not(target_os = "linux"))]
        {
            rustix::io::dup2(&fresh, old)?;
            rustix::io::fcntl_setfd(&old, rustix::io::FdFlags::CLOEXEC)?;
        }
    } else {
        // Not ours to close: the number may be somebody else's by now.
        std::mem::forget(std::mem::replace(old, fresh));
    }
    Ok(())
}
