//! The one word: `notify`, `clear`, `expose`, and the notifier's end.

use super::{at_rest, exposed, model, run, together};
use crate::{
    event::self_pipe::{Raised, SelfPipe},
    notifier::Notifier,
};
use loom::sync::atomic::AtomicUsize;
use std::{cell::Cell, sync::atomic::Ordering::Relaxed};

/// Producers store lock-free data and notify; consumers clear and look.
fn produce_and_clear(bound: usize, producers: usize, consumers: usize, clears: usize, room: Option<u64>) {
    model(bound, move || {
        let (pipe, fd) = exposed();
        if let Some(room) = room {
            fd.notifier().room(room);
        }
        let data = AtomicUsize::new(0);
        let (seen, cleared) = (Cell::new(0), Cell::new(0));
        let produce = || {
            data.fetch_add(1, Relaxed);
            pipe.notify();
        };
        let consume = || {
            for _ in 0..clears {
                let was_up = pipe.clear().unwrap();
                cleared.set(cleared.get() + u64::from(was_up));
                let now = data.load(Relaxed);
                seen.set(seen.get().max(now));
            }
        };
        let mut actors: Vec<Box<dyn FnOnce() + '_>> = Vec::new();
        (0..producers).for_each(|_| actors.push(Box::new(produce)));
        (0..consumers).for_each(|_| actors.push(Box::new(consume)));
        run(actors);
        let word = pipe.word();
        if consumers == 1 && seen.get() < producers {
            assert!(
                word.is_set(),
                "LOST WAKE: {} of {producers} seen, flag down",
                seen.get()
            );
        }
        assert_eq!(
            cleared.get() + u64::from(word.is_set()),
            word.rises(),
            "each rise is cleared once"
        );
        assert_eq!(
            fd.notifier().log().writes.load(Relaxed) as u64,
            word.rises(),
            "one write per rise"
        );
        at_rest(&pipe, &fd);
    });
}

#[test]
fn two_producers_and_a_clear() {
    produce_and_clear(3, 2, 1, 1, None);
}

#[test]
fn a_producer_and_two_clears() {
    produce_and_clear(4, 1, 1, 2, None);
}

#[test]
fn a_producer_and_two_consumers() {
    produce_and_clear(3, 1, 2, 1, None);
}

#[test]
fn a_saturated_stream() {
    produce_and_clear(3, 2, 1, 2, Some(1));
}

/// Nobody has asked for a descriptor: data, flag and fences only.
#[test]
fn a_coalesced_producer_without_a_descriptor() {
    model(3, || {
        let (pipe, data) = (SelfPipe::new(), AtomicUsize::new(0));
        let mut seen = 0;
        let produce = || {
            data.fetch_add(1, Relaxed);
            pipe.notify();
        };
        together!(produce, produce, || {
            pipe.clear().unwrap();
            seen = data.load(Relaxed);
        });
        assert!(
            seen == 2 || pipe.word().is_set(),
            "LOST WAKE: {seen} of 2 seen, flag down"
        );
    });
}

/// The same by way of `is_coalescing`, which has a fence and a load of its own.
#[test]
fn a_coalesced_producer_on_the_fast_path() {
    model(None, || {
        let (pipe, data) = (SelfPipe::new(), AtomicUsize::new(0));
        pipe.notify();
        let mut seen = 0;
        together!(
            || {
                data.store(1, Relaxed);
                if !pipe.is_coalescing() {
                    pipe.notify();
                }
            },
            || {
                pipe.clear().unwrap();
                seen = data.load(Relaxed);
            }
        );
        assert!(seen == 1 || pipe.word().is_set(), "LOST WAKE: not seen, flag down");
    });
}

/// A third party has cleared, so ours finds nothing to do: it has promised as much as any other.
#[test]
fn a_clear_that_finds_nothing_still_orders() {
    model(3, || {
        let (pipe, data) = (SelfPipe::new(), AtomicUsize::new(0));
        pipe.notify();
        let (mut coalesced, mut cleared, mut seen) = (false, false, 0);
        together!(
            || drop(pipe.clear()),
            || {
                data.store(1, Relaxed);
                coalesced = matches!(pipe.notify(), Raised::Coalesced);
            },
            || {
                cleared = pipe.clear().unwrap();
                seen = data.load(Relaxed);
            }
        );
        assert!(
            !coalesced || cleared || seen == 1,
            "LOST WAKE: coalesced before the flag fell, and not seen after it"
        );
    });
}

fn expose_while_notified(bound: Option<usize>, refuse: usize, clears: bool) {
    model(bound, move || {
        let pipe = SelfPipe::new();
        let notify = || {
            pipe.notify();
        };
        let expose = || {
            let notifier = Notifier::new().unwrap();
            notifier.refuse(refuse);
            assert!(pipe.expose(notifier).is_ok() || refuse > 0);
        };
        if clears {
            together!(notify, expose, || drop(pipe.clear()));
        } else {
            together!(notify, expose);
        }
        let fd = pipe.hold().unwrap();
        fd.notifier().refuse(0);
        at_rest(&pipe, &fd);
    });
}

#[test]
fn expose_while_a_notify_is_in_flight() {
    expose_while_notified(None, 0, false);
}

#[test]
fn expose_while_notified_and_cleared() {
    expose_while_notified(Some(3), 0, true);
}

#[test]
fn expose_whose_token_is_refused() {
    expose_while_notified(Some(3), 1, true);
}

/// A notifier closes with the last of those who use it: after all their work, once.
#[test]
fn close_while_notified() {
    model(3, || {
        let (pipe, fd) = exposed();
        let log = fd.notifier().log();
        drop(fd);
        let notify = || {
            pipe.notify();
        };
        together!(notify, notify, || assert!(pipe.close()));
        assert_eq!(log.closes.load(Relaxed), 1, "LEAK: never closed");
        assert!(matches!(pipe.notify(), Raised::Closed) && !pipe.close() && !pipe.clear().unwrap());
    });
}

#[test]
fn close_while_cleared() {
    model(3, || {
        let (pipe, fd) = exposed();
        pipe.notify();
        let log = fd.notifier().log();
        drop(fd);
        together!(
            || drop(pipe.clear()),
            || {
                pipe.notify();
            },
            || assert!(pipe.close())
        );
        assert_eq!(log.closes.load(Relaxed), 1, "LEAK: never closed");
    });
}

/// Two closers: one of them did it.
#[test]
fn close_twice_at_once() {
    model(3, || {
        let (pipe, fd) = exposed();
        let (log, done) = (fd.notifier().log(), Cell::new(0));
        drop(fd);
        let close = || {
            let closed = pipe.close();
            done.set(done.get() + u32::from(closed));
        };
        together!(close, close, || {
            pipe.notify();
        });
        assert_eq!((done.get(), log.closes.load(Relaxed)), (1, 1));
    });
}

/// Whoever holds a `Descriptor` may poll it: it is open until the last one is gone, even after `close`.
#[test]
fn a_descriptor_outlives_its_event() {
    model(3, || {
        let (pipe, fd) = exposed();
        let log = fd.notifier().log();
        let other = fd.clone();
        let poll = |fd: crate::Descriptor| {
            assert_eq!(fd.notifier().log().closes.load(Relaxed), 0, "closed under its holder");
            drop(fd);
        };
        together!(|| poll(fd), || poll(other), || assert!(pipe.close()), || {
            pipe.notify();
        });
        assert_eq!(log.closes.load(Relaxed), 1, "LEAK: never closed");
    });
}

/// The dead pair of a hub: retired and replaced while notifiers are at work on it.
#[test]
fn a_dead_notifier_is_replaced() {
    model(3, || {
        let (pipe, fd) = exposed();
        let log = fd.notifier().log();
        fd.notifier().die();
        drop(fd);
        let notify = || {
            pipe.notify();
        };
        together!(notify, notify, || {
            pipe.retire();
            pipe.expose(Notifier::new().unwrap()).unwrap();
        });
        assert_eq!(log.closes.load(Relaxed), 1, "LEAK: the dead one was never closed");
        assert!(pipe.word().is_set());
        at_rest(&pipe, &pipe.hold().unwrap());
    });
}

/// No room for one more user: whoever comes waits until somebody leaves. One too many, and there would seem to be none.
fn crowded(comes: fn(&SelfPipe)) {
    const FULL: u64 = 0xfff;
    model(2, move || {
        let (pipe, fd) = exposed();
        let log = fd.notifier().log();
        drop(fd);
        pipe.notify();
        pipe.clear().unwrap();
        pipe.crowd(FULL, 0);
        together!(|| comes(&pipe), || pipe.disperse(1), || assert!(pipe.close()));
        assert_eq!(log.closes.load(Relaxed), 0, "closed under its users");
        assert!(pipe.word().owed() <= 1, "OVERFLOW");
        pipe.disperse(FULL - 1);
        assert_eq!(log.closes.load(Relaxed), 1, "LEAK: never closed");
    });
}

#[test]
fn a_notify_comes_to_a_crowded_pipe() {
    crowded(|pipe| _ = pipe.notify());
}

#[test]
fn a_clear_comes_to_a_crowded_pipe() {
    crowded(|pipe| {
        pipe.crowd(0, 1); // so that there is something to take
        drop(pipe.clear());
    });
}

/// Somebody reads the descriptor himself, and has done so for long: what is owed stops at its maximum.
#[test]
fn more_is_owed_than_can_be_counted() {
    const FULL: u64 = 0x3fff;
    model(3, || {
        let (pipe, fd) = exposed();
        pipe.crowd(0, FULL - 1);
        let rose = Cell::new(0);
        let notify = || {
            if matches!(pipe.notify(), Raised::Rose(Ok(()))) {
                rose.set(rose.get() + 1);
            }
        };
        let steal = || {
            let _ = fd.notifier().drain();
            let _ = pipe.clear();
        };
        together!(notify, notify, steal);
        let _ = fd.notifier().drain();
        let _ = pipe.clear();
        for _ in 0..3 {
            notify();
            let word = pipe.word();
            assert!(word.is_set() && fd.notifier().readable(), "LOST WAKE");
            assert_eq!(word.rises(), rose.get(), "OVERFLOW: into RISES");
            assert!(word.owed() + 3 > FULL, "OVERFLOW");
            let _ = fd.notifier().drain();
            assert!(pipe.clear().unwrap());
        }
    });
}
