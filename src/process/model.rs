//! The hooks of the models.

use super::refcount::{Counted, Last};
use std::sync::atomic::Ordering::Relaxed;

impl<T: Last> Counted<T> {
    /// The number of references.
    pub(crate) fn references(&self) -> usize {
        self.count().0.load(Relaxed)
    }
}
