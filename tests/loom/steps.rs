//! A signal handler, or a fork, between any two atomic steps of any operation, from every small state.

use super::{Loop, at_rest, enter};
use crate::{
    event::descriptor::Descriptor,
    event::model::{Crowd, hubs},
    event::wait_table::WaitKey,
    event::{Event, EventRef},
    fork::handlers,
    process::GATE,
    sync::{Population, steps},
};
use std::{
    cell::Cell,
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::{Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed, mpsc},
    thread,
    time::Duration,
};

/// An event with a loop that waits for it, and a second event that may lie before or behind it in the loop's stack.
struct World {
    event: EventRef,
    other: EventRef,
    lp: Loop,
    /// Held by whoever polls it.
    fd: Option<Descriptor>,
    tickets: Vec<WaitKey>,
    next: usize,
}

/// What leads to a state. What is interrupted is one of these too, or one of `ENDS`.
const LETTERS: &str = "xwncdRHkm";
const ENDS: &str = "aqoD";

impl World {
    fn new(letters: &str) -> Self {
        let mut world = Self {
            event: Event::new(enter()),
            other: Event::new(enter()),
            lp: Loop::new(),
            fd: None,
            tickets: Vec::new(),
            next: 0,
        };
        letters.chars().for_each(|letter| world.act(letter));
        world
    }

    fn act(&mut self, letter: char) {
        match letter {
            'x' => self.fd = self.event.expose().unwrap(),
            'w' if self.lp.hub.iter().count() < 2 => self.wait(),
            'n' => _ = self.event.notify(),
            'c' => _ = self.event.clear(),
            'd' => self.lp.dispatch(),
            // The event's own token is refused, or the hub's.
            'R' => self.refused(self.fd.clone()),
            'H' => self.refused(self.lp.hub.descriptor()),
            'k' => {
                let left = self.tickets.pop().and_then(|ticket| self.lp.hub.cancel(ticket));
                self.lp.waits.retain(|&(who, ..)| left != Some(who));
            }
            'm' => {
                let other = self.other.clone();
                if self
                    .lp
                    .waits
                    .iter()
                    .all(|(_, event, _)| !std::ptr::eq(&raw const **event, &raw const *other))
                {
                    self.lp.wait(&other, 100);
                }
                _ = other.notify();
            }
            'a' => self.watch(),
            'q' => _ = self.event.close(),
            // Its descriptor dies, and `clear` finds it dead.
            'D' => {
                if let Some(fd) = self.fd.take() {
                    _ = self.event.notify();
                    fd.notifier().die();
                    _ = self.event.clear();
                }
            }
            // The loop ends, and there is a new one.
            'o' => {
                self.lp.hub.close();
                self.tickets.clear();
                self.lp = Loop::new();
            }
            _ => {}
        }
    }

    fn wait(&mut self) {
        let event = self.event.clone();
        if let Some(ticket) = self.lp.wait(&event, self.next) {
            self.next += 1;
            self.tickets.push(ticket);
        }
    }

    fn watch(&mut self) {
        let event = self.event.clone();
        let word = event.pipe.word();
        let seen = word.rises() - u64::from(word.is_set());
        let ticket = self.lp.hub.wait_after(&event, None, 300).unwrap();
        let now = if word.is_set() { seen } else { event.pipe.word().rises() };
        self.lp.waits.push((300, event, [seen, now]));
        self.tickets.push(ticket);
    }

    fn refused(&mut self, by: Option<Descriptor>) {
        if let Some(fd) = by {
            fd.notifier().refuse(1);
            _ = self.event.notify();
            fd.notifier().refuse(0);
        }
    }
}

impl World {
    /// What tells one state from another, but for how often the flags rose.
    fn signature(&self) -> String {
        let pipe = |event: &Event| {
            let word = event.pipe.word();
            let bits = [
                word.is_set(),
                word.is_exposed(),
                event.pipe.is_unsent(),
                word.owed() > 0,
            ];
            (bits, event.listener_count())
        };
        let waits = self.lp.waits.iter().map(|(who, event, [_, rises])| {
            let released = self.lp.released.iter().any(|(it, _)| it == who);
            (*who == 100, released, event.pipe.word().rises() > *rises)
        });
        let waits: BTreeSet<_> = waits.filter(|&(_, released, _)| !released).collect();
        let waiting = self.lp.hub.iter().count();
        format!(
            "{:?} {:?} {waits:?} {waiting} {} {}",
            pipe(&self.event),
            pipe(&self.other),
            self.lp.readable(),
            GATE.read()
        )
    }

    /// Nobody is at work any more, and nothing is refused: all that was promised has been kept, or is by the next call.
    fn finish(mut self) {
        for fd in self.fd.iter().chain(&self.lp.hub.descriptor()) {
            fd.notifier().refuse(0);
        }
        if GATE.read() > 1 {
            for event in [&self.event, &self.other] {
                event.notify().unwrap();
            }
        }
        self.lp.check();
        if self.event.pipe.word().is_closed() {
            assert!(!self.event.notify().unwrap() && !self.event.clear().unwrap());
            assert!(self.event.expose().unwrap().is_none());
            if let Some(fd) = self.fd.take() {
                let log = fd.notifier().log();
                assert_eq!(log.closes.load(Relaxed), 0, "closed under its holder");
                drop(fd);
                assert_eq!(log.closes.load(Relaxed), 1, "LEAK: descriptor");
            }
        } else {
            if self.fd.is_some() {
                at_rest(&self.event.pipe, &self.event.expose().unwrap().unwrap());
            }
            serves(&mut self.lp, &self.event, &self.other);
        }
        serves(&mut self.lp, &self.other, &self.other);
        self.other.clear().unwrap();
        assert_eq!(GATE.read(), 1, "GATE");
        let others = Event::alive().load(Relaxed) - 2;
        drop(self);
        assert_eq!(Event::alive().load(Relaxed), others, "LEAK: event");
    }
}

/// Whoever waits there now is released by the next notify.
pub(super) fn serves(lp: &mut Loop, one: &EventRef, two: &EventRef) {
    for (who, event) in [(200, one), (201, two)] {
        lp.released.clear();
        event.clear().unwrap();
        assert!(lp.wait(event, who).is_some());
        assert!(event.notify().unwrap());
        lp.rest();
        assert!(lp.outcome(who).is_some(), "DEAF: a new waiter is not released");
        event.clear().unwrap();
    }
}

/// One sequence of letters for each state that they lead to.
fn states() -> Vec<String> {
    let mut found = vec![String::new()];
    let mut seen = BTreeSet::from([World::new("").signature()]);
    let mut at = 0;
    while at < found.len() {
        for letter in LETTERS.chars() {
            let letters = format!("{}{letter}", found[at]);
            let world = World::new(&letters);
            if seen.insert(world.signature()) {
                found.push(letters);
            }
            world.finish();
        }
        at += 1;
    }
    found
}

/// The globals are one process's: no two tests at once.
pub(super) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says which case it was, if a promise is broken in it.
pub(super) fn case<R>(name: &str, f: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|_| panic!("in the case {name}"))
}

#[test]
fn a_signal_handler_notifies_at_every_step() {
    let _alone = alone();
    handlers();
}

#[test]
fn a_signal_handler_notifies_at_every_step_in_a_crowd() {
    let (_alone, _crowd) = (alone(), Crowd::new());
    handlers();
}

fn handlers() {
    let (states, mut cases) = (states(), 0);
    for state in &states {
        for op in LETTERS.chars().chain(ENDS.chars()) {
            for handler in ["n", "ncn"] {
                for step in 0.. {
                    let mut world = World::new(state);
                    let event = world.event.clone();
                    steps::interrupt_at(step, move || {
                        for letter in handler.chars() {
                            match letter {
                                'n' => _ = event.notify(),
                                // It takes the lock where it finds the descriptor dead, and `notify` alone may interrupt anything.
                                _ if steps::locked() => {}
                                _ => _ = event.clear(),
                            }
                        }
                    });
                    world.act(op);
                    let ran = steps::finish();
                    case(
                        &format!("{state}, {op} interrupted by {handler} at step {step}"),
                        || world.finish(),
                    );
                    if !ran {
                        break;
                    }
                    cases += 1;
                }
            }
        }
    }
    println!("{} states, {cases} cases", states.len());
}

/// How a child comes to be.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Child {
    /// The handlers run.
    Fork,
    /// And the first token of the repaired event is refused.
    Denied,
}

/// In the child, where the thread that was at work is no more.
///
/// `all`: nobody was stopped with a listener in hand whose hub is closed, so every hub must be of use again.
fn child(world: &mut World, how: Child, all: bool) {
    let event = &world.event;
    let own = event.pipe.hold();
    for (fd, refuse) in [
        (&own, usize::from(how == Child::Denied)),
        (&world.lp.hub.descriptor(), 0),
    ] {
        if let Some(fd) = fd {
            fd.notifier().refuse(refuse);
        }
    }
    handlers::child();
    if let Some(fd) = &own {
        fd.notifier().refuse(0);
    }
    assert!(!world.lp.hub.is_usable(), "the parent's hub is not ours");
    assert_eq!(GATE.read(), 1 + usize::from(event.pipe.is_unsent()), "GATE");
    if !event.pipe.word().is_closed() {
        let denied = event.pipe.is_unsent();
        assert_eq!(
            denied,
            how == Child::Denied && event.pipe.word().is_set() && event.pipe.word().is_exposed()
        );
        event.notify().unwrap();
        let fd = event.expose().unwrap().unwrap();
        fd.notifier().refuse(0);
        assert!(fd.notifier().readable(), "WEDGED: the flag is up, nothing to read");
        at_rest(&event.pipe, &fd);
    }
    // Every hub there is works again, and none of them is haunted.
    let before = hubs(enter());
    for _ in 0..2 {
        let mut loops: Vec<_> = (0..=before).map(|_| Loop::new()).collect();
        for lp in &mut loops {
            assert!(!lp.readable(), "a fresh hub is readable");
            let event = if event.pipe.word().is_closed() {
                &world.other
            } else {
                event
            };
            serves(lp, event, &world.other);
        }
    }
    assert!(!all || hubs(enter()) == before + 1, "LEAK: a hub that nobody can reuse");
    assert_eq!(GATE.read(), 1);
}

/// The name of what went wrong is on stderr by then.
pub(super) fn in_a_fork(f: impl FnOnce()) -> bool {
    // SAFETY: the child uses nothing that another thread of this process may hold but the allocator's locks and stderr's, which
    // survive a fork here, and leaves without going back.
    unsafe {
        match libc::fork() {
            0 => {
                libc::alarm(5); // a child that hangs is a failure too
                libc::_exit(i32::from(catch_unwind(AssertUnwindSafe(f)).is_err()))
            }
            pid => {
                let mut status = 0;
                assert_eq!(libc::waitpid(pid, &raw mut status, 0), pid);
                status == 0
            }
        }
    }
}

/// `op` is what a thread of the parent is at when another one, that has done `between` meanwhile, forks.
fn forks(op: char, between: &str, states: &[String], how: &[Child]) -> usize {
    let mut cases = 0;
    for state in states {
        for &how in how {
            for step in 0.. {
                let mut world = World::new(state);
                let (this, done) = (&raw mut world, between.to_owned());
                let all = !done.contains('o') && op != 'o';
                let (forked, well) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(true)));
                let (set_forked, set_well) = (forked.clone(), well.clone());
                steps::interrupt_at(step, move || {
                    if steps::locked() {
                        return; // `prepare` would wait for it
                    }
                    // SAFETY: what is under way has no reference into the part that is touched here: it is another thread's.
                    let world = unsafe { &mut *this };
                    done.chars().for_each(|letter| world.act(letter));
                    set_forked.set(true);
                    handlers::prepare();
                    set_well.set(in_a_fork(|| child(world, how, all)));
                    handlers::parent();
                });
                world.act(op);
                let ran = steps::finish();
                let name = format!("{state}, {op} interrupted by {between:?} and {how:?} at step {step}");
                assert!(well.get(), "in the case {name}");
                cases += usize::from(forked.get());
                case(&name, || world.finish());
                if !ran {
                    break;
                }
            }
        }
    }
    cases
}

fn count(cases: impl IntoIterator<Item = usize>) {
    println!("{} cases", cases.into_iter().sum::<usize>());
}

#[test]
fn a_fork_at_every_step_of_another_thread() {
    let _alone = alone();
    let states = states();
    count("nRHcdxwkqoD".chars().map(|op| forks(op, "", &states, &[Child::Fork])));
}

/// Listeners leave their lists, and come back.
#[test]
fn a_fork_at_every_step_in_a_crowd() {
    let (_alone, _crowd) = (alone(), Crowd::new());
    let states = states();
    count("ncdwkqo".chars().map(|op| forks(op, "", &states, &[Child::Fork])));
    count(["d", "k", "wk", "o"].map(|between| forks('n', between, &states, &[Child::Fork])));
}

/// Three threads: one is stopped in `notify`, one has done something since, one forks.
#[test]
fn a_fork_after_another_thread_overtook_a_notify() {
    let _alone = alone();
    let states = states();
    count(["c", "d", "o", "q", "cn", "D"].map(|between| forks('n', between, &states, &[Child::Fork])));
}

#[test]
fn a_fork_whose_childs_tokens_are_refused() {
    let _alone = alone();
    count("nRc".chars().map(|op| forks(op, "", &states(), &[Child::Denied])));
}

/// Another thread is stopped wherever it holds the lock. `prepare` waits for it, so the child finds nothing half-made.
#[test]
fn a_fork_waits_for_whoever_holds_the_lock() {
    let _alone = alone();
    let mut cases = 0;
    for op in "xwqo".chars() {
        for step in 0.. {
            let (stopped, stops) = mpsc::channel();
            let (forked, is_forked) = mpsc::channel::<()>();
            let thread = thread::spawn(move || {
                let mut world = World::new("");
                steps::interrupt_at(step, move || {
                    let _ = stopped.send(steps::locked());
                    if steps::locked() {
                        let _ = is_forked.recv_timeout(Duration::from_millis(20)); // in vain, unless the fork does not wait
                    }
                });
                world.act(op);
                steps::finish();
            });
            let stopped = stops.recv();
            if stopped == Ok(true) {
                handlers::prepare();
                let well = in_a_fork(|| {
                    handlers::child();
                    let (mut lp, events) = (Loop::new(), [Event::new(enter()), Event::new(enter())]);
                    serves(&mut lp, &events[0], &events[1]);
                    drop(events[0].expose());
                });
                handlers::parent();
                assert!(well, "in the case {op} stopped at step {step}");
                cases += 1;
            }
            drop(forked);
            thread.join().unwrap();
            if stopped.is_err() {
                break;
            }
        }
    }
    println!("{cases} cases");
}
