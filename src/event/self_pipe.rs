//! The self-pipe: one word and its notifier, as smol's `Inner`, with its tokens counted.
//!
//! `word` has the fields of the word.
//!
//! # The argument
//!
//! Everything is one atomic, so every transition has one place in one order. Three facts carry the rest:
//!
//! 1. *No wake-up is lost.* A token leaves the notifier only before the read-modify-write that lowers FLAG and returns
//!    true. (Lower first and drain afterwards: a notifier that raises the flag in between has its token taken, the flag
//!    stays up over an empty notifier, and every later notify is swallowed.)
//! 2. *A stale token is known.* A notifier that is late with its write leaves a readable descriptor behind a lowered flag;
//!    OWED says so, and the next `clear` takes it. At quiescence: readable <=> OWED > 0.
//! 3. *Nobody writes to a closed descriptor.* USERS is entered in the same exchange that promises the token, and EXPOSED
//!    falls in an exchange too; whoever brings the word to "not EXPOSED, no USERS" closes the notifier, exactly once. Its
//!    memory stays as long, so nobody wakes a thread by an address that was freed.
//!
//! A caller that is told "coalesced" has done no read-modify-write. The pair of SeqCst fences makes its plain stores visible
//! to the thread that clears: its own before its load of the word, `clear`'s after its exchange. Either the
//! load sees the flag down (then it raises it again), or what came before the fence is seen by whoever came after the
//! other one. This orders atomics and what a lock, a channel or the GIL protects; it orders nothing for plain memory.
//!
//! `tests/loom/` holds the models, and the broken variants that they must reject.

use super::{
    descriptor::{Descriptor, Open},
    pace::Pace,
    word::{CLOSED, EXPOSED, FLAG, OWED, RISE, UNSENT, USER, USERS, Word},
};
use crate::{
    notifier::{self, Notifier},
    process::GATE,
    sync::{AtomicPtr, AtomicU64, fence, yield_now},
};
use std::{
    io, ptr,
    sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
};

/// The change that a `notify` has made to the word.
pub(crate) enum Raised {
    /// Closed: nothing.
    Closed,
    /// The flag was up, and nothing was left to do.
    Coalesced,
    /// The flag was up, and a token that had been refused was tried again.
    Retried(io::Result<()>),
    /// The flag rose. The result is that of the token.
    Rose(io::Result<()>),
}

pub(crate) struct SelfPipe {
    pub(super) word: AtomicU64,
    /// Not null from the first EXPOSED on; valid while EXPOSED is up or USERS are there.
    open: AtomicPtr<Open>,
    pub(super) pace: Pace,
}

impl SelfPipe {
    pub(crate) fn new() -> Self {
        Self {
            word: AtomicU64::new(0),
            open: AtomicPtr::new(ptr::null_mut()),
            pace: Pace::new(),
        }
    }

    #[inline]
    pub(crate) fn word(&self) -> Word {
        Word(self.word.load(Acquire))
    }

    /// Is there a notifier, or was there one?
    pub(crate) fn was_exposed(&self) -> bool {
        !self.open.load(Relaxed).is_null()
    }

    #[inline]
    pub(crate) fn is_unsent(&self) -> bool {
        self.word().has(UNSENT)
    }

    /// `notify`'s fast path: the flag is up and there is nothing to tell anybody. A fence and two loads.
    #[inline]
    pub(crate) fn is_coalescing(&self) -> bool {
        fence(SeqCst);
        self.word.load(Relaxed) & (FLAG | UNSENT | CLOSED) == FLAG && GATE.read() == 1
    }

    /// Raises the flag; whoever raised it sends one token.
    ///
    /// Lock-free, allocates and frees nothing, leaves errno alone: it may run in a signal handler.
    #[inline(always)]
    pub(crate) fn notify(&self) -> Raised {
        fence(SeqCst);
        let mut seen = Word(self.word.load(Relaxed));
        let sends = loop {
            if seen.is_closed() {
                return Raised::Closed;
            }
            if seen.is_set() && !seen.has(UNSENT) {
                return Raised::Coalesced;
            }
            // A retry sends only where no token is left.
            let sends = seen.is_exposed() && (!seen.is_set() || seen.owed() == 0);
            if sends && seen.has(USERS) {
                // 4095 threads, each stopped in the middle of its write to this very pipe: let them finish.
                yield_now();
                seen = Word(self.word.load(Relaxed));
                continue;
            }
            let risen = if seen.is_set() {
                seen
            } else {
                Word(seen.0.wrapping_add(RISE)).with(FLAG)
            };
            let next = if sends { risen.promise() } else { risen }.without(UNSENT);
            match self.word.compare_exchange_weak(seen.0, next.0, AcqRel, Relaxed) {
                Ok(_) => break sends,
                Err(now) => seen = Word(now),
            }
        };
        if seen.has(UNSENT) {
            GATE.lower();
        }
        let sent = if sends { self.send() } else { Ok(()) };
        if seen.is_set() {
            Raised::Retried(sent)
        } else {
            Raised::Rose(sent)
        }
    }

    /// Writes the token that has been promised, and leaves.
    #[inline(never)]
    fn send(&self) -> io::Result<()> {
        // SAFETY: we are among the USERS, so it is open.
        let open = unsafe { &*self.open.load(Acquire) };
        match open.notifier.signal() {
            // Nothing more after the write: whoever re-checks here races with the consumer that it has just woken.
            Ok(true) => {
                self.leave(|word| word);
                Ok(())
            }
            // No room: readable already.
            Ok(false) => {
                self.leave(|word| word.settle(1));
                Ok(())
            }
            // The flag stays up: another notifier may have been told "coalesced" meanwhile. The next notify tries again.
            Err(e) => {
                GATE.raise();
                let marks = |word: Word| word.is_set() && word.is_exposed() && !word.has(UNSENT);
                let before = self.leave(|word| {
                    let word = word.settle(1);
                    if marks(word) { word.with(UNSENT) } else { word }
                });
                if !marks(before) {
                    GATE.lower();
                }
                Err(e)
            }
        }
    }

    /// Lowers the flag and takes the tokens; true if the flag was up. No system call on a settled pipe, except
    /// on a stream: that may have died, and then it would be readable for ever.
    ///
    /// # Errors
    /// The notifier is dead; nothing has changed. `retire` it.
    #[inline]
    pub(crate) fn clear(&self) -> io::Result<bool> {
        self.clear_if(|word| !word.is_settled() || (word.is_exposed() && notifier::may_die()))
    }

    /// `clear` for a caller that has seen the notifier readable: if the pipe is settled, only a dead notifier explains that.
    pub(crate) fn clear_readable(&self) -> io::Result<bool> {
        self.clear_if(|word| !word.is_settled() || word.is_exposed())
    }

    #[inline(always)]
    fn clear_if(&self, wanted: impl Fn(Word) -> bool) -> io::Result<bool> {
        let mut seen = self.word();
        loop {
            if seen.is_closed() || !wanted(seen) {
                fence(SeqCst);
                return Ok(false);
            }
            if seen.is_exposed() && seen.has(USERS) {
                yield_now();
                seen = self.word();
                continue;
            }
            let next = if seen.is_exposed() {
                Word(seen.0 + USER)
            } else {
                seen.without(FLAG | UNSENT | OWED)
            };
            match self.word.compare_exchange_weak(seen.0, next.0, AcqRel, Acquire) {
                Ok(_) => break,
                Err(now) => seen = Word(now),
            }
        }
        let before = if seen.is_exposed() {
            self.pace.is_run_here();
            // SAFETY: we are among the USERS, so it is open.
            let open = unsafe { &*self.open.load(Acquire) };
            match open.notifier.drain() {
                Ok(tokens) => self.leave(|word| word.settle(tokens).without(FLAG | UNSENT)),
                Err(e) => {
                    self.leave(|word| word);
                    return Err(e);
                }
            }
        } else {
            seen
        };
        fence(SeqCst);
        if before.has(UNSENT) {
            GATE.lower();
        }
        Ok(before.is_set())
    }

    /// Gives the pipe a notifier. If the flag is up, its token is sent.
    ///
    /// The caller holds the registry's lock, has looked that there is none, and keeps others from closing the pipe.
    pub(crate) fn expose(&self, notifier: Notifier) -> io::Result<()> {
        debug_assert!(!self.word().is_exposed() && !self.word().is_closed());
        while self.word().0 & USERS != 0 {
            yield_now(); // the last ones at the old notifier: their calls do not block
        }
        self.open.store(Open::new(notifier), Release);
        self.pace.begins_here();
        let (before, _) = self.update(|word| {
            let word = word.with(EXPOSED).without(UNSENT);
            if word.is_set() { word.promise() } else { word }
        });
        if before.has(UNSENT) {
            GATE.lower();
        }
        if before.is_set() { self.send() } else { Ok(()) }
    }

    /// Takes the notifier away; the flag stays as it is. Whoever is still at work on it closes it.
    ///
    /// The caller holds the registry's lock.
    pub(crate) fn retire(&self) {
        self.take_down(|word| word.without(EXPOSED | UNSENT | OWED));
    }

    /// Closes the pipe for ever; false if it was closed. Lowers the flag, keeps the generation.
    pub(crate) fn close(&self) -> bool {
        !self
            .take_down(|word| word.with(CLOSED).without(FLAG | UNSENT | EXPOSED))
            .is_closed()
    }

    /// A closed pipe that nobody uses is as if it were new, but that somebody late may read the word.
    pub(crate) fn reopen(&self) {
        self.open.store(ptr::null_mut(), Relaxed);
        self.word.store(0, Release);
    }

    /// Lowers the flag, whatever the notifier says: for one that is dead and cannot be replaced now.
    pub(crate) fn lower(&self) {
        self.take_down(|word| word.without(FLAG | UNSENT | OWED));
    }

    fn take_down(&self, change: impl Fn(Word) -> Word) -> Word {
        let open = self.open.load(Relaxed);
        let (before, after) = self.update(change);
        if before.has(UNSENT) {
            GATE.lower();
        }
        if before.is_exposed() && after.is_abandoned() {
            // SAFETY: EXPOSED fell in our exchange and nobody is left: the pipe's hold is ours to give up.
            unsafe { Open::release(open) };
        }
        before
    }

    /// The exit of a user: `change` and USERS-1 in one exchange. The last one out of a pipe that is not EXPOSED any more
    /// closes the notifier.
    pub(super) fn leave(&self, change: impl Fn(Word) -> Word) -> Word {
        let open = self.open.load(Relaxed);
        let (before, after) = self.update(|word| Word(change(word).0 - USER));
        if after.is_abandoned() {
            // SAFETY: nobody is left and nobody can enter: the pipe's hold is ours to give up.
            unsafe { Open::release(open) };
        }
        before
    }

    fn update(&self, change: impl Fn(Word) -> Word) -> (Word, Word) {
        let mut seen = self.word();
        loop {
            let next = change(seen);
            match self.word.compare_exchange_weak(seen.0, next.0, AcqRel, Acquire) {
                Ok(_) => return (seen, next),
                Err(now) => seen = Word(now),
            }
        }
    }

    /// The notifier, kept open while the answer lives. None if there is none.
    ///
    /// The caller keeps others from retiring or closing the pipe meanwhile.
    pub(crate) fn hold(&self) -> Option<Descriptor> {
        self.word().is_exposed().then(|| {
            let open = self.open.load(Acquire);
            // SAFETY: EXPOSED, and it stays so while we look: the pipe's own hold keeps it alive.
            unsafe { &*open }.holders.fetch_add(1, Relaxed);
            Descriptor { open }
        })
    }

    /// The pipe forgets what the parent's threads had under way. In the child of a fork, before anything else runs there.
    #[cfg(all(unix, not(loom)))]
    pub(crate) fn void(&self) {
        self.word.store(self.word().without(USERS | OWED | UNSENT).0, Relaxed);
    }

    /// The pipe's notifier, if there is one, gives way to a fresh one, under the old number where that still is ours.
    /// In the child of a fork, after `void`.
    ///
    /// # Errors
    /// No descriptor to be had: the pipe has none now.
    #[cfg(all(unix, not(loom)))]
    pub(crate) fn renew(&self) -> io::Result<()> {
        let word = self.word();
        if !word.is_exposed() {
            return Ok(());
        }
        // SAFETY: EXPOSED, so it is open; and the child has no other thread.
        let renewed = unsafe { (*self.open.load(Relaxed)).notifier.renew() };
        if renewed.is_err() {
            self.retire();
        } else if word.is_set() {
            self.word.store(word.promise().0, Relaxed);
            return self.send();
        }
        renewed
    }
}

impl Drop for SelfPipe {
    fn drop(&mut self) {
        if !self.word().is_closed() {
            self.close();
        }
    }
}
