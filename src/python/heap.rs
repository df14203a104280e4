//! Priority: the items as a binary heap, as heapq has them.
//!
//! A comparison may run Python code, which may do anything with the queue, and lets other threads run. So the way of an item
//! is planned first, with nothing held, and applied if nothing has changed meanwhile; else it is planned again.

use super::queue::{Core, Queue};
use crate::queue::Refusal;
use pyo3::prelude::*;

/// The way of one item through the heap.
pub(super) struct Plan {
    changes: u64,
    /// From where it starts to where it ends up: each step takes the one that is there to where it was before.
    way: Vec<usize>,
}

impl Plan {
    /// For an item that is to be put.
    ///
    /// # Errors
    /// A comparison's.
    pub(super) fn push(queue: &Queue, py: Python<'_>, item: &Py<PyAny>) -> PyResult<Self> {
        'again: loop {
            let (changes, mut at) = queue.look(|queue| (queue.changes(), queue.items().len()));
            let mut way = vec![at];
            while at > 0 {
                let parent = (at - 1) / 2;
                let Some(other) = get(queue, py, changes, parent) else {
                    continue 'again;
                };
                if !item.bind(py).lt(other)? {
                    break;
                }
                at = parent;
                way.push(at);
            }
            return Ok(Self { changes, way });
        }
    }

    /// The first one leaves, the last one is to fill the gap: down along the lesser children, and then up again. (The last one
    /// comes from the bottom, so it mostly belongs there: this takes fewer comparisons.)
    ///
    /// # Errors
    /// A comparison's.
    pub(super) fn pop(queue: &Queue, py: Python<'_>) -> PyResult<Self> {
        'again: loop {
            let (changes, len) = queue.look(|queue| (queue.changes(), queue.items().len()));
            let Some(last) = len.checked_sub(1) else {
                return Ok(Self {
                    changes,
                    way: Vec::new(),
                });
            };
            let mut way = vec![last, 0];
            let mut at = 0;
            while 2 * at + 1 < last {
                at = 2 * at + 1;
                if at + 1 < last {
                    let (Some(left), Some(right)) = (get(queue, py, changes, at), get(queue, py, changes, at + 1))
                    else {
                        continue 'again;
                    };
                    if !left.bind(py).lt(right)? {
                        at += 1;
                    }
                }
                way.push(at);
            }
            let Some(it) = get(queue, py, changes, last) else {
                continue 'again;
            };
            while way.len() > 2 {
                let Some(other) = get(queue, py, changes, way[way.len() - 1]) else {
                    continue 'again;
                };
                if !it.bind(py).lt(other)? {
                    break;
                }
                way.pop();
            }
            return Ok(Self { changes, way });
        }
    }

    /// # Errors
    /// The queue has changed.
    pub(super) fn check(&self, queue: &Core) -> Result<(), Refusal> {
        if self.changes == queue.changes() {
            Ok(())
        } else {
            Err(Refusal::Changed)
        }
    }

    /// The item stands at the end: to its place.
    pub(super) fn pushed(&self, queue: &mut Core) {
        let items = queue.items_mut();
        for pair in self.way.windows(2) {
            items.swap(pair[0], pair[1]);
        }
    }

    /// The first one to the end, where it is taken.
    ///
    /// # Errors
    /// The queue has changed.
    pub(super) fn apply(&self, queue: &mut Core) -> Result<(), Refusal> {
        self.check(queue)?;
        self.pushed(queue);
        Ok(())
    }
}

/// `None`: the queue has changed.
fn get(queue: &Queue, py: Python<'_>, changes: u64, at: usize) -> Option<Py<PyAny>> {
    queue.look(|queue| {
        let item = queue.items().get(at).filter(|_| queue.changes() == changes);
        item.map(|item| item.clone_ref(py))
    })
}
