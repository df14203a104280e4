//! The portal's Python classes: the portal, its inbox that threads put calls into, and the receiver that runs them in
//! the loop's thread.

mod inbox;
mod receiver;

pub(super) use inbox::Inbox;
pub(super) use receiver::Receiver;

use crate::python::arguments::no_arguments;
use crate::queue::inbox::InboxCell;
use inbox::Call;
use pyo3::{
    PyTraverseError, PyVisit,
    exceptions::PyTypeError,
    prelude::*,
    types::{PyDict, PyTuple, PyType},
};

/// The compiled half of `wakefd.Portal`: threads hand it calls for an event loop.
///
/// `wakefd.Portal` adds the methods that need an event loop.
#[pyclass(module = "wakefd._wakefd", frozen, subclass, weakref)]
pub(crate) struct Portal {
    #[pyo3(get, name = "_inbox")]
    inbox: Py<Inbox>,
    /// The receiver's runner, which the portal keeps alive.
    #[pyo3(get, name = "_runner")]
    runner: Py<PyAny>,
}

#[pymethods]
#[allow(clippy::unused_self)] // the data model's signatures
impl Portal {
    #[classmethod]
    #[new]
    #[pyo3(signature = (*args: "object", **kwargs: "object"), text_signature = "()")]
    fn new(cls: &Bound<'_, PyType>, args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        no_arguments(cls, args, kwargs)?;
        let py = cls.py();
        let runner = py.import("wakefd._loops")?.call_method0("open_portal")?;
        Ok(Self {
            inbox: runner.getattr("inbox")?.extract()?,
            runner: runner.unbind(),
        })
    }

    /// Have `function(*args)` called in the loop's thread, in a copy of this thread's context.
    ///
    /// This may be called from any thread, the loop's own included, and from `__del__`, weakref callbacks and signal
    /// handlers; it never blocks. The calls of one thread run in their order. An exception goes to the loop's exception
    /// handler (asyncio) or is logged. If the loop is closed before the call has run, that is logged, too.
    ///
    /// Raise LoopClosedError if the loop is closed, ClosedResourceError if the portal is closed, TypeError if the
    /// function is not callable, and MemoryError if there is no memory for the call, which is not accepted then. A
    /// wake-up that the system refuses raises nothing: the call is accepted, and the refusal is logged.
    #[pyo3(signature = (function, /, *args: "object"))]
    fn call_soon(&self, py: Python<'_>, function: &Bound<'_, PyAny>, args: &Bound<'_, PyTuple>) -> PyResult<()> {
        if !function.is_callable() {
            let repr = function.repr()?;
            return Err(PyTypeError::new_err(format!(
                "a portal calls functions: {repr} is not callable"
            )));
        }
        let inbox = self.inbox.get();
        // Of a thread, it is usually empty: then there is nothing to keep, and nothing for the collector to look at.
        let context = inbox.copy_context.bind(py).call0()?;
        let context = (context.len()? > 0).then(|| context.unbind());
        let call = Call::Soon(function.clone().unbind(), args.clone().unbind(), context);
        inbox.put(py, call, false)
    }

    /// Accept no more calls: from now on they raise ClosedResourceError. Those that were accepted run in the next turns
    /// of the loop.
    ///
    /// This may be called from any thread, and returns at once. To close the portal again does nothing.
    fn close(&self, py: Python<'_>) {
        self.inbox.get().close(py);
    }

    /// Whether close() was called, or the loop is closed.
    #[getter]
    fn closed(&self, py: Python<'_>) -> bool {
        self.inbox.get().closed(py)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let inbox = slf.get().inbox.get();
        let state = match () {
            () if inbox.gone(slf.py()) => "loop closed",
            () if inbox.closed(slf.py()) => "closed",
            () => "open",
        };
        let (count, name) = (inbox.size(slf.py()), slf.get_type().name()?);
        Ok(format!("<wakefd.{name} {state}, {count} to run at {:p}>", slf.as_ptr()))
    }

    fn __reduce__(&self) -> PyResult<String> {
        Err(PyTypeError::new_err(
            "a Portal cannot be copied or pickled: pass the object itself to threads",
        ))
    }

    #[allow(clippy::needless_pass_by_value)] // PyO3's signature
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.inbox)?;
        visit.call(&self.runner)
    }
}

impl Drop for Portal {
    /// The portal closes as by close(); and when all is done, the receiver leaves the loop.
    fn drop(&mut self) {
        Python::try_attach(|py| {
            let inbox = self.inbox.get();
            inbox.attached(py).with(|calls| calls.dropped = true);
            inbox.close(py);
        });
    }
}
