//! The habit of a thread: whether it computes or blocks after it has woken a loop.
//!
//! A thread that blocks lets go of the GIL by itself, and had better do that at once: with a hand-over, there and back takes up
//! to twice as long. One that goes on computing has the loop wait for the switch interval. What a thread will do next nobody
//! knows, so we take it that it goes on as before: it computes if it has used much processor time, on average, each time before
//! it blocked. (One that blocks many times and then computes for long at a stretch is taken for one that blocks.)
//!
//! The system alone knows what a thread has used. To ask it is a system call, so a thread looks once in 32 wake-ups; a new thread
//! looks earlier.

use super::pace::{REST, now};
use std::{
    cell::Cell,
    sync::atomic::{AtomicI64, Ordering::Relaxed},
    time::Duration,
};

/// The processor time from one time that a thread blocks to the next, in microseconds, from which on it computes. Only tests
/// change it.
static COMPUTES: AtomicI64 = AtomicI64::new(500);

/// Sets the processor time from one time that a thread blocks to the next, from which on it computes. Returns what it was.
pub(super) fn set_computes(least: Duration) -> Duration {
    let before = COMPUTES.swap(least.as_micros() as i64, Relaxed);
    Duration::from_micros(before.unsigned_abs())
}

/// After how many wake-ups a thread that is not new looks again.
const PERIOD: u32 = 32;

/// How far ahead of its budget a thread may be, in nanoseconds: it may wake many loops at once, and hand over to each.
const CREDIT: u64 = 12_000_000;

/// The usage of a thread since it began.
#[derive(Clone, Copy, Default)]
struct Usage {
    /// Processor time in microseconds. That since the last tick of the system's clock may be missing if it has not blocked since.
    time: i64,
    /// How often it blocked.
    blocks: i64,
}

#[derive(Clone, Copy)]
struct Habit {
    computes: bool,
    /// The thread's usage at its last look; and how often it blocked in hand-overs since.
    looked: Usage,
    /// After how many wake-ups it looks, and how many of them are left.
    period: u32,
    left: u32,
    /// The budget: the time, in nanoseconds, up to which the hand-overs so far are the share of the thread's time that it may give
    /// away.
    budgeted: u64,
}

impl Habit {
    const fn new() -> Self {
        Self {
            computes: false,
            looked: Usage { time: 0, blocks: 0 },
            period: 0,
            left: 1,
            budgeted: 0,
        }
    }

    fn can_afford(&self, now: u64) -> bool {
        self.budgeted <= now + CREDIT
    }

    /// A hand-over has been paid for.
    fn pays(&mut self, began: u64, ended: u64) {
        self.budgeted = self.budgeted.max(began) + (REST + 1) * ended.saturating_sub(began);
    }

    /// Whether the thread computes. `usage` tells what it has used, if that is known.
    fn at_a_wake_up(&mut self, usage: impl FnOnce() -> Option<Usage>) -> bool {
        self.left -= 1;
        if self.left == 0 {
            self.computes = usage().is_some_and(|now| {
                let before = match self.looked {
                    looked if looked.time <= now.time => looked,
                    _ => Usage::default(), // the child of a fork counts from 0 again
                };
                let (time, blocks) = (now.time - before.time, now.blocks - before.blocks);
                self.looked = now;
                time >= blocks * COMPUTES.load(Relaxed)
            });
            self.period = PERIOD.min(1.max(2 * self.period));
            self.left = self.period;
        }
        self.computes
    }
}

thread_local! { static HABIT: Cell<Habit> = const { Cell::new(Habit::new()) }; }

/// Calls `f` with the habit of this thread. None: the thread ends, and its variables are gone.
fn with_habit<R>(f: impl FnOnce(&mut Habit) -> R) -> Option<R> {
    let call = |its: &Cell<Habit>| {
        let mut habit = its.get();
        let result = f(&mut habit);
        its.set(habit);
        result
    };
    HABIT.try_with(call).ok()
}

/// Whether this thread, which is about to wake a loop, will compute then.
pub(super) fn computes() -> bool {
    with_habit(|habit| habit.at_a_wake_up(usage)).unwrap_or(false)
}

/// Whether this thread may hand over now. A loop's pace bounds what it costs the loop's notifiers; this bounds what it costs a
/// thread that wakes many loops.
pub(super) fn can_afford(now: u64) -> bool {
    with_habit(|habit| habit.can_afford(now)).unwrap_or(false)
}

/// A hand-over; it ends where this is dropped. That the thread blocks in it, as it waits for the GIL, is not its habit. The time
/// that it spins counts: the system tells the time only up to the last tick, so it cannot be taken out.
pub(super) struct HandOver {
    began: u64,
    before: Option<Usage>,
}

impl HandOver {
    pub(super) fn begin(began: u64) -> Self {
        Self { began, before: usage() }
    }
}

impl Drop for HandOver {
    fn drop(&mut self) {
        with_habit(|habit| habit.pays(self.began, now()));
        if let (Some(before), Some(now)) = (self.before, usage()) {
            with_habit(|habit| habit.looked.blocks += now.blocks - before.blocks);
        }
    }
}

/// The usage of this thread, if the system tells it.
#[allow(clippy::unnecessary_cast)] // a long has 32 bits on some machines
fn usage() -> Option<Usage> {
    #[cfg(target_os = "linux")]
    {
        let mut out = std::mem::MaybeUninit::uninit();
        // SAFETY: `out` is where the call writes.
        if unsafe { libc::getrusage(libc::RUSAGE_THREAD, out.as_mut_ptr()) } == 0 {
            // SAFETY: the call has succeeded, so it wrote.
            let its: libc::rusage = unsafe { out.assume_init() };
            let microseconds = |time: libc::timeval| time.tv_sec as i64 * 1_000_000 + time.tv_usec as i64;
            return Some(Usage {
                time: microseconds(its.ru_utime) + microseconds(its.ru_stime),
                blocks: its.ru_nvcsw as i64,
            });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thread and what it has used.
    struct Thread(Habit, Usage);

    impl Thread {
        fn new() -> Self {
            Self(Habit::new(), Usage::default())
        }

        /// For how many of so many wake-ups it is said to compute. Before each it uses what `each` says.
        fn computes(&mut self, wake_ups: i64, each: impl Fn(i64) -> (i64, i64)) -> i64 {
            let Self(habit, usage) = self;
            let computes = |i| {
                let (time, blocks) = each(i);
                (usage.time, usage.blocks) = (usage.time + time, usage.blocks + blocks);
                i64::from(habit.at_a_wake_up(|| Some(*usage)))
            };
            (0..wake_ups).map(computes).sum()
        }
    }

    #[test]
    fn a_thread_that_blocks_is_never_said_to_compute() {
        assert_eq!(Thread::new().computes(1_000, |_| (499, 1)), 0);
        assert_eq!(Thread::new().computes(1_000, |_| (1_000, 3)), 0);
    }

    #[test]
    fn a_thread_that_computes_is_said_to_from_the_first_wake_up_on() {
        assert_eq!(Thread::new().computes(1_000, |_| (500, 1)), 1_000);
        assert_eq!(Thread::new().computes(1_000, |_| (10, 0)), 1_000);
    }

    /// How many wake-ups a thread has made when it begins to look once in `PERIOD`: 1 + 1 + 2 + 4 + 8 + 16.
    const NEW: i64 = 32;

    #[test]
    fn a_thread_that_computes_for_long_now_and_then_is_said_to_always() {
        let mut thread = Thread::new();
        thread.computes(NEW, |_| (0, 1));
        let each = |i| (if i % 8 == 0 { 8 * 500 } else { 0 }, 1);
        assert_eq!(thread.computes(320, each), 320 - 31);
    }

    #[test]
    fn a_new_habit_is_seen_at_the_next_look() {
        let mut thread = Thread::new();
        thread.computes(NEW, |_| (0, 1));
        assert_eq!(thread.computes(320, |_| (8_000, 1)), 320 - 31);
        assert_eq!(thread.computes(320, |_| (0, 1)), 31);
    }

    #[test]
    fn a_thread_looks_once_in_32_wake_ups_and_a_new_one_earlier() {
        let (mut habit, mut looks) = (Habit::new(), vec![]);
        for i in 1..=NEW + 320 {
            habit.at_a_wake_up(|| {
                looks.push(i);
                None
            });
        }
        assert_eq!(looks[..8], [1, 2, 4, 8, 16, 32, 64, 96]);
    }

    #[test]
    fn a_thread_of_which_nothing_is_known_hands_nothing_over() {
        assert!(!Habit::new().at_a_wake_up(|| None));
    }

    #[test]
    fn a_block_in_a_hand_over_is_not_counted() {
        let mut thread = Thread::new();
        for _ in 0..100 {
            assert_eq!(thread.computes(1, |_| (500, 1)), 1);
            thread.0.looked.blocks += 4;
            thread.1.blocks += 4;
        }
    }

    #[test]
    fn a_thread_gives_away_its_share_of_the_time_however_many_loops_it_wakes() {
        const MS: u64 = 1_000_000;
        let (mut habit, mut time, mut paid) = (Habit::new(), 0, 0);
        while time < 10_000 * MS {
            time += MS / 2;
            if habit.can_afford(time) {
                habit.pays(time, time + 5 * MS);
                time += 5 * MS;
                paid += 5 * MS;
            }
        }
        let share = time / (REST + 1);
        assert!(paid > share - 10 * MS && paid < share + 10 * MS, "{paid} of {time}");
    }

    #[test]
    fn a_thread_that_wakes_many_loops_at_once_hands_over_to_each() {
        const US: u64 = 1_000;
        let mut habit = Habit::new();
        for i in 0..32 {
            let time = 1_000_000 * US + i * 100 * US;
            assert!(habit.can_afford(time), "{i}");
            habit.pays(time, time + 100 * US);
        }
    }

    #[test]
    fn the_child_of_a_fork_begins_anew() {
        let mut thread = Thread::new();
        thread.computes(NEW, |_| (8_000, 1));
        thread.1 = Usage::default();
        assert_eq!(thread.computes(32, |_| (8, 1)), 31);
        assert_eq!(thread.computes(32, |_| (8_000, 1)), 1);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_system_tells_computing_from_blocking() {
        use std::{thread, time::Instant};

        let spin = |time| {
            let end = Instant::now() + Duration::from_millis(time);
            while Instant::now() < end {}
        };
        let sleep = |_| thread::sleep(Duration::from_millis(1));
        // The thread looks at its first wake-up, its second and its fourth.
        let habits = move |work: &dyn Fn(u64)| {
            let habit = [(); 7].map(|()| {
                work(20);
                computes()
            });
            habit[6]
        };
        let computing = thread::spawn(move || {
            let before = habits(&spin);
            let hand_over = HandOver::begin(now());
            (0..100).for_each(sleep);
            drop(hand_over);
            let after = [(); 8].map(|()| computes()); // it looks at its eighth
            (before, after[7])
        });
        assert_eq!(computing.join().unwrap(), (true, true));
        let blocking = thread::spawn(move || habits(&sleep));
        assert!(!blocking.join().unwrap());
    }
}
