//! The event and the byte queue as native code meets them: a function and an argument, callable in any thread.
//!
//! A room that may know `ring`, `event`, `process` and `sync`. `handle_table` knows what an argument means, `handle` is
//! what a Rust user holds, and `capi` is the table of C functions.

#[cfg(not(any(loom, wakefd_steps)))]
pub mod capi;
#[cfg(not(any(loom, wakefd_steps)))]
pub(crate) mod handle;
pub(crate) mod handle_table;
