//! The pace of the hand-overs to one loop: who runs it, and when to try the next one. A pure function of times and outcomes.
//!
//! A notifier pays for a hand-over with the time from its detaching to its attaching: the loop's turn is included, as nobody
//! gets the GIL back before the loop sleeps or the switch interval is over. After a hand-over that took c there is none for
//! `REST` times c. So a loop's notifiers give away at most one part in `REST` + 1 of the time, however long its turns are; one
//! that notifies now and then hands over each time, a flood hardly ever. (A thread that wakes many loops: see `habit`.) A loop
//! that did not come in time (it is stuck in C, stopped, or waits for the GIL behind a third thread) is tried again after a rest
//! that doubles; and so is a hand-over after which the notifier got the GIL back very late, because the loop's turn was long or a
//! third thread computes.
//!
//! Only one thread waits for a loop at a time. If its trial never ends (the interpreter has ended, or we are the child of a fork),
//! the next trial begins after `LOST`. No wake-up depends on a pace, which is a hint: hence `Relaxed`, and not loom's atomics.

use crate::sync::this_thread;
use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

/// The rest after a hand-over, as a multiple of what it took. With 4 a thread that computes a millisecond for each item misses
/// every other hand-over, and its loop waits 5 ms; with 1 a thread may give half of its time away.
pub(super) const REST: u64 = 2;
/// The rest after the first of several trials that failed; each further one doubles it, up to 2^6 times.
const MISSED: u64 = 1_000_000;
const MOST_DOUBLINGS: u64 = 6;
/// A trial that costs as much counts as one that failed, though the loop came. It is half a switch interval.
const DEAR: u64 = 2_500_000;
/// The time after which a trial that has not ended is given up.
const LOST: u64 = 1_000_000_000;

/// The pace of one loop: who runs it, and when its notifiers may try the next hand-over. A hint.
#[derive(Debug)]
pub(super) struct Pace {
    /// The thread that lowered the flag last, or made the pipe's descriptor.
    thread: AtomicUsize,
    rest: AtomicU64,
}

/// The state of a pace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Rest {
    /// The time from which on a hand-over may be tried, in nanoseconds.
    until: u64,
    /// How many trials in a row have failed.
    misses: u64,
}

impl Rest {
    fn unpack(word: u64) -> Self {
        Self {
            until: word >> 3,
            misses: word & 7,
        }
    }

    fn pack(self) -> u64 {
        self.until << 3 | self.misses
    }

    /// The state while a trial is under way; None if there is to be none.
    fn begin(self, now: u64) -> Option<Self> {
        (now >= self.until).then_some(Self {
            until: now + LOST,
            ..self
        })
    }

    /// The state after a trial from `began` to `ended`. `taken`: the loop has had the lock.
    fn end(self, began: u64, ended: u64, taken: bool) -> Self {
        let cost = ended.saturating_sub(began);
        let rest = REST * cost;
        if taken && cost < DEAR {
            return Self {
                until: ended + rest,
                misses: 0,
            };
        }
        Self {
            until: ended + rest.max(MISSED << self.misses),
            misses: MOST_DOUBLINGS.min(self.misses + 1),
        }
    }
}

impl Pace {
    pub(super) const fn new() -> Self {
        Self {
            thread: AtomicUsize::new(0),
            rest: AtomicU64::new(0),
        }
    }

    /// A new loop begins. This thread runs it: a guess, until it first comes.
    pub(super) fn begins_here(&self) {
        self.is_run_here();
        self.rest.store(0, Relaxed);
    }

    /// This thread runs the loop.
    #[inline]
    pub(super) fn is_run_here(&self) {
        self.thread.store(this_thread(), Relaxed);
    }

    /// Whether another thread runs the loop.
    pub(super) fn is_run_elsewhere(&self) -> bool {
        let thread = self.thread.load(Relaxed);
        thread != this_thread() && thread != 0
    }

    /// Whether a trial begins now.
    pub(super) fn begin(&self, now: u64) -> bool {
        let word = self.rest.load(Relaxed);
        Rest::unpack(word).begin(now).is_some_and(|begun| {
            let exchanged = self.rest.compare_exchange(word, begun.pack(), Relaxed, Relaxed);
            exchanged.is_ok()
        })
    }

    /// The trial is over. `taken`: the loop has had the lock.
    pub(super) fn end(&self, began: u64, taken: bool) {
        let rest = Rest::unpack(self.rest.load(Relaxed)).end(began, now(), taken);
        self.rest.store(rest.pack(), Relaxed);
    }
}

/// Nanoseconds since some time in this process.
pub(super) fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: u64 = 1_000;

    /// The times at which a notifier of each `every` nanoseconds hands over until `end`; a trial takes `cost`.
    fn trials(every: u64, end: u64, cost: u64, taken: bool) -> Vec<u64> {
        let (mut now, mut rest, mut trials) = (0, Rest::default(), Vec::new());
        while now < end {
            if let Some(begun) = rest.begin(now) {
                trials.push(now);
                rest = begun.end(now, now + cost, taken);
                now += cost;
            }
            now += every;
        }
        trials
    }

    #[test]
    fn a_paced_notifier_hands_over_every_time() {
        assert_eq!(trials(1_000 * US, 1_000_000 * US, 400 * US, true).len(), 715);
    }

    #[test]
    fn a_flood_gives_away_its_share_of_the_time_whatever_a_turn_takes() {
        for cost in [5 * US, 100 * US, 2_000 * US, 5_000 * US, 80_000 * US] {
            let end = 1_000 * cost;
            let paid = trials(US, end, cost, true).len() as u64 * cost;
            assert!(paid * (REST + 1) <= end + 2 * cost * (REST + 1), "{paid} of {end}");
            assert!(cost > DEAR || paid * (REST + 2) >= end, "{paid} of {end}");
        }
    }

    #[test]
    fn a_hand_over_that_is_dear_is_tried_less_and_less() {
        let trials = trials(US, 1_000_000 * US, DEAR, true);
        let pauses: Vec<_> = trials
            .windows(2)
            .map(|two| (two[1] - two[0] - DEAR) / (1_000 * US))
            .collect();
        assert_eq!(pauses[..8], [5, 5, 5, 8, 16, 32, 64, 64]);
    }

    #[test]
    fn a_loop_that_never_comes_is_tried_less_and_less() {
        let trials = trials(US, 1_000_000 * US, 100 * US, false);
        let pauses: Vec<_> = trials.windows(2).map(|two| (two[1] - two[0]) / (1_000 * US)).collect();
        assert_eq!(pauses[..8], [1, 2, 4, 8, 16, 32, 64, 64]);
    }

    #[test]
    fn a_loop_that_comes_again_is_tried_as_before() {
        let missed = Rest::default().end(0, 100 * US, false).end(0, 100 * US, false);
        assert_eq!(missed.misses, 2);
        assert_eq!(
            missed.end(0, 10 * US, true),
            Rest {
                until: 10 * US * (REST + 1),
                misses: 0
            }
        );
    }

    #[test]
    fn one_thread_at_a_time_waits_for_a_loop_and_one_that_is_lost_does_not_count() {
        let begun = Rest::default().begin(7).unwrap();
        assert_eq!(begun.begin(8), None);
        assert!(begun.begin(7 + LOST).is_some());
    }

    #[test]
    fn a_new_loop_does_not_rest_after_the_hand_overs_of_an_old_one() {
        let pace = Pace::new();
        assert!(pace.begin(now()));
        assert!(!pace.begin(now()));
        pace.begins_here();
        assert!(pace.begin(now()));
    }

    #[test]
    fn a_state_survives_its_packing() {
        for rest in [
            Rest::default(),
            Rest {
                until: u64::MAX >> 3,
                misses: 6,
            },
        ] {
            assert_eq!(Rest::unpack(rest.pack()), rest);
        }
    }
}
