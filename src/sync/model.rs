//! The editions of the models: a census, and the atomics that count steps.

use std::{
    marker::PhantomData,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

/// A type whose values are counted.
pub(crate) trait Population {
    /// The number of those that are alive.
    fn alive() -> &'static AtomicUsize;
}

pub(crate) struct Census<T: Population>(PhantomData<fn() -> T>);

impl<T: Population> Default for Census<T> {
    fn default() -> Self {
        T::alive().fetch_add(1, Relaxed);
        Self(PhantomData)
    }
}

impl<T: Population> Drop for Census<T> {
    fn drop(&mut self) {
        T::alive().fetch_sub(1, Relaxed);
    }
}

/// Atomics that announce each step before they take it.
#[cfg(wakefd_steps)]
pub(crate) mod steps {
    use std::{
        cell::{Cell, RefCell},
        ops::{Deref, DerefMut},
        sync::{
            self, LockResult, PoisonError,
            atomic::{self, Ordering},
        },
    };

    thread_local! {
        static LOCKS: Cell<usize> = const { Cell::new(0) };
        static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
        static HANDLER: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
    }

    /// Runs `handler` before the `n`th step that this thread takes from now on.
    pub(crate) fn interrupt_at(n: usize, handler: impl FnOnce() + 'static) {
        HANDLER.set(Some(Box::new(handler)));
        LEFT.set(Some(n));
    }

    /// Forgets the handler; true if it has run.
    pub(crate) fn finish() -> bool {
        LEFT.set(None);
        HANDLER.take().is_none()
    }

    /// Does this thread hold a lock? Then no fork would find it here.
    pub(crate) fn locked() -> bool {
        LOCKS.get() > 0
    }

    pub(crate) fn step() {
        match LEFT.get() {
            None => {}
            Some(0) => {
                LEFT.set(None);
                if let Some(handler) = HANDLER.take() {
                    handler();
                }
            }
            Some(n) => LEFT.set(Some(n - 1)),
        }
    }

    pub(crate) fn fence(order: Ordering) {
        step();
        atomic::fence(order);
    }

    /// The standard library's, for `locked`.
    #[derive(Default)]
    pub(crate) struct Mutex<T>(sync::Mutex<T>);

    pub(crate) struct MutexGuard<'a, T>(sync::MutexGuard<'a, T>);

    impl<T> Mutex<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
            let guard = self.0.lock();
            LOCKS.set(LOCKS.get() + 1);
            match guard {
                Ok(guard) => Ok(MutexGuard(guard)),
                Err(e) => Err(PoisonError::new(MutexGuard(e.into_inner()))),
            }
        }
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;
        fn deref(&self) -> &T {
            &self.0
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            &mut self.0
        }
    }

    impl<T> Drop for MutexGuard<'_, T> {
        fn drop(&mut self) {
            LOCKS.set(LOCKS.get() - 1);
        }
    }

    macro_rules! stepping {
        ($name:ident $(<$t:ident>)?, $value:ty, [$($extra:tt)*]) => {
            pub(crate) struct $name $(<$t>)? (atomic::$name $(<$t>)?);
            #[allow(dead_code)] // one list for all types
            impl $(<$t>)? $name $(<$t>)? {
                pub(crate) const fn new(value: $value) -> Self {
                    Self(atomic::$name::new(value))
                }
                pub(crate) fn load(&self, order: Ordering) -> $value {
                    step();
                    self.0.load(order)
                }
                pub(crate) fn store(&self, value: $value, order: Ordering) {
                    step();
                    self.0.store(value, order);
                }
                pub(crate) fn swap(&self, value: $value, order: Ordering) -> $value {
                    step();
                    self.0.swap(value, order)
                }
                pub(crate) fn compare_exchange(&self, old: $value, new: $value, ok: Ordering, no: Ordering) -> Result<$value, $value> {
                    step();
                    self.0.compare_exchange(old, new, ok, no)
                }
                pub(crate) fn compare_exchange_weak(&self, old: $value, new: $value, ok: Ordering, no: Ordering) -> Result<$value, $value> {
                    self.compare_exchange(old, new, ok, no)
                }
                $($extra)*
            }
        };
        ($($name:ident, $value:ty);*) => { $(stepping!($name, $value, [
            pub(crate) fn fetch_add(&self, n: $value, order: Ordering) -> $value {
                step();
                self.0.fetch_add(n, order)
            }
            pub(crate) fn fetch_sub(&self, n: $value, order: Ordering) -> $value {
                step();
                self.0.fetch_sub(n, order)
            }
        ]);)* };
    }
    stepping!(AtomicU32, u32; AtomicU64, u64; AtomicUsize, usize);
    stepping!(AtomicPtr<T>, *mut T, []);
}
