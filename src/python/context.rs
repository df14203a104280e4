//! Context variables: a callback runs in an empty context, or in that of the task which registered it.
//!
//! A loop keeps the current context with each callback that is registered: for a hub, that of the task which happened to wait
//! first. So a callback that stays for the loop's life is registered in an empty context.

use super::{call, once::get_or_look_up};
use pyo3::{prelude::*, sync::PyOnceLock, types::PyTuple};

fn of_contextvars(py: Python<'_>, name: &str) -> PyResult<Py<PyAny>> {
    Ok(py.import("contextvars")?.getattr(name)?.unbind())
}

pub(super) fn copy_context(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static FUNCTION: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    get_or_look_up(py, &FUNCTION, || of_contextvars(py, "copy_context"))
}

/// `contextvars.Context`.
fn class(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    get_or_look_up(py, &CLASS, || of_contextvars(py, "Context"))
}

/// `contextvars.Context.run`, unbound.
pub(super) fn run(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static FUNCTION: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    get_or_look_up(py, &FUNCTION, || Ok(class(py)?.getattr("run")?.unbind()))
}

pub(super) fn empty(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    class(py)?.call0()
}

pub(super) fn call<'py>(
    context: &Bound<'py, PyAny>,
    function: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = context.py();
    let mut all = Vec::with_capacity(2 + args.len());
    all.extend([context.clone(), function.clone()]);
    all.extend(args.iter());
    call::call(run(py)?, PyTuple::new(py, all)?)
}
