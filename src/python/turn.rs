//! How long a consumer that never has to wait may keep its loop: the time budget of one turn.

use pyo3::prelude::*;
use std::{
    cell::Cell,
    time::{Duration, Instant},
};

/// Then the others have their turn. A timer of asyncio's takes two turns of the loop; under a flood of one thread that holds
/// the GIL for 5 ms at a time, 2 ms here made a 1 ms ticker three times as slow as in an idle loop, and this a tenth.
const BUDGET: Duration = Duration::from_micros(500);
/// The clock costs as much as an item: look at it so often in a turn that it makes about so much.
const LOOK: Duration = Duration::from_micros(100);
const MOST: u32 = 32;

#[derive(Clone, Copy)]
pub(super) struct Turn {
    began: Option<Instant>,
    looked: Option<Instant>,
    /// So many more before the next look at the clock, of so many.
    left: u32,
    step: u32,
}

impl Turn {
    pub(super) const FRESH: Self = Self {
        began: None,
        looked: None,
        left: 0,
        step: 0,
    };

    /// May one more operation end at once? `batch`: it may be a long one.
    #[inline]
    pub(super) fn within(&mut self, batch: bool) -> bool {
        if self.left > 0 && !batch {
            self.left -= 1;
            return true;
        }
        self.look()
    }

    fn look(&mut self) -> bool {
        let now = Instant::now();
        let began = *self.began.get_or_insert(now);
        if now - began >= BUDGET {
            return false;
        }
        // What came since the last look tells how many make `LOOK`: slow bodies are looked at one by one.
        let quick = self.looked.is_none_or(|looked| now - looked < LOOK);
        self.step = if quick { (2 * self.step).clamp(1, MOST) } else { 1 };
        self.left = self.step - 1;
        self.looked = Some(now);
        true
    }
}

thread_local! {
    // A thread runs one loop at a time.
    static TURN: Cell<Turn> = const { Cell::new(Turn::FRESH) };
}

/// `Turn::within`, of this thread's turn.
#[inline]
pub(super) fn within(batch: bool) -> bool {
    let mut turn = TURN.get();
    let within = turn.within(batch);
    TURN.set(turn);
    within
}

/// The consumer suspends: its next operation begins a new turn.
pub(super) fn ended() {
    TURN.set(Turn::FRESH);
}

/// Whoever asks suspends now: the next operation begins a new turn.
#[pyfunction]
pub(super) fn turn_ended() {
    ended();
}
