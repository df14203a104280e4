//! The operating system's part: something that turns readable when it is signalled.
//!
//! The contract that every back-end meets:
//! - `new`: a fresh one: not readable, non-blocking, closed on exec.
//! - `as_fd`: the descriptor to watch for reading.
//! - `signal`: adds one token. `Ok(true)`: added; `Ok(false)`: no room, so it is readable already. Never blocks, allocates
//!   or frees, leaves errno alone: it runs in signal handlers.
//! - `drain`: takes all tokens and says how many there were. Never blocks. An error means that this notifier is dead (its
//!   descriptor closed under it, its pair at its end or reset): it would be readable for ever, replace it.
//!
//! Linux has eventfd, and a Unix stream pair where that is refused; other Unixes have the stream pair; Windows has a
//! TCP pair on the loopback. `--cfg wakefd_notifier="socketpair"` (or `"tcp"`) forces one, so that it is tested on Linux.

#[cfg(any(loom, wakefd_steps))]
mod sim;
#[cfg(any(loom, wakefd_steps))]
pub(crate) use sim::{Notifier, may_die};

#[cfg(not(any(loom, wakefd_steps)))]
pub(crate) use os::{Notifier, may_die};

#[cfg(not(any(loom, wakefd_steps)))]
mod os {
    #[cfg(all(any(target_os = "linux", target_os = "android"), not(wakefd_notifier)))]
    mod eventfd;
    #[cfg(all(any(target_os = "linux", target_os = "android"), not(wakefd_notifier)))]
    mod linux;
    #[cfg(unix)]
    mod identity;
    mod stream;
    #[cfg_attr(any(windows, wakefd_notifier = "tcp"), path = "tcp.rs")]
    #[cfg_attr(not(any(windows, wakefd_notifier = "tcp")), path = "socketpair.rs")]
    mod pair;

    #[cfg(all(any(target_os = "linux", target_os = "android"), not(wakefd_notifier)))]
    pub(crate) use linux::Notifier;
    #[cfg(not(all(any(target_os = "linux", target_os = "android"), not(wakefd_notifier))))]
    pub(crate) use stream::Stream as Notifier;
    pub(crate) use stream::may_die;
}

#[cfg(not(any(unix, windows)))]
compile_error!("wakefd needs eventfd, Unix sockets or TCP sockets: this target has none of them");
