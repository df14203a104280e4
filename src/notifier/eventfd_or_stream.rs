//! Linux: eventfd, and the stream pair where a sandbox refuses that; and for a thread a futex.

#[path = "eventfd.rs"]
mod eventfd;
#[path = "futex.rs"]
mod futex;

use super::stream::Stream;
use eventfd::EventFd;
use futex::Futex;
use std::{
    io::{self, ErrorKind},
    os::fd::BorrowedFd,
    time::Duration,
};

pub(crate) enum Notifier {
    EventFd(EventFd),
    Stream(Stream),
    Futex(Futex),
}

#[allow(clippy::unnecessary_wraps)] // the contract's
pub(crate) fn for_a_thread() -> io::Result<Notifier> {
    Ok(Notifier::Futex(Futex::default()))
}

impl Notifier {
    pub(crate) fn new() -> io::Result<Self> {
        match EventFd::new() {
            // Being out of descriptors is no refusal.
            Err(e) if matches!(e.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied) => {
                Stream::new().map(Self::Stream)
            }
            made => made.map(Self::EventFd),
        }
    }

    #[inline]
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::EventFd(it) => it.as_fd(),
            Self::Stream(it) => it.as_fd(),
            Self::Futex(_) => unreachable!("a thread sleeps on it, and nobody watches it"),
        }
    }

    #[inline]
    pub(crate) fn signal(&self) -> io::Result<bool> {
        match self {
            Self::EventFd(it) => it.signal(),
            Self::Stream(it) => it.signal(),
            Self::Futex(it) => it.signal(),
        }
    }

    #[inline]
    pub(crate) fn drain(&self) -> io::Result<u64> {
        match self {
            Self::EventFd(it) => it.drain(),
            Self::Stream(it) => it.drain(),
            Self::Futex(it) => Ok(it.drain()),
        }
    }

    pub(crate) fn wait(&self, left: Option<Duration>) -> io::Result<bool> {
        match self {
            Self::EventFd(it) => super::poll::wait(it.as_fd(), left),
            Self::Stream(it) => it.wait(left),
            Self::Futex(it) => it.wait(left),
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::EventFd(_) => "eventfd",
            Self::Stream(it) => it.name(),
            Self::Futex(_) => "futex",
        }
    }

    pub(crate) fn is_ours(&self) -> bool {
        match self {
            Self::EventFd(it) => it.is_ours(),
            Self::Stream(it) => it.is_ours(),
            Self::Futex(_) => true,
        }
    }

    pub(crate) fn renew(&mut self) -> io::Result<()> {
        match self {
            Self::EventFd(it) => it.renew(),
            Self::Stream(it) => it.renew(),
            Self::Futex(it) => {
                it.renew();
                Ok(())
            }
        }
    }
}
