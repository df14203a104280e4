//! Arguments from Python: how they are converted, and the messages if they do not suit.
//!
//! PyO3 converts an argument before the method is called, and its messages do not know which one that is. So these types
//! convert nothing by themselves: the method does, with its name.

use pyo3::{
    Borrowed,
    exceptions::{PyOverflowError, PyRuntimeError, PyTypeError, PyValueError},
    ffi,
    prelude::*,
    types::{PyDict, PyIterator, PyString, PyTuple, PyType},
};
use std::{
    array,
    convert::Infallible,
    ffi::{c_int, c_void},
    marker::PhantomData,
};

/// The iterator of an argument that is to be an iterable.
pub(super) fn iterator<'py>(items: &Bound<'py, PyAny>, function: &str) -> PyResult<Bound<'py, PyIterator>> {
    items.try_iter().map_err(|error| {
        own(error, items, ["__iter__", "__getitem__"])
            .unwrap_or_else(|| mismatch(function, "items", "an iterable", items))
    })
}

/// The truth of an argument, of any type, as in the standard library's queues. For `from_py_with`.
pub(super) fn truth(it: &Bound<'_, PyAny>) -> PyResult<bool> {
    it.is_truthy()
}

/// An argument that is converted by the method that gets it. The stubs say that it is a `T`.
#[derive(Clone, Copy)]
pub(super) struct Unconverted<'a, 'py, T>(Borrowed<'a, 'py, PyAny>, PhantomData<T>);

/// A number of seconds.
pub(super) type Seconds<'a, 'py> = Unconverted<'a, 'py, f64>;
/// A number of items.
pub(super) type Count<'a, 'py> = Unconverted<'a, 'py, i64>;

impl<'a, 'py, T: FromPyObject<'a, 'py>> FromPyObject<'a, 'py> for Unconverted<'a, 'py, T> {
    type Error = Infallible;

    #[cfg(feature = "stubs")]
    const INPUT_TYPE: pyo3::inspect::PyStaticExpr = T::INPUT_TYPE;

    fn extract(it: Borrowed<'a, 'py, PyAny>) -> Result<Self, Infallible> {
        Ok(Self(it, PhantomData))
    }
}

/// Converts a timeout. The message of an error calls the method `function`.
#[inline]
pub(super) fn seconds(timeout: Option<Seconds<'_, '_>>, function: &str) -> PyResult<Option<f64>> {
    let Some(Unconverted(it, _)) = timeout else {
        return Ok(None);
    };
    it.extract().map(Some).map_err(|error| {
        own(error, &it, ["__float__", "__index__"])
            .unwrap_or_else(|| mismatch(function, "timeout", "a number of seconds or None", &it))
    })
}

/// The largest number of items to take, which `None` does not limit.
#[inline]
pub(super) fn most(max: Option<Count<'_, '_>>, function: &str) -> PyResult<usize> {
    let Some(Unconverted(it, _)) = max else {
        return Ok(usize::MAX);
    };
    let max = integer(&it, function, "max")?;
    usize::try_from(max).map_err(|_| PyValueError::new_err(format!("{function} max must not be negative: {max}")))
}

/// An integer of any size. One that does not fit in an i64 becomes the nearest that does.
pub(super) fn integer(it: &Bound<'_, PyAny>, function: &str, name: &str) -> PyResult<i64> {
    // SAFETY: an object, and this thread is attached.
    if unsafe { ffi::PyIndex_Check(it.as_ptr()) } == 0 {
        return Err(mismatch(function, name, "an int", it));
    }
    // SAFETY: as above; a new reference, or null with an exception set.
    let it = unsafe { Bound::from_owned_ptr_or_err(it.py(), ffi::PyNumber_Index(it.as_ptr())) }?;
    match it.extract::<i64>() {
        Err(error) if error.is_instance_of::<PyOverflowError>(it.py()) => {
            Ok(if it.lt(0)? { i64::MIN } else { i64::MAX })
        }
        result => result,
    }
}

/// The error itself if the object's class has one of the methods, which has raised it then; None otherwise.
#[cold]
fn own(error: PyErr, it: &Bound<'_, PyAny>, methods: [&str; 2]) -> Option<PyErr> {
    let class = it.get_type();
    methods
        .iter()
        .any(|name| class.hasattr(name).unwrap_or(true))
        .then_some(error)
}

#[cold]
pub(super) fn mismatch(function: &str, name: &str, wanted: &str, it: &Bound<'_, PyAny>) -> PyErr {
    match it.get_type().name() {
        Ok(given) => PyTypeError::new_err(format!("{function} {name} must be {wanted}, not '{given}'")),
        Err(error) => error,
    }
}

/// The arguments of a constructor, one for each parameter, `None` where it was not given.
pub(super) fn parameters<'py, const N: usize>(
    function: &str,
    names: [&str; N],
    args: &Bound<'py, PyTuple>,
    keywords: Option<&Bound<'py, PyDict>>,
) -> PyResult<[Option<Bound<'py, PyAny>>; N]> {
    let given = args.len();
    if given > N {
        let s = if N == 1 { "" } else { "s" };
        return Err(PyTypeError::new_err(format!(
            "{function} takes at most {N} argument{s} ({given} given)"
        )));
    }
    let mut found = array::from_fn(|at| (at < given).then(|| args.get_item(at)).and_then(Result::ok));
    for (name, value) in keywords.into_iter().flatten() {
        let name = name.cast::<PyString>()?.to_cow()?;
        match names.iter().position(|known| *known == name) {
            None => {
                return Err(PyTypeError::new_err(format!(
                    "{function} got an unexpected keyword argument '{name}'"
                )));
            }
            Some(at) if found[at].is_some() => {
                return Err(PyTypeError::new_err(format!(
                    "{function} got multiple values for argument '{name}'"
                )));
            }
            Some(at) => found[at] = Some(value),
        }
    }
    Ok(found)
}

/// The argument for a parameter that has no default.
pub(super) fn required<T>(it: Option<T>, function: &str, name: &str) -> PyResult<T> {
    it.ok_or_else(|| PyTypeError::new_err(format!("{function} missing required argument: '{name}'")))
}

/// The error of a constructor that was called a second time on an object which can be made only once.
#[cold]
pub(super) fn initialised_before(function: &str) -> PyErr {
    PyRuntimeError::new_err(format!("{function} was initialised before: make another one"))
}

/// Refuses arguments, for the `__new__` of a class without `__init__`. A subclass that has an `__init__` may take some.
///
/// # Errors
/// There are arguments, and no `__init__` that takes them.
#[inline]
pub(super) fn no_arguments(
    class: &Bound<'_, PyType>,
    args: &Bound<'_, PyTuple>,
    keywords: Option<&Bound<'_, PyDict>>,
) -> PyResult<()> {
    if args.is_empty() && keywords.is_none() {
        return Ok(());
    }
    let object = class.py().get_type::<PyAny>();
    if slot(class, ffi::Py_tp_init) != slot(&object, ffi::Py_tp_init) {
        return Ok(());
    }
    Err(PyTypeError::new_err(format!("{}() takes no arguments", class.name()?)))
}

/// An object of `class` gets its arguments from `Base.__new__`: the class has a `__new__` of its own, which has called it, but
/// no `__init__`. All others get them from `Base.__init__`. It is the rule by which `object` takes no arguments.
pub(super) fn made_by_new<Base: pyo3::PyTypeInfo>(class: &Bound<'_, PyType>) -> bool {
    let base = class.py().get_type::<Base>();
    slot(class, ffi::Py_tp_init) == slot(&base, ffi::Py_tp_init)
        && slot(class, ffi::Py_tp_new) != slot(&base, ffi::Py_tp_new)
}

fn slot(class: &Bound<'_, PyType>, number: c_int) -> *mut c_void {
    // SAFETY: a class, and this thread is attached.
    unsafe { ffi::PyType_GetSlot(class.as_type_ptr(), number) }
}
