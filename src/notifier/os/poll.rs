//! How a thread waits for a descriptor: poll(2).

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::BorrowedFd,
    io::Errno,
};
use std::{io, time::Duration};

pub(super) fn wait(fd: BorrowedFd<'_>, left: Option<Duration>) -> io::Result<bool> {
    match poll(
        &mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)],
        left.map(timespec).as_ref(),
    ) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Err(io::ErrorKind::Interrupted.into()),
        Err(e) => Err(e.into()),
    }
}

#[allow(clippy::cast_possible_wrap, clippy::cast_lossless)] // below 10^9; the type differs between systems
pub(super) fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: duration.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos() as _,
    }
}
