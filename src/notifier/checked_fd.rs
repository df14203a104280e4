//! A descriptor that knows whether its number still is its own.
//!
//! Daemons close every number they see and open a log: the number is somebody else's then, and closing it, or putting a new
//! descriptor in its place, would take the log away.

use std::{
    io,
    mem::{self, ManuallyDrop},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

pub(crate) struct Owned {
    fd: ManuallyDrop<OwnedFd>,
    identity: Identity,
    /// Once it is not ours any more, it never is again, though the number and even the id may come back.
    gone: AtomicBool,
}

/// What distinguishes a descriptor from others that may have its number later. Compared without allocating: that happens in
/// the child of a fork, and in signal handlers.
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(any(target_os = "linux", target_os = "android")), allow(dead_code))] // no eventfds there
enum Identity {
    /// Device and number.
    Inode(u64, u64),
    /// All eventfds share one inode, but /proc tells them apart.
    EventFd(u64),
    /// No /proc, or an old kernel.
    Unknown,
    Closed,
}

impl Owned {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self {
            identity: Identity::of(&fd),
            fd: ManuallyDrop::new(fd),
            gone: AtomicBool::new(false),
        }
    }

    #[allow(dead_code)] // called by eventfds only
    pub(crate) fn disown(&self) {
        self.gone.store(true, Relaxed);
    }

    /// Nobody has found out so far that the number is not ours. (To look each time would cost a system call.)
    #[allow(dead_code)] // asked by eventfds only
    #[inline]
    pub(crate) fn may_be_ours(&self) -> bool {
        !self.gone.load(Relaxed)
    }

    /// Is the number still ours? None: there is no telling. To be asked before a new descriptor is made, which may get the
    /// number of one that was closed.
    pub(crate) fn is_ours(&self) -> Option<bool> {
        if self.gone.load(Relaxed) {
            return Some(false);
        }
        let ours = match (self.identity, Identity::of(&self.fd)) {
            (_, Identity::Closed) => Some(false),
            (Identity::Unknown, _) | (_, Identity::Unknown) => None,
            (then, now) => Some(then == now),
        };
        if ours == Some(false) {
            self.disown();
        }
        ours
    }

    /// Puts `fresh` in its place: under the same number if it is ours for certain, else under another one, and the old number
    /// is left alone.
    ///
    /// # Errors
    /// The system refused. Nothing has changed.
    pub(crate) fn replace(&mut self, mut fresh: Self) -> io::Result<()> {
        if self.is_ours() == Some(true) {
            #[cfg(target_os = "linux")]
            rustix::io::dup3(&fresh, &mut self.fd, rustix::io::DupFlags::CLOEXEC)?;
            #[cfg(not(target_os = "linux"))]
            {
                rustix::io::dup2(&fresh, &mut self.fd)?;
                rustix::io::fcntl_setfd(&self, rustix::io::FdFlags::CLOEXEC)?;
            }
            self.identity = fresh.identity;
            // SAFETY: forgotten below. Nobody has closed it since it was made: no need to look whose it is.
            unsafe { ManuallyDrop::drop(&mut fresh.fd) };
        } else {
            mem::swap(self, &mut fresh);
        }
        mem::forget(fresh);
        Ok(())
    }
}

impl AsFd for Owned {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if self.is_ours() != Some(false) {
            // SAFETY: nobody uses it any more.
            unsafe { ManuallyDrop::drop(&mut self.fd) };
        }
    }
}

impl Identity {
    #[allow(clippy::useless_conversion, clippy::unnecessary_cast)] // dev_t and ino_t differ between systems
    fn of(fd: &OwnedFd) -> Self {
        let Ok(stat) = rustix::fs::fstat(fd) else {
            return Self::Closed;
        };
        // Of the anonymous inode, which has no type.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Unknown {
            return eventfd_id(fd).map_or(Self::Unknown, Self::EventFd);
        }
        Self::Inode(stat.st_dev as u64, stat.st_ino as u64)
    }
}

/// `u64::MAX`: an anonymous file of another kind. (Or a kernel before 5.2, which gives no ids: all eventfds are alike then.)
#[cfg(any(target_os = "linux", target_os = "android"))]
fn eventfd_id(fd: &OwnedFd) -> io::Result<u64> {
    use rustix::fs::{Mode, OFlags};
    use std::{ffi::CStr, io::Write as _, os::fd::AsRawFd as _};

    let mut path = [0_u8; 40];
    write!(&mut path[..], "/proc/self/fdinfo/{}\0", fd.as_raw_fd())?;
    let path = CStr::from_bytes_until_nul(&path).map_err(io::Error::other)?;
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = [0_u8; 512];
    let length = rustix::io::read(&file, &mut text)?;
    let text = std::str::from_utf8(&text[..length]).map_err(io::Error::other)?;
    let id = text.lines().find_map(|line| line.strip_prefix("eventfd-id:"));
    Ok(id.and_then(|id| id.trim().parse().ok()).unwrap_or(u64::MAX))
}
