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
        let identity = Identity::of_eventfd(&fd);
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
        let ours = self.identity.is_some() && Identity::of_eventfd(&self.fd) == self.identity;
        replace(&mut self.fd, fresh.fd, in_place, ours)?;
        self.identity = fresh.identity;
        Ok(())
    }
}
