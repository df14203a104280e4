//! The memory of a ring: its units. Who may touch which at what time is the ring's knowledge.

use std::{
    ptr::NonNull,
    sync::atomic::{
        AtomicU64,
        Ordering::{Acquire, Release},
    },
};

/// The size of a unit, in bytes.
pub(super) const UNIT: usize = 8;

pub(super) struct Memory {
    start: NonNull<u64>,
    bytes: usize,
}

/// Zeroes from the system, which take no room yet, and can be had back.
#[cfg(target_os = "linux")]
mod zeroes {
    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
    use std::ptr::{self, NonNull};

    pub(super) fn allocate(bytes: usize) -> Option<NonNull<u64>> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh private mapping, at a place of the kernel's choice.
        let start = unsafe { mmap_anonymous(ptr::null_mut(), bytes, access, MapFlags::PRIVATE) };
        NonNull::new(start.ok()?.cast())
    }

    /// # Safety
    /// `allocate` made it, and nobody uses it any more.
    pub(super) unsafe fn free(start: NonNull<u64>, bytes: usize) {
        // SAFETY: so says the caller.
        let _ = unsafe { munmap(start.as_ptr().cast(), bytes) };
    }

    /// All zeroes again, though none is written; false: it could not be done.
    ///
    /// # Safety
    /// `allocate` made it, and nobody else uses it now.
    pub(super) unsafe fn renew(start: NonNull<u64>, bytes: usize) -> bool {
        // SAFETY: so says the caller; of a private mapping this forgets the pages.
        unsafe { madvise(start.as_ptr().cast(), bytes, Advice::LinuxDontNeed) }.is_ok()
    }
}

#[cfg(not(target_os = "linux"))]
mod zeroes {
    use std::{
        alloc::{Layout, alloc_zeroed, dealloc},
        ptr::NonNull,
    };

    // No stricter alignment: then the allocator would write the zeroes itself.
    fn layout(bytes: usize) -> Option<Layout> {
        Layout::from_size_align(bytes, align_of::<u64>()).ok()
    }

    pub(super) fn allocate(bytes: usize) -> Option<NonNull<u64>> {
        // SAFETY: not of size 0.
        NonNull::new(unsafe { alloc_zeroed(layout(bytes)?) }.cast())
    }

    pub(super) unsafe fn free(start: NonNull<u64>, bytes: usize) {
        if let Some(layout) = layout(bytes) {
            // SAFETY: `allocate` made it with this layout.
            unsafe { dealloc(start.as_ptr().cast(), layout) };
        }
    }

    #[cfg(unix)] // nobody forks elsewhere
    pub(super) unsafe fn renew(_: NonNull<u64>, _: usize) -> bool {
        false
    }
}

// SAFETY: plain memory.
unsafe impl Send for Memory {}
// SAFETY: `header` and `commit` are atomic, and the others say who may call them.
unsafe impl Sync for Memory {}

impl Memory {
    /// Zeroes, which take no room yet. More than 0 units.
    pub(super) fn new(units: usize) -> Option<Self> {
        let bytes = units.checked_mul(UNIT)?;
        let start = zeroes::allocate(bytes)?;
        Some(Self { start, bytes })
    }

    /// Makes the whole memory zero, of which only `units` from `at` on are not; without a write to each page, if possible.
    ///
    /// # Safety
    /// The memory is the caller's alone.
    #[cfg(unix)] // nobody forks elsewhere
    pub(super) unsafe fn clear(&self, at: usize, units: usize) {
        // SAFETY: so says the caller.
        unsafe {
            if !zeroes::renew(self.start, self.bytes) {
                self.zero(at, units);
            }
        }
    }

    #[inline]
    fn atomic(&self, at: usize) -> &AtomicU64 {
        debug_assert!(at * UNIT < self.bytes);
        #[cfg(wakefd_steps)]
        crate::sync::steps::step();
        // SAFETY: within, aligned, and no header is touched otherwise while somebody else may look at it.
        unsafe { AtomicU64::from_ptr(self.start.as_ptr().add(at)) }
    }

    #[inline]
    pub(super) fn header(&self, at: usize) -> u64 {
        self.atomic(at).load(Acquire)
    }

    #[inline]
    pub(super) fn commit(&self, at: usize, header: u64) {
        self.atomic(at).store(header, Release);
    }

    /// `length` bytes from the unit `at` on are in one piece, or in two: the first, and how long it is.
    #[inline]
    fn piece(&self, at: usize, length: usize) -> (*mut u8, usize) {
        let at = at * UNIT;
        debug_assert!(at <= self.bytes && length <= self.bytes);
        // SAFETY: within, or at the end.
        let first = unsafe { self.start.as_ptr().cast::<u8>().add(at) };
        (first, length.min(self.bytes - at))
    }

    /// # Safety
    /// The message at `at` has room for `length` bytes, and is the caller's alone. `data` points to as many.
    #[inline]
    pub(super) unsafe fn write(&self, at: usize, data: *const u8, length: usize) {
        let (first, fits) = self.piece(at + 1, length);
        // SAFETY: so says the caller.
        unsafe {
            data.copy_to_nonoverlapping(first, fits);
            if fits < length {
                data.add(fits)
                    .copy_to_nonoverlapping(self.start.as_ptr().cast(), length - fits);
            }
        }
    }

    /// # Safety
    /// The message at `at` has `length` bytes, and nobody writes there. `to` has room for as many.
    #[inline]
    pub(super) unsafe fn read(&self, at: usize, to: *mut u8, length: usize) {
        let (first, fits) = self.piece(at + 1, length);
        // SAFETY: so says the caller.
        unsafe {
            first.copy_to_nonoverlapping(to, fits);
            if fits < length {
                self.start
                    .as_ptr()
                    .cast::<u8>()
                    .copy_to_nonoverlapping(to.add(fits), length - fits);
            }
        }
    }

    /// # Safety
    /// The units are the caller's alone.
    #[inline]
    pub(super) unsafe fn zero(&self, at: usize, units: usize) {
        let (first, fits) = self.piece(at, units * UNIT);
        // SAFETY: so says the caller.
        unsafe {
            first.write_bytes(0, fits);
            self.start.as_ptr().cast::<u8>().write_bytes(0, units * UNIT - fits);
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: `new` made it.
        unsafe { zeroes::free(self.start, self.bytes) };
    }
}
