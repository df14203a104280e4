//! The project's proof, on the shipped code: `README.md` says what is shown, and how to run it.

// Tests of their own kind: they report the size of what they explored, and a broken promise is a panic.
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::too_many_lines
)]

use crate::{event::descriptor::Descriptor, event::self_pipe::SelfPipe, fork::enter, process::GATE};
use std::sync::atomic::Ordering::Relaxed;

#[cfg(loom)]
mod blocking;
#[cfg(loom)]
mod byte_queue;
#[cfg(loom)]
mod crowd;
#[cfg(loom)]
mod ends;
#[cfg(loom)]
mod event;
#[cfg(loom)]
mod hub;
mod looper;
#[cfg(loom)]
mod pipe;
#[cfg(loom)]
mod portal;
#[cfg(loom)]
mod queue;
#[cfg(loom)]
mod refused;
#[cfg(loom)]
mod slot;
#[cfg(wakefd_steps)]
mod steps;
#[cfg(wakefd_steps)]
mod steps_bytes;
#[cfg(wakefd_steps)]
mod steps_slot;
#[cfg(loom)]
mod watch;

use looper::Loop;

/// Explores every order of the actors' steps with at most `bound` preemptions (`None`: every order).
///
/// `WAKEFD_LOOM_MORE=1` allows one more in each model, and takes minutes for some.
#[cfg(loom)]
fn model(bound: impl Into<Option<usize>>, scenario: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    let more = std::env::var("WAKEFD_LOOM_MORE").map_or(0, |more| more.parse().unwrap());
    builder.preemption_bound = bound.into().map(|bound| bound + more);
    builder.max_branches = 10_000;
    let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = count.clone();
    builder.check(move || {
        counted.fetch_add(1, Relaxed);
        assert_eq!(GATE.read(), 1); // and so the global is there before any actor is
        scenario();
    });
    eprintln!(
        "{}: {} executions",
        std::thread::current().name().unwrap_or_default(),
        count.load(Relaxed)
    );
}

/// Each closure in a thread of its own: what the spawning thread does before it joins is explored badly.
#[cfg(loom)]
macro_rules! together {
    ($($actor:expr),+ $(,)?) => { $crate::models::run(vec![$(Box::new($actor)),+]) };
}
#[cfg(loom)]
use together;

#[cfg(loom)]
fn run<'a>(actors: Vec<Box<dyn FnOnce() + 'a>>) {
    // loom remembers but the last access to an atomic: where two actors load and then exchange, it overlooks that one's
    // exchange may come before the other's load. Here they meet once more, so at least they start in every order.
    let start: &'static _ = Box::leak(Box::new(loom::sync::atomic::AtomicUsize::new(0)));
    let handles = actors.into_iter().map(|actor| {
        // SAFETY: joined below. After a panic the whole model is void.
        let actor: Box<dyn FnOnce() + 'static> = unsafe { std::mem::transmute::<Box<dyn FnOnce() + 'a>, _>(actor) };
        loom::thread::spawn(move || {
            start.fetch_add(1, Relaxed);
            actor();
        })
    });
    for handle in handles.collect::<Vec<_>>() {
        handle.join().unwrap();
    }
}

#[cfg(loom)]
fn exposed() -> (SelfPipe, Descriptor) {
    let pipe = SelfPipe::new();
    pipe.expose(crate::notifier::Notifier::new().unwrap()).unwrap();
    let fd = pipe.hold().unwrap();
    (pipe, fd)
}

/// What holds when nobody is at work on the pipe, if it is the only one that was ever refused anything.
fn at_rest(pipe: &SelfPipe, fd: &Descriptor) {
    let (word, fd) = (pipe.word(), fd.notifier());
    assert_eq!(fd.readable(), word.owed() > 0, "ACCOUNTING: readable <=> OWED > 0");
    assert!(
        !word.is_set() || pipe.is_unsent() || fd.readable(),
        "WEDGED: flag up, nothing to read"
    );
    assert!(word.is_set() || !pipe.is_unsent(), "UNSENT without FLAG");
    assert_eq!(GATE.read(), 1 + usize::from(pipe.is_unsent()), "GATE");
    assert_eq!(pipe.clear().unwrap(), word.is_set());
    assert!(
        !pipe.word().is_set() && pipe.word().owed() == 0 && !fd.readable(),
        "SPIN: one clear must settle"
    );
    assert_eq!(GATE.read(), 1, "GATE: not lowered by clear");
    let drains = fd.log().drains.load(Relaxed);
    assert!(!pipe.clear().unwrap());
    assert_eq!(
        fd.log().drains.load(Relaxed),
        drains,
        "SYSTEM CALL: clear of a settled pipe"
    );
    assert!(
        pipe.notify().is_told() && fd.readable(),
        "DEAF: a notify must make it readable"
    );
    assert!(pipe.clear().unwrap() && !fd.readable());
}

impl crate::event::self_pipe::Raised {
    /// The caller was promised that whoever looks will find the flag up, and something to read.
    fn is_told(&self) -> bool {
        use crate::event::self_pipe::Raised::{Closed, Coalesced, Retried, Rose};
        match self {
            Coalesced | Retried(Ok(())) | Rose(Ok(())) => true,
            Closed | Retried(Err(_)) | Rose(Err(_)) => false,
        }
    }
}
