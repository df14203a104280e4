//! An extension that tests/test_native_examples.py builds, in place of the example's, to try all of `wakefd::extension`.

use pyo3::prelude::*;
use std::{io, sync::Mutex, thread};
use wakefd::extension::EventHandle;

#[pymodule]
mod held {
    #[pymodule_export]
    use super::{Held, notify_for_ever};
}

#[pyclass(frozen)]
struct Held(Mutex<Option<EventHandle>>);

impl Held {
    fn with<R>(&self, f: impl FnOnce(&EventHandle) -> R) -> R {
        f(self.0.lock().unwrap().as_ref().unwrap())
    }
}

fn anywhere<T: Clone + Send + Sync + 'static>(it: T) -> T {
    it
}

#[pymethods]
impl Held {
    #[new]
    fn new(event: EventHandle) -> Self {
        Self(Mutex::new(Some(anywhere(event))))
    }

    /// In a thread that never attaches.
    fn notify(&self, py: Python<'_>) -> io::Result<bool> {
        let event = self.with(Clone::clone);
        py.detach(|| thread::spawn(move || event.notify()).join().unwrap())
    }

    fn clear(&self) -> io::Result<bool> {
        self.with(EventHandle::clear)
    }

    fn is_set(&self) -> bool {
        self.with(EventHandle::is_set)
    }

    fn fileno(&self) -> io::Result<i32> {
        self.with(EventHandle::fileno)
    }

    fn clone(&self) -> Self {
        Self(Mutex::new(Some(self.with(Clone::clone))))
    }

    /// Dropped in a thread that never attaches.
    fn drop(&self) {
        let event = self.0.lock().unwrap().take();
        thread::spawn(move || drop(event)).join().unwrap();
    }

    fn __repr__(&self) -> String {
        self.with(|event| format!("{event:?}"))
    }
}

/// While the interpreter ends, and afterwards.
#[pyfunction]
fn notify_for_ever(event: EventHandle) {
    thread::spawn(move || {
        loop {
            event.notify().unwrap();
            event.clear().unwrap();
            drop(event.clone());
        }
    });
}
