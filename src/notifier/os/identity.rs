//! Is this descriptor still the one that we made? Its number may have been closed and given to a log file meanwhile.

use std::os::fd::{AsFd, OwnedFd};

/// An inode's device and number; an eventfd has no inode of its own, but an id in /proc.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity(u64, u64);

impl Identity {
    #[allow(clippy::useless_conversion, clippy::unnecessary_cast)] // dev_t and ino_t differ between systems
    pub(crate) fn of_inode(fd: impl AsFd) -> Option<Self> {
        let stat = rustix::fs::fstat(fd).ok()?;
        Some(Self(stat.st_dev as u64, stat.st_ino as u64))
    }

    /// Allocates nothing: it runs in the child of a fork.
    #[cfg(all(any(target_os = "linux", target_os = "android"), not(wakefd_notifier)))]
    pub(crate) fn of_eventfd(fd: impl AsFd) -> Option<Self> {
        use rustix::fs::{Mode, OFlags};
        use std::{io::Write as _, os::fd::AsRawFd as _};
        let mut path = [0_u8; 40];
        write!(&mut path[..], "/proc/self/fdinfo/{}\0", fd.as_fd().as_raw_fd()).ok()?;
        let path = std::ffi::CStr::from_bytes_until_nul(&path).ok()?;
        let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let mut text = [0_u8; 512];
        let length = rustix::io::read(&file, &mut text).ok()?;
        let text = std::str::from_utf8(&text[..length]).ok()?;
        let id = text.lines().find_map(|line| line.strip_prefix("eventfd-id:"))?;
        Some(Self(u64::MAX, id.trim().parse().ok()?))
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
