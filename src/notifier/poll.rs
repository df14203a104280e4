//! How a thread waits for a descriptor: poll(2).

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::BorrowedFd,
    io::Errno,
};
use std::{io, time::Duration};

pub(super) fn wait(fd: BorrowedFd<'_>, left: Option<Duration>) -> io::Result<bool> {
    let left = left.and_then(|left| Timespec::try_from(left).ok()); // what does not fit is for ever
    match poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], left.as_ref()) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Err(io::ErrorKind::Interrupted.into()),
        Err(e) => Err(e.into()),
    }
}
