//! Wake any event loop from any thread.
//!
//! [`IoEvent`] is a flag plus a file descriptor that turns readable, after the wake-up event that smol had in 2020. It is
//! the Rust half of the Python package `wakefd`; it needs no Python to build or to run.
//!
//! - Linux: eventfd (a Unix stream pair where that is refused). Other Unixes: a Unix stream pair. Windows: a TCP pair on
//!   the loopback.
//! - Features: `async-io` gives `IoEvent::notified().await`; `pyo3` gives extension modules in Rust a handle of a Python
//!   `wakefd.IoEvent`; `python` and `abi3` are for building the package.
//!
//! An event wakes; it carries nothing. For data, put a channel or a queue beside it, and let the event say "look".
//!
//! ```
//! use std::sync::mpsc;
//! use wakefd::IoEvent;
//!
//! # fn main() -> std::io::Result<()> {
//! let event = IoEvent::new();
//! let (sender, receiver) = mpsc::channel();
//! let notifier = event.clone();
//! std::thread::spawn(move || -> std::io::Result<()> {
//!     for n in 0..1000 {
//!         sender.send(n).ok();
//!         notifier.notify()?;
//!     }
//!     Ok(())
//! });
//! let mut sum = 0;
//! while sum < 499_500 {
//!     event.wait()?;
//!     event.clear()?; // first, and look afterwards
//!     sum += receiver.try_iter().sum::<u32>();
//! }
//! # Ok(())
//! # }
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg_attr(not(feature = "python"), allow(dead_code))] // some of it is for Python's classes only
mod event;
mod fork;
mod native;
mod notifier;
mod process;
mod ring;
mod sync;

#[cfg(all(feature = "async-io", not(any(loom, wakefd_steps))))]
mod async_io;
#[cfg(not(any(loom, wakefd_steps)))]
mod byte_queue;
#[cfg(any(all(feature = "python", not(any(loom, wakefd_steps))), all(test, not(wakefd_steps))))]
mod capacity;
#[cfg(all(feature = "pyo3", not(any(loom, wakefd_steps))))]
pub mod extension;
#[cfg(not(any(loom, wakefd_steps)))]
mod io_event;
#[cfg(all(feature = "python", not(any(loom, wakefd_steps))))]
mod python;
#[cfg(any(all(feature = "python", not(any(loom, wakefd_steps))), all(loom, test)))]
#[cfg_attr(loom, allow(dead_code))] // the models need not all of it
mod queue;

#[cfg(not(any(loom, wakefd_steps)))]
pub use byte_queue::{ByteQueue, ByteQueueError};
pub use event::descriptor::Descriptor;
#[cfg(not(any(loom, wakefd_steps)))]
pub use io_event::IoEvent;
#[cfg(not(any(loom, wakefd_steps)))]
pub use native::{capi, handle::NativeHandle};

#[cfg(all(test, any(loom, wakefd_steps)))]
#[path = "../tests/loom/models.rs"]
mod models;
