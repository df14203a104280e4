//! The memory of a ring as loom has it, which watches who touches what when.

use crate::sync::{AtomicU64, UnsafeCell};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// The size of a unit, in bytes.
pub(super) const UNIT: usize = 8;

struct Unit {
    /// Header and bytes are the same memory: what was bytes may be taken for a header.
    word: AtomicU64,
    /// Touched where the real one is touched by what is not atomic.
    plain: UnsafeCell<()>,
}

pub(super) struct Memory(Vec<Unit>);

// SAFETY: loom watches.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Unit {
    fn plain(&self, change: impl FnOnce(&mut [u8; UNIT])) {
        self.plain.with_mut(|_| {});
        let mut bytes = self.word.load(Relaxed).to_ne_bytes();
        change(&mut bytes);
        self.word.store(u64::from_ne_bytes(bytes), Relaxed);
    }
}

impl Memory {
    pub(super) fn new(units: usize) -> Option<Self> {
        let unit = |_| Unit {
            word: AtomicU64::new(0),
            plain: UnsafeCell::new(()),
        };
        Some(Self((0..units).map(unit).collect()))
    }

    pub(super) fn header(&self, at: usize) -> u64 {
        self.0[at].word.load(Acquire)
    }

    pub(super) fn commit(&self, at: usize, header: u64) {
        self.0[at].word.store(header, Release);
    }

    fn units(&self, at: usize, length: usize) -> impl Iterator<Item = (&Unit, usize)> {
        let units = (at..).map(|at| &self.0[at % self.0.len()]);
        units.zip((0..length).step_by(UNIT))
    }

    pub(super) unsafe fn write(&self, at: usize, data: *const u8, length: usize) {
        // SAFETY: so says the caller.
        let data = unsafe { std::slice::from_raw_parts(data, length) };
        for (unit, done) in self.units(at + 1, length) {
            let piece = &data[done..length.min(done + UNIT)];
            unit.plain(|bytes| bytes[..piece.len()].copy_from_slice(piece));
        }
    }

    pub(super) unsafe fn read(&self, at: usize, to: *mut u8, length: usize) {
        // SAFETY: so says the caller.
        let to = unsafe { std::slice::from_raw_parts_mut(to, length) };
        for (unit, done) in self.units(at + 1, length) {
            let piece = &mut to[done..length.min(done + UNIT)];
            unit.plain(|bytes| piece.copy_from_slice(&bytes[..piece.len()]));
        }
    }

    pub(super) unsafe fn zero(&self, at: usize, units: usize) {
        for (unit, _) in self.units(at, units * UNIT) {
            unit.plain(|bytes| *bytes = [0; UNIT]);
        }
    }
}
