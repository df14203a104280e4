//! Linux's eventfd: one descriptor, a counter in the kernel; one read takes all of it.

use super::identity::{Identity, replace};
use rustix::{
    event::{EventfdFlags, eventfd},
    io::{Errno, read, write},
};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

pub(crate) struct EventFd {
    fd: OwnedFd,
    identity: Option<Identity>,
}

impl EventFd {
    pub(crate) fn new() -> io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let identity = identity(&fd);
        Ok(Self { fd, identity })
    }

    #[inline]
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    #[inline]
    pub(crate) fn signal(&self) -> io::Result<bool> {
        loop {
            match write(&self.fd, &1_u64.to_ne_bytes()) {
                Ok(_) => return Ok(true),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(false),
                Err(e) => return Err(e.into()),
            }
        }
    }

    #[inline]
    pub(crate) fn drain(&self) -> io::Result<u64> {
        let mut count = [0; 8];
        loop {
            match read(&self.fd, &mut count) {
                Ok(_) => return Ok(u64::from_ne_bytes(count)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(0),
                Err(e) => return Err(e.into()),
            }
        }
    }

    pub(crate) fn renew(&mut self, in_place: bool) -> io::Result<()> {
        let fresh = Self::new()?;
        let ours = self.identity.is_some() && identity(&self.fd) == self.identity;
        replace(&mut self.fd, fresh.fd, in_place, ours)?;
        self.identity = fresh.identity;
        Ok(())
    }
}

/// An eventfd has no inode of its own, but an id in /proc. Allocates nothing: it runs in the child of a fork.
fn identity(fd: &OwnedFd) -> Option<Identity> {
    use rustix::fs::{Mode, OFlags};
    use std::{io::Write as _, os::fd::AsRawFd as _};

    let mut path = [0_u8; 40];
    write!(&mut path[..], "/proc/self/fdinfo/{}\0", fd.as_raw_fd()).ok()?;
    let path = std::ffi::CStr::from_bytes_until_nul(&path).ok()?;
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut text = [0_u8; 512];
    let length = rustix::io::read(&file, &mut text).ok()?;
    let text = std::str::from_utf8(&text[..length]).ok()?;
    let id = text.lines().find_map(|line| line.strip_prefix("eventfd-id:"))?;
    Some(Identity(u64::MAX, id.trim().parse().ok()?))
}
