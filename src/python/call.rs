//! Calls of Python code, which may be where a thread ends.
//!
//! Before 3.14, the interpreter's end is the end of every daemon thread that asks for the GIL after it: pthread_exit(3) unwinds
//! the thread's stack, and Rust aborts the process when that comes to a frame of Rust's, or to a call that it holds for one
//! that never unwinds, as PyO3 declares them. A call through here stops the unwinding before, and the thread sleeps until the
//! process is gone, as it does by itself from 3.14 on. (PyO3 does the same where it asks for the GIL itself.)

use pyo3::{
    ffi::{self, PySendResult},
    prelude::*,
    types::{PyDict, PyString, PyTuple},
};
use std::{ffi::c_int, mem, ptr, thread, time::Duration};

type Object = *mut ffi::PyObject;

/// A function of CPython as one that may unwind. PyO3 declares that it never does, and a name has one declaration for the
/// compiler; hence the pointer that is hidden from it.
macro_rules! unwinding {
    ($function:path as fn($($argument:ty),*) -> $result:ty) => {{
        // SAFETY: the same function, and the same types.
        let function = unsafe {
            mem::transmute::<*const (), unsafe extern "C-unwind" fn($($argument),*) -> $result>($function as *const ())
        };
        std::hint::black_box(function)
    }};
}

/// A guard that only an unwinding drops, because it is forgotten when the call returns.
struct Unwinding;

impl Drop for Unwinding {
    fn drop(&mut self) {
        while !thread::panicking() {
            thread::sleep(Duration::from_secs(3600)); // pthread_exit, not a panic of Rust's
        }
    }
}

#[inline]
fn guarded<T>(call: impl FnOnce() -> T) -> T {
    let unwinding = Unwinding;
    let result = call();
    mem::forget(unwinding);
    result
}

/// `it(*args)`.
#[inline]
pub(super) fn call<'py>(
    it: &Bound<'py, PyAny>,
    args: impl IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>, Error: Into<PyErr>>,
) -> PyResult<Bound<'py, PyAny>> {
    call_with(it, args, None)
}

/// `it.name(*args)`.
pub(super) fn call_method<'py>(
    it: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
    args: impl IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>, Error: Into<PyErr>>,
) -> PyResult<Bound<'py, PyAny>> {
    call(&it.getattr(name)?, args)
}

/// `it(*args, **keywords)`.
#[inline]
pub(super) fn call_with<'py>(
    it: &Bound<'py, PyAny>,
    args: impl IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>, Error: Into<PyErr>>,
    keywords: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = it.py();
    let args = args.into_pyobject(py).map_err(Into::into)?;
    let keywords = keywords.map_or(ptr::null_mut(), Bound::as_ptr);
    let call = unwinding!(ffi::PyObject_Call as fn(Object, Object, Object) -> Object);
    // SAFETY: objects, or no keywords; this thread is attached. The result is null, or ours.
    unsafe {
        let result = guarded(|| call(it.as_ptr(), args.as_ptr(), keywords));
        Bound::from_owned_ptr_or_err(py, result)
    }
}

/// `left < right`.
pub(super) fn is_less(left: &Bound<'_, PyAny>, right: &Bound<'_, PyAny>) -> PyResult<bool> {
    let compare = unwinding!(ffi::PyObject_RichCompareBool as fn(Object, Object, c_int) -> c_int);
    // SAFETY: objects, and this thread is attached.
    match guarded(|| unsafe { compare(left.as_ptr(), right.as_ptr(), ffi::Py_LT) }) {
        -1 => Err(PyErr::fetch(left.py())),
        less => Ok(less == 1),
    }
}

/// The next item of an iterator.
pub(super) fn next<'py>(iterator: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = iterator.py();
    let next = unwinding!(ffi::PyIter_Next as fn(Object) -> Object);
    // SAFETY: an iterator, and this thread is attached. The result is null, or ours.
    let item = unsafe { Bound::from_owned_ptr_or_opt(py, guarded(|| next(iterator.as_ptr()))) };
    match item {
        None => PyErr::take(py).map_or(Ok(None), Err),
        item => Ok(item),
    }
}

/// # Safety
/// As for `ffi::PyIter_Send`.
#[inline]
pub(super) unsafe fn send(iterator: Object, value: Object, result: *mut Object) -> PySendResult {
    let send = unwinding!(ffi::PyIter_Send as fn(Object, Object, *mut Object) -> PySendResult);
    // SAFETY: the caller's promise.
    guarded(|| unsafe { send(iterator, value, result) })
}
