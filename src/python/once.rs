//! Objects of Python that are looked up once, at the first use.

use pyo3::{prelude::*, sync::PyOnceLock};

/// The object in `once`. The first call looks it up.
///
/// `PyOnceLock::get_or_try_init` would do so while it holds the lock of `once`. A look-up may run Python code, hence other
/// threads, and if one of those forks the child finds a lock that nobody will open.
pub(super) fn get_or_look_up<'py>(
    py: Python<'py>,
    once: &'static PyOnceLock<Py<PyAny>>,
    look_up: impl FnOnce() -> PyResult<Py<PyAny>>,
) -> PyResult<&'py Bound<'py, PyAny>> {
    if let Some(found) = once.get(py) {
        return Ok(found.bind(py));
    }
    let found = look_up()?;
    Ok(once.get_or_init(py, || found).bind(py))
}
