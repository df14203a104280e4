//! The PriorityQueue's items: a binary heap, as in heapq.
//!
//! A comparison may run Python code, which may do anything with the queue, and lets other threads run. So the way of an
//! item through the heap is planned first, outside of the cell, and applied if the queue has not changed meanwhile;
//! else it is planned again.

use crate::python::call::is_less;
use crate::queue::{Obstacle, Queue, attempt::QueueCell};
use pyo3::prelude::*;
use std::{
    cell::Cell,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// The cell of a queue whose items are a heap.
pub(crate) trait HeapCell: QueueCell<Item = Py<PyAny>> + Copy {}

impl<C: QueueCell<Item = Py<PyAny>> + Copy> HeapCell for C {}

/// The way of one item through the heap: the places from where the item starts to where it ends up. The item at each
/// place moves to the place before.
pub(crate) struct Plan {
    /// The queue's `changes`, when the plan was begun.
    changes: u64,
    /// As many as the deepest heap has levels, and one for its last item: a plan allocates nothing.
    steps: [usize; usize::BITS as usize],
    length: usize,
}

impl Plan {
    fn new(changes: u64) -> Self {
        Self {
            changes,
            steps: [0; usize::BITS as usize],
            length: 0,
        }
    }

    fn add(&mut self, at: usize) {
        self.steps[self.length] = at;
        self.length += 1;
    }

    /// The plan for an item that is to be put. `None`: the queue has changed meanwhile.
    ///
    /// # Errors
    /// The exception of a comparison.
    pub(crate) fn push(py: Python<'_>, queue: impl HeapCell, item: &Py<PyAny>) -> PyResult<Option<Self>> {
        let (changes, mut at) = queue.with(|state| (state.queue.changes(), state.queue.items().len()));
        let mut plan = Self::new(changes);
        plan.add(at);
        while at > 0 {
            let parent = (at - 1) / 2;
            let Some(other) = get(py, queue, changes, parent) else {
                return Ok(None);
            };
            if !is_less(item.bind(py), other.bind(py))? {
                break;
            }
            at = parent;
            plan.add(at);
        }
        Ok(Some(plan))
    }

    /// The plan for taking the first item: the last item fills the gap, down along the lesser children, and then up
    /// again. (The last item mostly belongs at the bottom, so this takes fewer comparisons.) `None`: the queue has
    /// changed meanwhile.
    ///
    /// # Errors
    /// The exception of a comparison.
    pub(crate) fn pop(py: Python<'_>, queue: impl HeapCell) -> PyResult<Option<Self>> {
        let (changes, len) = queue.with(|state| (state.queue.changes(), state.queue.items().len()));
        let mut plan = Self::new(changes);
        let Some(last) = len.checked_sub(1) else {
            return Ok(Some(plan));
        };
        plan.add(last);
        plan.add(0);
        let mut at = 0;
        while 2 * at + 1 < last {
            at = 2 * at + 1;
            if at + 1 < last {
                let (Some(left), Some(right)) = (get(py, queue, changes, at), get(py, queue, changes, at + 1)) else {
                    return Ok(None);
                };
                if !is_less(left.bind(py), right.bind(py))? {
                    at += 1;
                }
            }
            plan.add(at);
        }
        let Some(it) = get(py, queue, changes, last) else {
            return Ok(None);
        };
        while plan.length > 2 {
            let Some(other) = get(py, queue, changes, plan.steps[plan.length - 1]) else {
                return Ok(None);
            };
            if !is_less(it.bind(py), other.bind(py))? {
                break;
            }
            plan.length -= 1;
        }
        Ok(Some(plan))
    }

    /// # Errors
    /// The queue has changed.
    pub(crate) fn check<B>(&self, queue: &Queue<Py<PyAny>, B>) -> Result<(), Obstacle> {
        if self.changes == queue.changes() {
            Ok(())
        } else {
            Err(Obstacle::Changed)
        }
    }

    /// Moves the item that was put, and is the last one, to its place; or the first item to the end, where it is taken.
    pub(crate) fn apply<B>(&self, queue: &mut Queue<Py<PyAny>, B>) {
        if self.length > 1 {
            let items = queue.items_mut();
            for pair in self.steps[..self.length].windows(2) {
                items.swap(pair[0], pair[1]);
            }
        }
    }
}

/// Peace for a thread whose plans were overtaken again and again: the other threads let it finish before they touch the
/// heap.
///
/// The other threads do not wait for long, because a comparison of that thread may itself wait for one of them, and because after a
/// fork it may be a thread of the parent.
#[derive(Default)]
pub(crate) struct Peace {
    /// An address that only the thread with peace has; 0: no thread has it.
    owner: AtomicUsize,
}

const PATIENCE: Duration = Duration::from_millis(100);
/// The number of plans of one operation that may be overtaken before it asks for peace.
const OVERTAKEN: u32 = 8;

/// The attempts of one operation.
pub(crate) struct Attempts<'a> {
    peace: &'a Peace,
    left: u32,
}

impl Peace {
    pub(crate) fn attempts(&self) -> Attempts<'_> {
        Attempts {
            peace: self,
            left: OVERTAKEN,
        }
    }

    fn others(&self) -> Option<usize> {
        let owner = self.owner.load(Relaxed);
        (owner != 0 && owner != me()).then_some(owner)
    }

    #[cold]
    fn respect(&self, py: Python<'_>) {
        let since = Instant::now();
        while let Some(owner) = self.others() {
            if since.elapsed() > PATIENCE {
                let _ = self.owner.compare_exchange(owner, 0, Relaxed, Relaxed);
                return;
            }
            py.detach(|| std::thread::sleep(Duration::from_micros(100)));
        }
    }
}

impl Attempts<'_> {
    /// Comes before each plan.
    pub(crate) fn next(&mut self, py: Python<'_>) {
        if self.peace.others().is_some() {
            self.peace.respect(py);
        }
        if self.left > 0 {
            self.left -= 1;
        } else {
            let _ = self.peace.owner.compare_exchange(0, me(), Relaxed, Relaxed);
        }
    }
}

impl Drop for Attempts<'_> {
    fn drop(&mut self) {
        if self.left == 0 {
            let _ = self.peace.owner.compare_exchange(me(), 0, Relaxed, Relaxed);
        }
    }
}

fn me() -> usize {
    thread_local! {
        static ME: Cell<u8> = const { Cell::new(0) }; // what is constant need not have an address of its own
    }
    ME.with(|me| std::ptr::from_ref(me).addr())
}

/// `None`: the queue has changed.
fn get(py: Python<'_>, queue: impl HeapCell, changes: u64, at: usize) -> Option<Py<PyAny>> {
    queue.with(|state| {
        let queue = &state.queue;
        let item = queue.items().get(at).filter(|_| queue.changes() == changes);
        item.map(|item| item.clone_ref(py))
    })
}
