//! The fast methods: the hottest methods once more, as CPython calls them without PyO3's wrapper, which costs as much as
//! the methods do.
//!
//! Each fast method does the common case and leaves all else to the method of the same name that PyO3 made. A build with
//! `--cfg wakefd_no_fast_methods` has PyO3's methods alone, and the same behaviour (see `mod.rs`).

use super::{
    attached_cell::attached,
    errors::os_error,
    event::{IoEvent, notify_attached},
    queue::async_iter::{ITEMS, Items, READY, Ready, Sent},
    queue::state::Queue,
};
use pyo3::{
    Borrowed, PyClass,
    exceptions::{PyBaseException, PyStopIteration},
    ffi::{self, PyObject},
    panic::PanicException,
    prelude::*,
    pyclass::boolean_struct::True,
    sync::PyOnceLock,
    types::{PyDict, PyTuple, PyType},
};
use std::{
    any::Any,
    ffi::{CStr, CString, c_int, c_uint, c_void},
    iter,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
};

/// The trampoline between CPython and the body of each function in this file: a panic of the body becomes PanicException, as
/// in PyO3's trampoline, because no panic may get out to CPython.
///
/// The result of a body that panicked is `failed`.
#[inline(always)] // with the body
fn trampoline<R>(py: Python<'_>, failed: R, body: impl FnOnce() -> R) -> R {
    // Unwind safety is that of PyO3's methods: a panic leaves objects behind that Python code can still call.
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| {
        panicked(py, payload.as_ref());
        failed
    })
}

/// Sets the exception that stands for a panic, with the message of the panic.
#[cold]
fn panicked(py: Python<'_>, payload: &(dyn Any + Send)) {
    let message = payload.downcast_ref::<String>().map(String::as_str);
    let message = message.or_else(|| payload.downcast_ref::<&str>().copied());
    let error = PanicException::new_err((message.unwrap_or("panic from Rust code").to_owned(),));
    attached(py, |py| error.restore(py));
}

trait Fast {
    type Class: PyClass<Frozen = True> + Sync;
    const NAME: &str;
    /// The number of arguments in the common case, 0 or 1, by position.
    const TAKES: ffi::Py_ssize_t;

    /// The cell for the method that PyO3 made.
    fn original() -> &'static PyOnceLock<Py<PyAny>>;

    /// Does the common case. The result is a new reference, or null with an exception set; `None` if this is another case, in
    /// which nothing was done.
    fn common(this: &Self::Class, py: Python<'_>, argument: *mut PyObject) -> Option<*mut PyObject>;
}

/// # Safety
/// CPython calls it, as a method of the class, with `METH_FASTCALL | METH_KEYWORDS`.
unsafe extern "C" fn method<M: Fast>(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: CPython has attached this thread.
    let py = unsafe { Python::assume_attached() };
    if count == M::TAKES && names.is_null() {
        // SAFETY: CPython has checked the class, and holds a reference during the call.
        let this = unsafe { Borrowed::from_ptr(py, slf).cast_unchecked::<M::Class>() };
        let argument = if M::TAKES == 0 {
            ptr::null_mut()
        } else {
            // SAFETY: there is one.
            unsafe { *args }
        };
        if let Some(result) = trampoline(py, Some(ptr::null_mut()), || M::common(this.get(), py, argument)) {
            return result;
        }
    }
    // SAFETY: as of this function.
    unsafe { other_case::<M>(py, slf, args, count, names) }
}

/// # Safety
/// As of `method`.
#[cold]
unsafe fn other_case<M: Fast>(
    py: Python<'_>,
    slf: *mut PyObject,
    args: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    trampoline(py, ptr::null_mut(), || {
        attached(py, |py| {
            // SAFETY: as of this function.
            let result = unsafe { original::<M>(py, slf, args, count, names) };
            result.map_or_else(|error| set_exception(py, error), Py::into_ptr)
        })
    })
}

/// # Safety
/// As of `method`.
#[cold]
unsafe fn original<M: Fast>(
    py: Python<'_>,
    slf: *mut PyObject,
    args: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
) -> PyResult<Py<PyAny>> {
    // SAFETY: `args` has `count` arguments, and after them one for each name, if there are names.
    let argument = |at: usize| unsafe { Borrowed::from_ptr(py, *args.add(at)) };
    let count = usize::try_from(count).unwrap_or_default();
    // SAFETY: an object, for the time of the call.
    let this = unsafe { Borrowed::from_ptr(py, slf) };
    let positional: Vec<_> = iter::once(this).chain((0..count).map(argument)).collect();
    let positional = PyTuple::new(py, positional)?;
    let Some(original) = M::original().get(py) else {
        unreachable!("it was set at the import");
    };
    if names.is_null() {
        return original.call1(py, positional);
    }
    let keywords = PyDict::new(py);
    // SAFETY: a tuple of strings.
    let names = unsafe { Borrowed::from_ptr(py, names).cast_unchecked::<PyTuple>() };
    for (at, name) in names.iter().enumerate() {
        keywords.set_item(name, argument(count + at))?;
    }
    original.call(py, positional, Some(&keywords))
}

/// Sets the exception. The result is what a method returns then.
fn set_exception(py: Python<'_>, error: PyErr) -> *mut PyObject {
    error.restore(py);
    ptr::null_mut()
}

/// Puts one fast method in the place of PyO3's.
fn install_one<M: Fast>(py: Python<'_>) -> PyResult<()> {
    let class: Bound<'_, PyType> = py.get_type::<M::Class>();
    let original = class.getattr(M::NAME)?;
    let text = |attribute| original.getattr(attribute)?.extract::<String>();
    let doc = format!("{}{}\n--\n\n{}", M::NAME, text("__text_signature__")?, text("__doc__")?);
    let definition = Box::leak(Box::new(ffi::PyMethodDef {
        ml_name: CString::new(M::NAME)?.into_raw(),
        ml_meth: ffi::PyMethodDefPointer {
            PyCFunctionFastWithKeywords: method::<M>,
        },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: CString::new(doc)?.into_raw(),
    }));
    // SAFETY: a class, and a definition that lives as long as the process.
    let fast = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyDescr_NewMethod(class.as_type_ptr(), definition)) }?;
    let _ = M::original().set(py, original.unbind());
    class.setattr(M::NAME, fast)
}

/// Puts the fast methods in the place of PyO3's, at the import.
pub(super) fn install(py: Python<'_>) -> PyResult<()> {
    install_one::<Notify>(py)?;
    install_one::<Clear>(py)?;
    install_one::<IsSet>(py)?;
    install_one::<Put>(py)?;
    install_one::<PutNowait>(py)?;
    install_one::<Get>(py)?;
    install_one::<GetNowait>(py)?;
    install_subclasses(py)
}

macro_rules! fast {
    ($method:ident, $class:ty, $name:literal, $takes:literal, $common:expr) => {
        struct $method;

        impl Fast for $method {
            type Class = $class;
            const NAME: &str = $name;
            const TAKES: ffi::Py_ssize_t = $takes;

            fn original() -> &'static PyOnceLock<Py<PyAny>> {
                static ORIGINAL: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
                &ORIGINAL
            }

            #[inline]
            fn common(this: &$class, py: Python<'_>, argument: *mut PyObject) -> Option<*mut PyObject> {
                $common(this, py, argument)
            }
        }
    };
}

fast!(Notify, IoEvent, "notify", 0, |this: &IoEvent, py, _| {
    flag(py, notify_attached(py, &this.inner.event))
});
fast!(Clear, IoEvent, "clear", 0, |this: &IoEvent, py, _| {
    flag(py, this.inner.clear())
});
fast!(IsSet, IoEvent, "is_set", 0, |this: &IoEvent, py, _| {
    flag(py, Ok(this.inner.is_set()))
});
fast!(Put, Queue, "put", 1, put);
fast!(PutNowait, Queue, "put_nowait", 1, put);
fast!(Get, Queue, "get", 0, get);
fast!(GetNowait, Queue, "get_nowait", 0, get);

#[inline]
#[allow(clippy::unnecessary_wraps)] // what a common case returns
fn flag(py: Python<'_>, result: std::io::Result<bool>) -> Option<*mut PyObject> {
    Some(match result {
        // SAFETY: this thread is attached; the result is a new reference.
        Ok(flag) => unsafe { ffi::PyBool_FromLong(flag.into()) },
        Err(error) => attached(py, |py| set_exception(py, os_error(error))),
    })
}

/// The common case of putting: the queue has room, and no event to show the item to but the first getter's.
#[inline]
fn put(queue: &Queue, py: Python<'_>, item: *mut PyObject) -> Option<*mut PyObject> {
    // SAFETY: an argument.
    let item = unsafe { Borrowed::from_ptr(py, item) }.to_owned().unbind();
    match queue.put_at_once(py, item) {
        Ok(()) => Some(py.None().into_ptr()),
        Err(item) => {
            drop(item.into_bound(py)); // `Py` would have it dropped later: PyO3 does not know that this thread is attached
            None
        }
    }
}

#[inline]
fn get(queue: &Queue, py: Python<'_>, _: *mut PyObject) -> Option<*mut PyObject> {
    queue.get_at_once(py).map(Py::into_ptr)
}

// ---------------------------------------------------------------------------------------------------------------------
// `async for` takes three calls an item: `__anext__`, `__await__`, and then `am_send`, which PyO3 does not have, or on
// CPython 3.11 `__next__`. These are slots of subclasses, and the subclasses are what is used.

/// Makes the subclasses of `Items` and `Ready`, of which an `async for` makes its objects from then on.
fn install_subclasses(py: Python<'_>) -> PyResult<()> {
    let anext: unsafe extern "C" fn(*mut PyObject) -> *mut PyObject = anext;
    let itself: unsafe extern "C" fn(*mut PyObject) -> *mut PyObject = itself;
    let next: unsafe extern "C" fn(*mut PyObject) -> *mut PyObject = next;
    let send: unsafe extern "C" fn(*mut PyObject, *mut PyObject, *mut *mut PyObject) -> ffi::PySendResult = send;
    let items = [(ffi::Py_am_anext, anext as *mut c_void)];
    let ready = [
        (ffi::Py_am_await, itself as *mut c_void),
        (ffi::Py_tp_iternext, next as *mut c_void),
        (ffi::Py_am_send, send as *mut c_void),
    ];
    READY.get_or_try_init(py, || subclass::<Ready>(py, c"wakefd._wakefd.FastReady", ready))?;
    ITEMS.get_or_try_init(py, || subclass::<Items>(py, c"wakefd._wakefd.FastItems", items))?;
    Ok(())
}

/// A subclass with these slots. Each function must be of the type that its slot wants.
fn subclass<C: PyClass>(
    py: Python<'_>,
    name: &'static CStr,
    slots: impl IntoIterator<Item = (c_int, *mut c_void)>,
) -> PyResult<Py<PyType>> {
    let slots = slots.into_iter().map(|(slot, pfunc)| ffi::PyType_Slot { slot, pfunc });
    let mut slots: Vec<_> = slots.chain([ffi::PyType_Slot::default()]).collect();
    let mut spec = ffi::PyType_Spec {
        name: name.as_ptr(),
        basicsize: 0, // the base's
        itemsize: 0,
        flags: ffi::Py_TPFLAGS_DEFAULT as c_uint,
        slots: slots.as_mut_ptr(),
    };
    let base = py.get_type::<C>();
    // SAFETY: CPython copies the slots; the name stays.
    let class =
        unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpecWithBases(&raw mut spec, base.as_ptr())) }?;
    Ok(class.cast_into::<PyType>()?.unbind())
}

/// # Safety
/// CPython calls it, as a slot of the subclass.
unsafe extern "C" fn anext(slf: *mut PyObject) -> *mut PyObject {
    // SAFETY: CPython has attached this thread, and holds a reference during the call.
    let slf = unsafe { Borrowed::from_ptr(Python::assume_attached(), slf).cast_unchecked::<Items>() };
    trampoline(slf.py(), ptr::null_mut(), || {
        if let Some(used) = Items::used(slf) {
            return used.into_ptr();
        }
        attached(slf.py(), |py| {
            Items::new_ready(slf).map_or_else(|error| set_exception(py, error), Py::into_ptr)
        })
    })
}

/// # Safety
/// As of `anext`.
unsafe extern "C" fn itself(slf: *mut PyObject) -> *mut PyObject {
    // SAFETY: an object, and this thread is attached.
    unsafe { ffi::Py_NewRef(slf) }
}

/// # Safety
/// As of `anext`.
unsafe extern "C" fn send(slf: *mut PyObject, value: *mut PyObject, result: *mut *mut PyObject) -> ffi::PySendResult {
    // SAFETY: as of `anext`.
    let slf = unsafe { Borrowed::from_ptr(Python::assume_attached(), slf).cast_unchecked::<Ready>() };
    // SAFETY: an argument.
    let value = unsafe { Borrowed::from_ptr(slf.py(), value) };
    let failed = (ffi::PySendResult::PYGEN_ERROR, ptr::null_mut());
    let (sent, it) = trampoline(slf.py(), failed, || match step(slf, value) {
        Some(Sent::Returned(item)) => (ffi::PySendResult::PYGEN_RETURN, item.into_ptr()),
        Some(Sent::Yielded(it)) => (ffi::PySendResult::PYGEN_NEXT, it.into_ptr()),
        None => failed,
    });
    // SAFETY: CPython gave us the place.
    unsafe { *result = it };
    sent
}

/// # Safety
/// As of `anext`.
unsafe extern "C" fn next(slf: *mut PyObject) -> *mut PyObject {
    // SAFETY: as of `anext`.
    let slf = unsafe { Borrowed::from_ptr(Python::assume_attached(), slf).cast_unchecked::<Ready>() };
    // SAFETY: None.
    let none = unsafe { Borrowed::from_ptr(slf.py(), ffi::Py_None()) };
    trampoline(slf.py(), ptr::null_mut(), || match step(slf, none) {
        Some(Sent::Returned(item)) => stop(item.into_bound(slf.py())),
        Some(Sent::Yielded(it)) => it.into_ptr(),
        None => ptr::null_mut(),
    })
}

/// One step of an awaitable. `None`: an exception is set.
#[inline]
fn step(slf: Borrowed<'_, '_, Ready>, value: Borrowed<'_, '_, PyAny>) -> Option<Sent> {
    let failed = match Ready::at_once(slf) {
        Ok(Some(item)) => return Some(Sent::Returned(item)),
        Ok(None) => None,
        Err(error) => Some(error),
    };
    attached(slf.py(), |py| {
        let sent = failed.map_or_else(|| Ready::step(slf, value), Err);
        sent.map_err(|error| set_exception(py, error)).ok()
    })
}

/// Ends an iteration with that value.
#[inline]
fn stop(item: Bound<'_, PyAny>) -> *mut PyObject {
    if item.is_instance_of::<PyTuple>() || item.is_instance_of::<PyBaseException>() {
        // As it is, it would be taken apart, or raised.
        return attached(item.py(), |py| {
            set_exception(py, PyStopIteration::new_err((item.unbind(),)))
        });
    }
    // SAFETY: objects, and this thread is attached.
    unsafe { ffi::PyErr_SetObject(ffi::PyExc_StopIteration, item.as_ptr()) };
    ptr::null_mut()
}
