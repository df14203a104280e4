//! The notifier: the object of the operating system that turns readable when it is signalled, or wakes the thread that
//! sleeps on it.
//!
//! A room for back-ends, a file each; it may know `sync` only.
//!
//! The contract that every back-end meets:
//! - `new`: a fresh one: not readable, non-blocking, closed on exec.
//! - `for_a_thread`: one that a thread will `wait` for, and nobody watch. Where it can be it has no descriptor.
//! - `as_fd`: the descriptor to watch for reading; not of one that is for a thread.
//! - `signal`: adds one token. `Ok(true)`: added; `Ok(false)`: no room, so it is readable already. Never blocks, allocates
//!   or frees, leaves errno alone: it runs in signal handlers.
//! - `drain`: takes all tokens and says how many there were. Never blocks. An error means that this notifier is dead (its
//!   descriptor closed under it, its pair at its end or reset): it would be readable for ever, replace it.
//! - `wait`: puts this thread to sleep until there is a token (`true`; now and then there is none, look again), or for the
//!   time that is given (`false`). Takes nothing. `ErrorKind::Interrupted`: a signal handler has run, whatever its flags.
//!
//! Linux has eventfd, and a Unix stream pair where that is refused, and a futex for threads; other Unixes have the
//! stream pair; Windows has a TCP pair on the loopback. `--cfg wakefd_notifier="socketpair"` (or `"tcp"`) forces one,
//! so that it is tested on Linux.

#[cfg(all(unix, not(any(loom, wakefd_steps))))]
mod checked_fd;
#[cfg(all(
    any(target_os = "linux", target_os = "android"),
    not(any(wakefd_notifier = "socketpair", wakefd_notifier = "tcp", loom, wakefd_steps))
))]
mod eventfd_or_stream;
#[cfg(not(any(loom, wakefd_steps)))]
#[cfg_attr(any(windows, wakefd_notifier = "tcp"), path = "tcp.rs")]
#[cfg_attr(not(any(windows, wakefd_notifier = "tcp")), path = "socketpair.rs")]
mod pair;
#[cfg(not(any(loom, wakefd_steps)))]
mod poll;
#[cfg(any(loom, wakefd_steps))]
mod simulated;
#[cfg(not(any(loom, wakefd_steps)))]
mod stream;

#[cfg(all(unix, not(any(loom, wakefd_steps))))]
pub(crate) use checked_fd::suspect;
#[cfg(all(
    any(target_os = "linux", target_os = "android"),
    not(any(wakefd_notifier = "socketpair", wakefd_notifier = "tcp", loom, wakefd_steps))
))]
pub(crate) use eventfd_or_stream::{Notifier, for_a_thread};
#[cfg(wakefd_steps)]
pub(crate) use simulated::suspect;
#[cfg(any(loom, wakefd_steps))]
pub(crate) use simulated::{Notifier, for_a_thread, may_die};
#[cfg(not(any(loom, wakefd_steps)))]
pub(crate) use stream::may_die;
#[cfg(all(
    any(
        not(any(target_os = "linux", target_os = "android")),
        wakefd_notifier = "socketpair",
        wakefd_notifier = "tcp"
    ),
    not(any(loom, wakefd_steps))
))]
pub(crate) use stream::{Stream as Notifier, for_a_thread};

#[cfg(not(any(unix, windows)))]
compile_error!("wakefd needs eventfd, Unix sockets or TCP sockets: this target has none of them");

/// The contract, on whichever back-end this build has.
#[cfg(all(test, unix, not(any(loom, wakefd_steps))))]
mod tests {
    use super::{Notifier, for_a_thread};
    use rustix::io::{FdFlags, fcntl_getfd};
    use std::{
        fs::File,
        io::{self, Write as _},
        os::fd::{AsRawFd as _, FromRawFd as _},
        thread,
        time::{Duration, Instant},
    };

    fn readable(notifier: &Notifier) -> bool {
        notifier.wait(Some(Duration::ZERO)).unwrap()
    }

    #[test]
    fn the_forced_one_is_what_we_get() -> io::Result<()> {
        let expected = if cfg!(wakefd_notifier = "tcp") {
            "tcp"
        } else if cfg!(wakefd_notifier = "socketpair") || !cfg!(any(target_os = "linux", target_os = "android")) {
            "socketpair"
        } else {
            "eventfd"
        };
        assert_eq!(Notifier::new()?.name(), expected);
        let for_threads = if expected == "eventfd" { "futex" } else { expected };
        assert_eq!(for_a_thread()?.name(), for_threads);
        Ok(())
    }

    #[test]
    fn tokens_are_counted_and_drained() -> io::Result<()> {
        for it in [Notifier::new()?, for_a_thread()?] {
            assert!(!readable(&it));
            assert_eq!(it.drain()?, 0);
            assert!(it.signal()? && it.signal()?);
            assert!(readable(&it));
            assert_eq!(it.drain()?, 2);
            assert!(!readable(&it));
        }
        Ok(())
    }

    #[test]
    fn a_full_one_says_so_and_stays_readable() -> io::Result<()> {
        let it = Notifier::new()?;
        if it.name() != "eventfd" {
            let mut sent = 0;
            while it.signal()? {
                sent += 1;
                assert!(sent < 10_000_000, "never full");
            }
            assert!(readable(&it));
            while readable(&it) {
                sent -= it.drain()?; // TCP may hand over a part at a time
            }
            assert_eq!(sent, 0);
            assert!(it.signal()?, "there is room again");
        }
        Ok(())
    }

    #[test]
    fn a_wait_ends_with_a_token_or_with_the_time() -> io::Result<()> {
        for it in [Notifier::new()?, for_a_thread()?] {
            let pause = Duration::from_millis(20);
            let began = Instant::now();
            assert!(!it.wait(Some(pause))? && !it.wait(Some(Duration::ZERO))?);
            assert!(began.elapsed() >= pause);
            for left in [None, Some(Duration::from_secs(60)), Some(Duration::MAX)] {
                thread::scope(|scope| {
                    scope.spawn(|| {
                        thread::sleep(pause);
                        it.signal()
                    });
                    while !it.wait(left)? || it.drain()? == 0 {}
                    Ok::<_, io::Error>(())
                })?;
            }
            it.signal()?;
            assert!(it.wait(None)? && it.wait(Some(pause))?, "a wait takes nothing");
            assert!(began.elapsed() < Duration::from_secs(30));
        }
        Ok(())
    }

    #[test]
    fn renewed_it_has_no_token() -> io::Result<()> {
        for mut it in [Notifier::new()?, for_a_thread()?] {
            it.signal()?;
            it.renew()?;
            assert!(!readable(&it) && it.drain()? == 0);
            assert!(it.signal()? && readable(&it));
        }
        Ok(())
    }

    #[test]
    fn closed_on_exec() -> io::Result<()> {
        assert!(fcntl_getfd(Notifier::new()?.as_fd())?.contains(FdFlags::CLOEXEC));
        Ok(())
    }

    #[test]
    fn renewed_in_place_it_keeps_its_number_and_shares_nothing() -> io::Result<()> {
        let mut it = Notifier::new()?;
        let number = it.as_fd().as_raw_fd();
        let shared = it.as_fd().try_clone_to_owned()?; // as the parent of a fork has it
        it.renew()?;
        assert_eq!(it.as_fd().as_raw_fd(), number);
        it.signal()?;
        // Nothing there, or the end of a stream whose writer has no other copy in this test.
        let mut token = [0; 8];
        let arrived = rustix::io::read(&shared, &mut token).unwrap_or(0);
        assert_eq!(arrived, 0, "the parent was woken");
        assert_eq!(it.drain()?, 1);
        Ok(())
    }

    #[test]
    fn renewed_after_its_number_became_a_log_it_leaves_that_alone() -> io::Result<()> {
        let mut it = Notifier::new()?;
        let number = it.as_fd().as_raw_fd();
        let path = std::env::temp_dir().join(format!("wakefd-{}", std::process::id()));
        // SAFETY: both are open, and nobody else uses this number.
        unsafe { libc::dup2(File::create(&path)?.as_raw_fd(), number) };
        it.renew()?;
        assert_ne!(it.as_fd().as_raw_fd(), number);
        assert!(it.signal()?);
        // SAFETY: `renew` has let go of the number.
        let mut log = unsafe { File::from_raw_fd(number) };
        log.write_all(b"intact")?;
        assert_eq!(std::fs::read(&path)?, b"intact");
        std::fs::remove_file(&path)
    }

    /// Whether a notifier whose number became `other`'s leaves that open when it ends.
    #[cfg(target_os = "linux")]
    fn is_left_alone_at_the_end(other: &dyn std::os::fd::AsRawFd) -> io::Result<bool> {
        let it = Notifier::new()?;
        let number = it.as_fd().as_raw_fd();
        // SAFETY: both are open, and nobody else uses this number.
        unsafe { libc::dup2(other.as_raw_fd(), number) };
        drop(it);
        // SAFETY: a number that is open or not; asking does no harm, and if it is open it is ours to close.
        unsafe { Ok(libc::fcntl(number, libc::F_GETFD) >= 0 && libc::close(number) == 0) }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_stranger_under_the_number_survives_though_nobody_has_found_out() -> io::Result<()> {
        let epoll = rustix::event::epoll::create(rustix::event::epoll::CreateFlags::CLOEXEC)?;
        let log = File::open("/proc/self/cmdline")?;
        let (socket, _peer) = std::os::unix::net::UnixStream::pair()?;
        for other in [&epoll as &dyn std::os::fd::AsRawFd, &log, &socket] {
            assert!(is_left_alone_at_the_end(other)?);
        }
        Ok(())
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_later_one_of_ours_under_the_number_survives_the_end_of_the_earlier_one() -> io::Result<()> {
        let earlier = Notifier::new()?;
        let number = earlier.as_fd().as_raw_fd();
        // SAFETY: closed under us, which is what this is about. The next descriptor may get the number, if no other test does.
        unsafe { libc::close(number) };
        let later: Vec<_> = (0..64).map(|_| Notifier::new()).collect::<io::Result<_>>()?;
        drop(earlier);
        for it in later {
            assert!(it.signal()? && readable(&it), "closed with the earlier one");
        }
        Ok(())
    }
}
