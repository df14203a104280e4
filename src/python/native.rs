//! `NativeHandle`, the Python class of a handle, and the table of `wakefd.h`: the way to native code through Python.

use super::{
    arguments::{initialised_before, made_by_new, mismatch, parameters, required},
    attached_cell::AttachedCell,
    byte_queue::ByteQueue,
    errors::{closed_handle, os_error},
    event::IoEvent,
};
use crate::native::capi;
use pyo3::{
    ffi::c_str,
    prelude::*,
    types::{PyCapsule, PyDict, PyTuple, PyType},
};
use std::ptr::NonNull;

/// A C function and its argument. The base class of `wakefd.NativeHandle`.
#[pyclass(module = "wakefd._wakefd", frozen, subclass, weakref)]
pub(crate) struct NativeHandle {
    /// The handle; None once it is closed.
    handle: AttachedCell<Option<crate::NativeHandle>>,
}

/// The object that a handle is made for.
#[derive(FromPyObject)]
enum NativeSource<'py> {
    Event(Bound<'py, IoEvent>),
    Bytes(Bound<'py, ByteQueue>),
}

#[pymethods]
impl NativeHandle {
    /// Raise OSError if there are no more slots: some sixteen million handles are open.
    #[classmethod]
    #[new]
    #[pyo3(signature = (*args: "object", **kwargs: "object"), text_signature = "(source)")]
    fn new(cls: &Bound<'_, PyType>, args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let new = Self {
            handle: AttachedCell::new(None),
        };
        if made_by_new::<Self>(cls) {
            new.open(args, kwargs)?;
        }
        Ok(new)
    }

    #[pyo3(signature = (*args: "object", **kwargs: "object"))]
    fn __init__(slf: &Bound<'_, Self>, args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        if made_by_new::<Self>(&slf.get_type()) {
            return Ok(());
        }
        slf.get().open(args, kwargs)
    }

    /// The address of a C function `void (*)(void *)`. Called with `argument`, from any thread and in signal handlers, it
    /// notifies the event. The same one for all handles, and there as long as the process lives.
    #[getter]
    fn function(&self, py: Python<'_>) -> PyResult<usize> {
        self.with_handle(py, |handle| handle.function() as usize)
    }

    /// The argument to call the function with, as a `void *`; never 0.
    #[getter]
    fn argument(&self, py: Python<'_>) -> PyResult<usize> {
        self.with_handle(py, |handle| handle.argument().addr())
    }

    /// Give the argument back: calls with it do nothing from now on, unless native code has retained it. Closing it again does
    /// nothing. Callable from any thread.
    fn close(&self, py: Python<'_>) {
        drop(self.handle.with(py, Option::take));
    }

    /// True once the handle was closed.
    #[getter]
    fn closed(&self, py: Python<'_>) -> bool {
        self.handle.with(py, |handle| handle.is_none())
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let name = slf.get_type().name()?;
        Ok(match slf.get().argument(slf.py()) {
            Ok(argument) => format!("<wakefd.{name} argument={argument:#x} at {:p}>", slf.as_ptr()),
            Err(_) => format!("<wakefd.{name} closed at {:p}>", slf.as_ptr()),
        })
    }
}

impl NativeHandle {
    fn open(&self, args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        let function = "NativeHandle()";
        let [source] = parameters(function, ["source"], args, kwargs)?;
        let source = required(source, function, "source")?;
        let handle = match source.extract() {
            Ok(NativeSource::Event(event)) => event.get().inner.native(),
            Ok(NativeSource::Bytes(queue)) => queue.get().made()?.inner.native(),
            Err(_) => return Err(mismatch(function, "source", "an IoEvent or a ByteQueue", &source)),
        }
        .map_err(os_error)?;
        let refused = self.handle.with(args.py(), |mine| match mine {
            Some(_) => Some(handle),
            None => mine.replace(handle),
        });
        refused.map_or(Ok(()), |_| Err(initialised_before(function)))
    }

    fn with_handle<R>(&self, py: Python<'_>, f: impl FnOnce(&crate::NativeHandle) -> R) -> PyResult<R> {
        self.handle
            .with(py, |handle| handle.as_ref().map(f))
            .ok_or_else(closed_handle)
    }
}

/// Return a capsule with the table of `wakefd.h`.
#[pyfunction]
pub(super) fn c_api(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let table = NonNull::from(&capi::API).cast();
    // SAFETY: the table is a static.
    unsafe { PyCapsule::new_with_pointer(py, table, c_str!("wakefd._C_API")) }.map(Bound::into_any)
}
