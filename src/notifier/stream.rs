//! A connected pair of stream sockets, one byte a token.

use rustix::{
    io::Errno,
    net::{RecvFlags, SendFlags, recv, send},
};
use std::{
    io,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

#[cfg(unix)]
use super::checked_fd::{Identity, Owned};
#[cfg(unix)]
use std::os::fd::AsFd as _;
#[cfg(unix)]
pub(crate) type Borrowed<'a> = std::os::fd::BorrowedFd<'a>;
#[cfg(windows)]
use std::os::windows::io::{AsSocket as _, OwnedSocket as Owned};
#[cfg(windows)]
pub(crate) type Borrowed<'a> = std::os::windows::io::BorrowedSocket<'a>;

static MAY_DIE: AtomicBool = AtomicBool::new(false);

/// Is there any stream in this process? Its end may come by itself (Windows resets the loopback on suspend).
pub(crate) fn may_die() -> bool {
    MAY_DIE.load(Relaxed)
}

pub(crate) struct Stream {
    reader: Owned,
    writer: Owned,
}

impl Stream {
    pub(crate) fn new() -> io::Result<Self> {
        MAY_DIE.store(true, Relaxed);
        let (reader, writer) = super::pair::pair()?;
        #[cfg(unix)]
        let [reader, writer] = [reader, writer].map(|end| Owned::new(end.into(), Identity::at_a_glance));
        #[cfg(windows)]
        let (reader, writer) = (reader.into(), writer.into());
        Ok(Self { reader, writer })
    }

    #[inline]
    pub(crate) fn as_fd(&self) -> Borrowed<'_> {
        #[cfg(unix)]
        return self.reader.as_fd();
        #[cfg(windows)]
        return self.reader.as_socket();
    }

    #[inline]
    pub(crate) fn signal(&self) -> io::Result<bool> {
        keeping_errno(|| {
            loop {
                #[cfg(any(windows, target_vendor = "apple"))]
                let flags = SendFlags::empty(); // socket2 has set SO_NOSIGPIPE; Windows has no such signal
                #[cfg(not(any(windows, target_vendor = "apple")))]
                let flags = SendFlags::NOSIGNAL;
                match send(&self.writer, &[1], flags) {
                    Ok(_) => return Ok(true),
                    Err(Errno::INTR) => {}
                    Err(Errno::WOULDBLOCK) => return Ok(false),
                    Err(e) => return Err(e.into()),
                }
            }
        })
    }

    pub(crate) fn drain(&self) -> io::Result<u64> {
        let mut count = 0;
        let mut buffer = [0; 64];
        loop {
            match recv(&self.reader, &mut buffer[..], RecvFlags::empty()) {
                Ok((_, 0)) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
                Ok((_, n)) => {
                    count += n as u64;
                    if n < buffer.len() {
                        return Ok(count);
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) => return Ok(count),
                Err(e) => return Err(e.into()),
            }
        }
    }

    pub(crate) fn wait(&self, left: Option<Duration>) -> io::Result<bool> {
        super::poll::wait(self.as_fd(), left)
    }

    #[allow(clippy::unused_self)]
    pub(crate) fn name(&self) -> &'static str {
        super::pair::NAME
    }

    /// The stream becomes one that is shared with nobody, in the child of a fork: under the old numbers where they still are
    /// ours, else under new ones, and the old ones are left alone.
    ///
    /// # Errors
    /// No descriptor to be had.
    #[cfg(unix)]
    pub(crate) fn renew(&mut self) -> io::Result<()> {
        let fresh = Self::new()?;
        self.reader.replace(fresh.reader)?;
        self.writer.replace(fresh.writer)
    }

    /// False: the number is somebody else's by now.
    #[allow(clippy::unused_self)]
    pub(crate) fn is_ours(&self) -> bool {
        #[cfg(unix)]
        return ![&self.reader, &self.writer]
            .iter()
            .any(|end| end.is_ours() == Some(false));
        #[cfg(windows)]
        return true; // nothing there to tell by
    }
}

/// rustix calls Linux itself and leaves errno alone; elsewhere it goes through libc.
#[cfg(any(target_os = "linux", target_os = "android", windows))]
#[inline]
fn keeping_errno<T>(f: impl FnOnce() -> T) -> T {
    f()
}

#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
fn keeping_errno<T>(f: impl FnOnce() -> T) -> T {
    let saved = errno::errno();
    let result = f();
    errno::set_errno(saved);
    result
}

/// A notifier for a thread to sleep on: a stream pair, too, where there is no futex.
#[cfg(any(
    not(any(target_os = "linux", target_os = "android")),
    wakefd_notifier = "socketpair",
    wakefd_notifier = "tcp"
))]
pub(crate) fn for_a_thread() -> io::Result<Stream> {
    Stream::new()
}
