//! The checked descriptor: it knows whether its number still is its own.
//!
//! Daemons close every number they see and open a log: the number is somebody else's then, and closing it, or putting a new
//! descriptor in its place, would take the log away.
//!
//! Two things tell a stranger:
//! - the *owner* of the number among descriptors of ours: a later one that has got the number is written down in a table;
//! - the *kind* of the file. At the end of a descriptor fstat and F_GETFL tell it well enough: a log, a socket or an epoll is no
//!   eventfd of ours. In the child of a fork, and once a descriptor of ours was found closed in this process, /proc tells it for
//!   certain, at ten times the cost of an eventfd.
//!
//! Nothing tells an eventfd of somebody else. The id that /proc gives an eventfd does not: the kernel gives it to the
//! next one as soon as it is free, as the number is (measured on Linux 6.18: 1991 of 2000 had both).

use rustix::fs::OFlags;
use std::{
    io,
    mem::{self, ManuallyDrop},
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
    sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
};

/// Whether this process is the child of a fork, or somebody has closed a descriptor of ours in it.
static SUSPICION: AtomicBool = AtomicBool::new(false);

/// From now on /proc is asked at the end of each descriptor.
pub(crate) fn suspect() {
    SUSPICION.store(true, Relaxed);
}

/// The owner of each number among the descriptors of ours, by its serial; 0: none. Numbers beyond the table are not known.
static OWNERS: [AtomicU32; 8192] = [const { AtomicU32::new(0) }; 8192];

fn owner_of(fd: &OwnedFd) -> Option<&'static AtomicU32> {
    OWNERS.get(usize::try_from(fd.as_raw_fd()).ok()?)
}

/// A serial for a new descriptor, which owns its number from now on.
fn own(fd: &OwnedFd) -> u32 {
    static SERIAL: AtomicU32 = AtomicU32::new(1);
    let serial = SERIAL.fetch_add(1, Relaxed);
    if let Some(owner) = owner_of(fd) {
        if owner.swap(serial, Relaxed) != 0 {
            suspect(); // the earlier owner was closed under us
        }
    }
    serial
}

pub(crate) struct Owned {
    fd: ManuallyDrop<OwnedFd>,
    serial: u32,
    identity: Identity,
    /// Once it is not ours any more, it never is again, though the number and even the id may come back.
    gone: AtomicBool,
}

/// The identity of a descriptor distinguishes it from others that may have its number later. It is compared without an
/// allocation: that happens in the child of a fork, and in signal handlers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Identity {
    /// Device and number: a socket of ours, or any other file that has them.
    Inode(u64, u64),
    EventFd,
    /// An anonymous file that is no eventfd.
    Anonymous,
    /// An anonymous file, and no /proc to tell which.
    Unknown,
    Closed,
}

impl Owned {
    /// A new descriptor. `identity` tells what it is, by a look if the caller does not know.
    pub(crate) fn new(fd: OwnedFd, identity: impl FnOnce(&OwnedFd) -> Identity) -> Self {
        Self {
            serial: own(&fd),
            identity: identity(&fd),
            fd: ManuallyDrop::new(fd),
            gone: AtomicBool::new(false),
        }
    }

    /// The number has turned out to be closed, or somebody else's.
    pub(crate) fn disown(&self) {
        self.gone.store(true, Relaxed);
        suspect();
    }

    /// Whether it has turned out already that the number is not ours. (To look each time would cost a system call.)
    #[inline]
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Relaxed)
    }

    /// Whether the number still is ours. None: there is no telling. To be asked before a new descriptor is made, which may get
    /// the number of one that was closed.
    pub(crate) fn is_ours(&self) -> Option<bool> {
        self.compare(Identity::for_certain)
    }

    fn compare(&self, now: impl FnOnce(&OwnedFd) -> Identity) -> Option<bool> {
        if self.is_gone() {
            return Some(false);
        }
        let owned_by_another = owner_of(&self.fd).is_some_and(|owner| owner.load(Relaxed) != self.serial);
        if owned_by_another {
            self.disown();
            return Some(false);
        }
        let ours = match (self.identity, now(&self.fd)) {
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
            fresh.give_number_back();
            // SAFETY: forgotten below. Nobody has closed it since it was made: no need to look whose it is.
            unsafe { ManuallyDrop::drop(&mut fresh.fd) };
        } else {
            self.give_number_back();
            mem::swap(self, &mut fresh);
        }
        mem::forget(fresh);
        Ok(())
    }

    /// The number has no owner any more, if it was this one.
    fn give_number_back(&self) {
        if let Some(owner) = owner_of(&self.fd) {
            let _ = owner.compare_exchange(self.serial, 0, Relaxed, Relaxed);
        }
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
        // Without a look into /proc, unless there is a suspicion.
        let ours = if SUSPICION.load(Relaxed) {
            self.is_ours()
        } else {
            self.compare(Identity::at_a_glance)
        };
        self.give_number_back(); // before it is closed: the next descriptor may get the number at once
        if ours != Some(false) {
            // SAFETY: nobody uses it any more.
            unsafe { ManuallyDrop::drop(&mut self.fd) };
        }
    }
}

impl Identity {
    fn for_certain(fd: &OwnedFd) -> Self {
        Self::told(fd, |fd| match is_eventfd(fd) {
            Ok(true) => Self::EventFd,
            Ok(false) => Self::Anonymous,
            Err(_) => Self::Unknown,
        })
    }

    /// The identity without a look into /proc: an anonymous file that does not block is taken for an eventfd. (Ours does not; an
    /// epoll does.)
    pub(crate) fn at_a_glance(fd: &OwnedFd) -> Self {
        Self::told(fd, |fd| match rustix::fs::fcntl_getfl(fd) {
            Ok(flags) if flags.contains(OFlags::NONBLOCK) => Self::EventFd,
            _ => Self::Anonymous,
        })
    }

    #[allow(clippy::useless_conversion, clippy::unnecessary_cast)] // dev_t and ino_t differ between systems
    fn told(fd: &OwnedFd, anonymous: impl FnOnce(&OwnedFd) -> Self) -> Self {
        let Ok(stat) = rustix::fs::fstat(fd) else {
            return Self::Closed;
        };
        // All anonymous files share an inode, which has no type.
        if cfg!(any(target_os = "linux", target_os = "android"))
            && rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Unknown
        {
            return anonymous(fd);
        }
        Self::Inode(stat.st_dev as u64, stat.st_ino as u64)
    }
}

fn is_eventfd(fd: &OwnedFd) -> io::Result<bool> {
    use rustix::fs::Mode;
    use std::{ffi::CStr, io::Write as _};

    let mut path = [0_u8; 40];
    write!(&mut path[..], "/proc/self/fdinfo/{}\0", fd.as_raw_fd())?;
    let path = CStr::from_bytes_until_nul(&path).map_err(io::Error::other)?;
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = [0_u8; 512];
    let length = rustix::io::read(&file, &mut text)?;
    Ok(text[..length].windows(14).any(|part| part == b"eventfd-count:"))
}
