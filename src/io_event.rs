//! The public type.

use crate::{
    event::descriptor::Descriptor,
    event::thread_wait::Wait,
    event::wait_table::{Begun, Outcome},
    event::{Event, EventRef},
    fork,
    native::handle::NativeHandle,
};
use std::{
    fmt, io,
    time::{Duration, Instant},
};

/// A flag that any thread can raise, and that loops and threads can wait for.
///
/// Think of a doorbell: [`notify`](Self::notify) rings it, whoever is at the door hears it, and ringing again before
/// somebody has answered ([`clear`](Self::clear)) makes no difference. It carries no data and counts nothing.
///
/// An event is cheap until it is used: one without waiters has no descriptor and makes no system call. Clones are the
/// same event.
///
/// # Guarantees
/// - *No wake-up is lost.* After `notify` has returned, whoever waited when it was called has been released, and
///   `is_set` is true until somebody clears it. A third party's `clear` takes no wake-up away from those who waited.
/// - `notify` takes no lock, allocates nothing and frees nothing: it may be called from a signal handler. (A handler that
///   interrupts a `notify` is told "coalesced", and the wake-up goes out when that call resumes: do not wait for it in the
///   handler.)
/// - After a fork, the child's events are its own: it neither wakes the parent nor is woken by it.
///
/// # What a coalesced notify does not order
/// A `notify` that finds the flag up stores nothing. State that you pass beside the event must live in atomics, or behind a
/// lock or a channel: then whoever clears the flag and looks afterwards sees it. Plain memory is not ordered.
///
/// # Examples
/// ```
/// use wakefd::IoEvent;
///
/// # fn main() -> std::io::Result<()> {
/// let event = IoEvent::new();
/// let notifier = event.clone();
/// std::thread::spawn(move || notifier.notify());
/// event.wait()?;
/// assert!(event.clear()?);
/// # Ok(())
/// # }
/// ```
///
/// # Platforms
/// Linux: eventfd, or a Unix stream pair where that is refused. Other Unixes: a Unix stream pair. Windows: a TCP pair on the
/// loopback. A descriptor is made per loop, one per thread that has blocked (not on Linux: there it sleeps on a futex), and
/// one for an event whose [`descriptor`](Self::descriptor) is asked for.
#[derive(Clone)]
pub struct IoEvent {
    pub(crate) event: EventRef,
}

impl IoEvent {
    /// A new event, with the flag down. It has no descriptor yet.
    ///
    /// # Examples
    /// ```
    /// assert!(!wakefd::IoEvent::new().is_set());
    /// ```
    pub fn new() -> Self {
        let event = Event::new(fork::enter());
        Self { event }
    }

    /// Raises the flag and wakes everybody who waits. True if it was this call that raised it; false if it was up already
    /// (the notification is coalesced with the earlier one) or the event is closed.
    ///
    /// Any thread, and signal handlers. When the flag is up this costs a fence and two loads.
    ///
    /// # Errors
    /// The operating system refused to make a descriptor readable (a sandbox, a descriptor that was closed under us). The
    /// flag is up all the same, whoever could be woken was, and the next `notify` tries again.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let event = wakefd::IoEvent::new();
    /// assert!(event.notify()?);
    /// assert!(!event.notify()?); // coalesced
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn notify(&self) -> io::Result<bool> {
        self.event.notify()
    }

    /// Lowers the flag; true if it was up. Clear first and look at your data afterwards, never the other way round.
    ///
    /// Any thread. No system call if there is nothing to clear.
    ///
    /// # Errors
    /// The event's descriptor is dead (closed under us, or its connection reset). It is given up, the flag stays as it is, and
    /// the next [`descriptor`](Self::descriptor) is a new one.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let event = wakefd::IoEvent::new();
    /// event.notify()?;
    /// assert!(event.clear()?);
    /// assert!(!event.clear()?);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn clear(&self) -> io::Result<bool> {
        self.event.clear()
    }

    /// Is the flag up?
    pub fn is_set(&self) -> bool {
        self.event.pipe.word().is_set()
    }

    /// Blocks this thread until the flag is up, or rises (even if somebody clears it at once).
    ///
    /// # Errors
    /// The event is, or is being, closed ([`ErrorKind::BrokenPipe`](io::ErrorKind::BrokenPipe)); or there is no descriptor to be
    /// had for this thread (never on Linux, where it needs none).
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let event = wakefd::IoEvent::new();
    /// event.notify()?;
    /// event.wait()?; // returns at once
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait(&self) -> io::Result<()> {
        self.wait_until(None).map(drop)
    }

    /// [`wait`](Self::wait), but not longer than `timeout`; false if the time is up.
    ///
    /// # Errors
    /// As `wait`.
    ///
    /// # Examples
    /// ```
    /// # use std::time::Duration;
    /// # fn main() -> std::io::Result<()> {
    /// assert!(!wakefd::IoEvent::new().wait_timeout(Duration::from_millis(1))?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> io::Result<bool> {
        self.wait_until(Instant::now().checked_add(timeout))
    }

    pub(crate) fn wait_until(&self, deadline: Option<Instant>) -> io::Result<bool> {
        let mut wait = match Wait::start(fork::enter(), vec![self.event.clone()])? {
            Begun::Up => return Ok(true),
            Begun::Closed => return Err(closed()),
            Begun::Waiting(wait) => wait,
        };
        loop {
            match wait.sleep(deadline) {
                Ok(Some(Outcome::Rose)) => return Ok(true),
                Ok(Some(Outcome::Closed)) => return Err(closed()),
                Ok(None) => return Ok(false),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// A descriptor that is readable while the flag is up, for a poller of your own (epoll, kqueue, mio, a C library).
    ///
    /// The event makes it at the first call and keeps it. Poll it, and then call [`clear`](Self::clear): reading it yourself
    /// costs speed.
    ///
    /// # Errors
    /// None could be made; or the event is closed ([`ErrorKind::BrokenPipe`](io::ErrorKind::BrokenPipe)).
    ///
    /// # Examples
    /// ```
    /// # #[cfg(unix)]
    /// # fn main() -> std::io::Result<()> {
    /// use rustix::event::{PollFd, PollFlags, poll};
    ///
    /// let event = wakefd::IoEvent::new();
    /// let descriptor = event.descriptor()?;
    /// event.notify()?;
    /// let mut fds = [PollFd::new(&descriptor, PollFlags::IN)];
    /// assert_eq!(poll(&mut fds, None)?, 1);
    /// # Ok(())
    /// # }
    /// # #[cfg(not(unix))]
    /// # fn main() {}
    /// ```
    pub fn descriptor(&self) -> io::Result<Descriptor> {
        self.event.expose()?.ok_or_else(closed)
    }

    /// A function and an argument for it, with which native code that knows neither Rust nor Python raises the flag from any
    /// thread: give both to a C library that takes a callback and a `void *`.
    ///
    /// # Errors
    /// More than sixteen million handles are open (65 thousand where pointers have 32 bits).
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let event = wakefd::IoEvent::new();
    /// let handle = event.native()?;
    /// let (function, argument) = (handle.function(), handle.argument());
    /// function(argument); // what the library does, in any thread
    /// assert!(event.clear()?);
    /// drop(handle);
    /// function(argument); // once too often: nothing happens
    /// assert!(!event.is_set());
    /// # Ok(())
    /// # }
    /// ```
    pub fn native(&self) -> io::Result<NativeHandle> {
        NativeHandle::new(fork::enter(), &self.event, None)
    }

    /// Closes the event for ever: `notify` and `clear` return false from now on, and all who wait are released with an error,
    /// unless the flag rose before. A second call does nothing.
    ///
    /// # Errors
    /// A loop could not be woken. The event is closed all the same.
    pub fn close(&self) -> io::Result<()> {
        let result = self.event.close();
        fork::enter(); // the event's descriptor may have been let go
        result
    }

    /// Has it been closed?
    pub fn is_closed(&self) -> bool {
        self.event.pipe.word().is_closed()
    }
}

pub(crate) fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "this wakefd event is closed")
}

impl Default for IoEvent {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for IoEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IoEvent")
            .field("is_set", &self.is_set())
            .field("is_closed", &self.is_closed())
            .finish()
    }
}
