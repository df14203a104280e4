//! What native code gets through Python.

use super::{byte_queue::ByteQueue, closed_handle, event::IoEvent, exclusive::Exclusive, os_error};
use crate::capi;
use pyo3::{ffi::c_str, prelude::*, types::PyCapsule};
use std::ptr::NonNull;

/// A C function and its argument. The base class of `wakefd.NativeHandle`.
#[pyclass(module = "wakefd._wakefd", frozen, subclass, weakref)]
pub(crate) struct NativeHandle {
    /// None: closed.
    handle: Exclusive<Option<crate::NativeHandle>>,
}

/// What native code may hold.
#[derive(FromPyObject)]
pub(crate) enum Source<'py> {
    Event(PyRef<'py, IoEvent>),
    Bytes(PyRef<'py, ByteQueue>),
}

#[pymethods]
impl NativeHandle {
    /// Raise OSError if there are no more slots: some sixteen million handles are open.
    #[new]
    fn new(source: Source<'_>) -> PyResult<Self> {
        let handle = match source {
            Source::Event(event) => event.inner.native(),
            Source::Bytes(queue) => queue.inner.native(),
        }
        .map_err(os_error)?;
        Ok(Self {
            handle: Exclusive::new(Some(handle)),
        })
    }

    /// The address of a C function `void (*)(void *)`. Called with `argument`, from any thread and in signal handlers, it
    /// notifies the event. The same one for all handles, and there as long as the process lives.
    #[getter]
    fn function(&self) -> PyResult<usize> {
        self.look(|handle| handle.function() as usize)
    }

    /// What to call it with, as a `void *`; never 0.
    #[getter]
    fn argument(&self) -> PyResult<usize> {
        self.look(|handle| handle.argument().addr())
    }

    /// Give the argument back: calls with it do nothing from now on, unless native code has retained it. Closing it again does
    /// nothing. Callable from any thread.
    fn close(&self) {
        drop(self.handle.with(Option::take));
    }

    /// True once the handle was closed.
    #[getter]
    fn closed(&self) -> bool {
        self.handle.with(|handle| handle.is_none())
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let name = slf.get_type().name()?;
        Ok(match slf.get().argument() {
            Ok(argument) => format!("<wakefd.{name} argument={argument:#x} at {:p}>", slf.as_ptr()),
            Err(_) => format!("<wakefd.{name} closed at {:p}>", slf.as_ptr()),
        })
    }
}

impl NativeHandle {
    fn look<R>(&self, f: impl FnOnce(&crate::NativeHandle) -> R) -> PyResult<R> {
        self.handle
            .with(|handle| handle.as_ref().map(f))
            .ok_or_else(closed_handle)
    }
}

/// Return a capsule with the table of `wakefd.h`.
#[pyfunction]
pub(super) fn c_api(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let table = NonNull::from(&capi::API).cast();
    // SAFETY: the table is there for ever.
    unsafe { PyCapsule::new_with_pointer(py, table, c_str!("wakefd._C_API")) }.map(Bound::into_any)
}
