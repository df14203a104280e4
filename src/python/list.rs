//! Lists that are made with their length and filled afterwards: where filling one must not fail.

use pyo3::{ffi, prelude::*, types::PyList};

/// A list of `count` items that are not set yet.
pub(super) fn new_list(py: Python<'_>, count: usize) -> PyResult<Bound<'_, PyList>> {
    let count = isize::try_from(count).unwrap_or(isize::MAX);
    // SAFETY: a new list, or an exception. Nobody sees it before its items are set.
    let list = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyList_New(count)) }?;
    Ok(list.cast_into::<PyList>()?)
}

/// Sets the first items of a new list, which has room for them.
pub(super) fn fill<T>(list: &Bound<'_, PyList>, items: Vec<Py<T>>) {
    for (at, item) in (0..).zip(items) {
        set(list, at, item);
    }
}

/// Sets the item at `at` of a new list. Not in an `AttachedCell` where there may be no GIL: CPython locks the list
/// then, and a thread that waits for a lock lets others run.
pub(super) fn set<T>(list: &Bound<'_, PyList>, at: isize, item: Py<T>) {
    // SAFETY: if `at` is not less than the length it is an error, else nothing was there; it takes the reference over.
    unsafe { ffi::PyList_SetItem(list.as_ptr(), at, item.into_ptr()) };
}
