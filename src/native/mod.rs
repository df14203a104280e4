//! The event and the byte queue as native code meets them: a function and an argument, callable in any thread.

#[cfg(not(any(loom, wakefd_steps)))]
pub mod capi;
#[cfg(not(any(loom, wakefd_steps)))]
pub(crate) mod handle;
pub(crate) mod handle_table;
