//! Atomics and cells in three editions: the standard library's; loom's, for the models; and one that
//! counts steps, so that a test can run a signal handler or a fork between any two of them.

#[cfg(not(any(loom, wakefd_steps)))]
pub(crate) use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, fence};
#[cfg(not(any(loom, wakefd_steps)))]
pub(crate) use std::sync::{Mutex, MutexGuard};
#[cfg(not(loom))]
pub(crate) use std::thread::yield_now;

#[cfg(loom)]
pub(crate) use loom::{
    cell::UnsafeCell,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, fence},
    },
    thread::yield_now,
};

#[cfg(any(loom, wakefd_steps))]
mod model;
#[cfg(wakefd_steps)]
pub(crate) use model::steps::{self, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Mutex, MutexGuard, fence};
#[cfg(any(loom, wakefd_steps))]
pub(crate) use model::{Census, Population};

/// A process-wide value; loom wants a fresh one for every execution.
#[cfg(not(loom))]
macro_rules! global {
    ($(#[$attr:meta])* static $name:ident: $type:ty = $init:expr;) => { $(#[$attr])* pub(crate) static $name: $type = $init; };
}
#[cfg(loom)]
macro_rules! global {
    ($(#[$attr:meta])* static $name:ident: $type:ty = $init:expr;) => {
        loom::lazy_static! { pub(crate) static ref $name: $type = $init; }
    };
}
pub(crate) use global;

/// A value for each thread.
#[cfg(not(any(loom, wakefd_steps)))]
macro_rules! local {
    ($vis:vis static $name:ident: $type:ty = $init:expr;) => {
        thread_local! { $vis static $name: $type = const { $init }; }
    };
}
#[cfg(loom)]
macro_rules! local {
    ($vis:vis static $name:ident: $type:ty = $init:expr;) => {
        loom::thread_local! { $vis static $name: $type = $init; }
    };
}
#[cfg(not(wakefd_steps))]
pub(crate) use local;

/// A number, not 0, that no other thread has while this one lives.
#[cfg(not(loom))]
#[inline]
#[cfg_attr(not(feature = "python"), allow(dead_code))]
pub(crate) fn this_thread() -> usize {
    thread_local! { static HERE: u8 = const { 0 }; }
    HERE.with(|here| std::ptr::from_ref(here).addr())
}
#[cfg(loom)]
pub(crate) fn this_thread() -> usize {
    0 // for the models, all loops run in this thread: a model of a hand-over would be one of its clock
}

/// `std::cell::UnsafeCell` with loom's interface, so that loom can watch each access.
#[cfg(not(loom))]
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(loom))]
impl<T> UnsafeCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}

/// A member of each value whose number a model counts; nothing in what is shipped.
#[cfg(not(any(loom, wakefd_steps)))]
pub(crate) type Census<T> = std::marker::PhantomData<fn() -> T>;
