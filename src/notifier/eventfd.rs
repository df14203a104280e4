//! Linux's eventfd: one descriptor, a counter in the kernel; one read takes all of it.

use crate::notifier::checked_fd::{Identity, Owned};
use rustix::{
    event::{EventfdFlags, eventfd},
    io::{Errno, read, write},
};
use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd},
};

pub(crate) struct EventFd(Owned);

impl EventFd {
    pub(crate) fn new() -> io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self(Owned::new(fd, |_| Identity::EventFd)))
    }

    #[inline]
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    #[inline]
    pub(crate) fn signal(&self) -> io::Result<bool> {
        while !self.0.is_gone() {
            match write(&self.0, &1_u64.to_ne_bytes()) {
                Ok(_) => return Ok(true),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::BADF) => self.0.disown(), // closed under us, and whose it is when we try again, nobody knows
                Err(e) => return Err(e.into()),
            }
        }
        Err(Errno::BADF.into())
    }

    #[inline]
    pub(crate) fn drain(&self) -> io::Result<u64> {
        let mut count = [0; 8];
        while !self.0.is_gone() {
            match read(&self.0, &mut count) {
                Ok(8) => return Ok(u64::from_ne_bytes(count)),
                Ok(_) | Err(Errno::BADF) => self.0.disown(), // no eventfd any more
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(0),
                Err(e) => return Err(e.into()),
            }
        }
        Err(Errno::BADF.into())
    }

    pub(crate) fn renew(&mut self) -> io::Result<()> {
        self.0.replace(Self::new()?.0)
    }

    pub(crate) fn is_ours(&self) -> bool {
        self.0.is_ours() != Some(false)
    }
}
