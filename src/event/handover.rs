//! The hand-over: a thread that wakes a loop lets go of the lock which that loop needs first, and takes it again when the loop
//! has had it.
//!
//! The lock is the GIL. A thread that notifies and computes on keeps the GIL for the switch interval of 5 ms, and the loop that
//! it has woken waits all that time. (It is not enough to let go of the GIL while the token is written: that is over before the
//! loop has come out of its sleep.) So the notifier detaches, notifies, waits until the loop has begun to dispatch, which takes
//! the GIL, and attaches again.
//!
//! # When, and for how long
//!
//! A notifier tries it where it is about to make the descriptor of a loop readable, and another thread runs that loop. Its wait
//! ends when the loop has lowered the flag, or after `PATIENCE`. Only a thread whose `habit` it is to compute tries it, and how
//! often is the `pace` of the loop.
//!
//! # Why it is safe
//!
//! - The flag is raised and everybody told in the same order as without it; what is added stands before and behind that. No
//!   wake-up depends on anything in here.
//! - No lock of ours is held: the caller is in no cell. A queue's cell is left before its bells ring.
//! - The loop's own thread neither detaches nor waits: whoever lowers the flag of a pipe leaves the thread's mark at it.

use super::{ARMED, Event, EventRef, Hub, Listener, habit, pace::now, self_pipe::SelfPipe};
use crate::sync::yield_now;
use std::{
    hint::spin_loop,
    sync::atomic::{
        AtomicBool, AtomicU64,
        Ordering::{Acquire, Relaxed},
    },
    time::Duration,
};

/// Whether loops are handed the lock at all.
static ENABLED: AtomicBool = AtomicBool::new(true);

/// Switches the hand-over to loops on or off, for the process. Returns whether it was on.
pub(crate) fn enable(yes: bool) -> bool {
    ENABLED.swap(yes, Relaxed)
}

/// The longest wait for a loop, in nanoseconds. Only tests change it.
static PATIENCE: AtomicU64 = AtomicU64::new(1_000_000);

/// Sets the longest wait for a loop, and what a thread must use of the processor each time before it blocks in order to hand over
/// at all. Returns what they were.
pub(crate) fn set_limits(patience: Duration, computes: Duration) -> (Duration, Duration) {
    let before = PATIENCE.swap(patience.as_nanos() as u64, Relaxed);
    (Duration::from_nanos(before), habit::set_computes(computes))
}

/// The part of that in which a notifier spins if it has several cores.
const SPIN: u64 = 100_000;

/// The handing of the lock to a loop.
struct Trial<'a> {
    pipe: &'a SelfPipe,
    began: u64,
    /// Whether the loop has come, and so has had the lock.
    taken: bool,
    _habit: habit::HandOver,
}

impl<'a> Trial<'a> {
    fn begin(pipe: &'a SelfPipe, began: u64) -> Option<Self> {
        // Not `then_some`: whatever is dropped counts as a trial that has ended.
        (habit::can_afford(began) && pipe.pace.begin(began)).then(|| Self {
            pipe,
            began,
            taken: false,
            _habit: habit::HandOver::begin(began),
        })
    }
}

impl Drop for Trial<'_> {
    /// The lock is taken again: the notifier knows what it has paid.
    fn drop(&mut self) {
        self.pipe.pace.end(self.began, self.taken);
    }
}

/// A notify or close that is to be made without the lock.
pub(crate) struct Unlocked<'a> {
    event: &'a EventRef,
    trial: Option<Trial<'a>>,
}

impl Unlocked<'_> {
    /// Acts, and if that wakes a loop waits for a moment until the loop has begun to dispatch. To be called without the lock.
    pub(crate) fn act<R>(&mut self, act: impl FnOnce(&EventRef) -> R) -> R {
        let result = act(self.event);
        if let Some(trial) = &mut self.trial {
            trial.taken = comes(trial.pipe, trial.began);
        }
        result
    }
}

/// Waits until the loop has lowered the flag of its pipe. False: it has not come in time.
///
/// A loop on another core comes while we spin. On the core that we are on it cannot: there we yield at once, and come back when
/// the loop sleeps. We yield only then, because among other busy processes a yield may take milliseconds.
fn comes(pipe: &SelfPipe, began: u64) -> bool {
    let spin = if has_one_core() { 0 } else { SPIN };
    while pipe.word().is_set() {
        let waited = now() - began;
        if waited > PATIENCE.load(Relaxed) {
            return false;
        }
        if waited < spin {
            spin_loop();
        } else {
            yield_now();
        }
    }
    true
}

/// Whether this thread may run on one core only, as in a container that has no more.
fn has_one_core() -> bool {
    #[cfg(target_os = "linux")]
    return rustix::thread::sched_getaffinity(None).is_ok_and(|cores| cores.count() == 1);
    #[cfg(not(target_os = "linux"))]
    false
}

impl Event {
    /// The hubs that a notify would wake.
    #[inline]
    fn armed_hubs(&self) -> impl Iterator<Item = &'static Hub> {
        let armed = |listener: &&Listener| listener.state.load(Relaxed) == ARMED;
        // SAFETY: null or a hub, which is immortal.
        let hub = |listener: &Listener| unsafe { listener.hub.load(Acquire).as_ref() };
        self.listeners().filter(armed).filter_map(hub)
    }

    /// Whether a notify would wake a blocked thread.
    fn has_blocked_thread(&self) -> bool {
        self.armed_hubs().any(Hub::is_of_a_thread)
    }

    /// The pipe of the first loop that a notify would wake, if another thread runs it.
    fn sleeping_loop(&self) -> Option<&SelfPipe> {
        let mut loops = self.armed_hubs().filter(|hub| !hub.is_of_a_thread());
        asleep(&self.pipe).or_else(|| loops.find_map(|hub| asleep(&hub.pipe)))
    }
}

impl Hub {
    /// Whether a blocked thread sleeps on the hub, and no loop.
    fn is_of_a_thread(&self) -> bool {
        self.blocking.load(Relaxed) == 1
    }
}

/// This pipe, if a loop sleeps on it that another thread runs.
#[inline]
fn asleep(pipe: &SelfPipe) -> Option<&SelfPipe> {
    if !ENABLED.load(Relaxed) {
        return None;
    }
    let word = pipe.word();
    if !word.is_exposed() || word.is_set() || !pipe.pace.is_run_elsewhere() {
        return None;
    }
    Some(pipe)
}

impl EventRef {
    /// The way to notify the event, or to close it, without the lock, if somebody is asleep to whom the lock is to be handed.
    ///
    /// For a thread that has that lock, and no other: it lets go of the lock, calls `act`, takes the lock again, and drops the
    /// answer.
    pub(crate) fn unlocked(&self) -> Option<Unlocked<'_>> {
        let sleeping = self.sleeping_loop().filter(|_| habit::computes());
        let trial = sleeping.and_then(|pipe| Trial::begin(pipe, now()));
        // A blocked thread wants the lock even if no loop is handed it.
        (trial.is_some() || self.has_blocked_thread()).then_some(Unlocked { event: self, trial })
    }

    /// Whether anybody has ever slept on the event: all that a notify pays on one where nobody has.
    #[inline]
    pub(crate) fn was_slept_on(&self) -> bool {
        !self.listeners.load(Relaxed).is_null() || self.pipe.was_exposed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_up_while_a_loop_rests_is_no_trial_of_it() {
        let pipe = SelfPipe::new();
        drop(Trial::begin(&pipe, now()).unwrap());
        let rest = format!("{:?}", pipe.pace);
        assert!(Trial::begin(&pipe, now()).is_none());
        assert_eq!(format!("{:?}", pipe.pace), rest);
    }

    #[test]
    #[cfg(not(any(loom, wakefd_steps)))]
    fn a_loop_that_rests_does_not_hide_a_blocked_thread() {
        let entered = crate::fork::enter();
        let event = Event::new(entered);
        let sleeps = |blocking| {
            let hub = Hub::acquire(entered, blocking).unwrap();
            hub.listener(&event).arm(&event);
            hub
        };
        let thread = sleeps(true);
        // The loop's listener comes to the head of the list, before the thread's.
        let its_loop = std::thread::scope(|scope| scope.spawn(|| sleeps(false)).join().unwrap());
        drop(Trial::begin(&its_loop.pipe, now()).unwrap());
        assert!(event.unlocked().unwrap().trial.is_none());
        thread.close();
        assert!(event.unlocked().is_none());
        its_loop.close();
    }
}
