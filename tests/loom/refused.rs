//! Writes that the operating system refuses: the event's own, and a hub's.

use super::{at_rest, enter, exposed, model, together};
use crate::{event::Event, event::self_pipe::Raised, event::wait_table::WaitTable, process::GATE};
use std::{cell::Cell, sync::atomic::Ordering::Relaxed};

/// Some of the writes are refused while two notify (and one clears).
fn own(bound: usize, refuse: usize, clears: bool) {
    model(bound, move || {
        let (pipe, fd) = exposed();
        fd.notifier().refuse(refuse);
        let (told, cleared) = (Cell::new(false), Cell::new(false));
        let notify = || {
            if pipe.notify().is_told() {
                told.set(true);
            }
        };
        if clears {
            together!(notify, notify, || cleared.set(pipe.clear().unwrap()));
        } else {
            together!(notify, notify);
        }
        assert!(
            !told.get() || cleared.get() || pipe.word().is_set(),
            "LOST: told coalesced, then rolled back"
        );
        let log = fd.notifier().log();
        let used = log.writes.load(Relaxed) as u64;
        assert!(
            used <= pipe.word().rises() + refuse as u64,
            "one write per rise, and one per refusal"
        );
        fd.notifier().refuse(0);
        if pipe.is_unsent() {
            assert!(
                matches!(pipe.notify(), Raised::Retried(Ok(()))),
                "the next one tries again"
            );
            assert!(fd.notifier().readable(), "LOST: allowed now, and nothing to read");
        }
        at_rest(&pipe, &fd);
    });
}

#[test]
fn a_refused_write_loses_nobody_who_was_told_coalesced() {
    own(5, 1, false);
}

#[test]
fn two_refused_writes() {
    own(5, 2, false);
}

#[test]
fn a_refused_write_and_a_clear() {
    own(3, 1, true);
}

#[test]
fn close_while_a_write_is_refused() {
    model(3, || {
        let (pipe, fd) = exposed();
        fd.notifier().refuse(2);
        let log = fd.notifier().log();
        drop(fd);
        together!(|| _ = pipe.notify(), || _ = pipe.notify(), || assert!(pipe.close()));
        assert_eq!((log.closes.load(Relaxed), GATE.read()), (1, 1));
    });
}

/// Two events with a waiter each on one hub, whose writes are refused. `e` and `f` say what is done to each event, by a
/// thread of its own: `n`otify or `c`lear.
fn hub(bound: usize, refuse: usize, e: &'static str, f: &'static str) {
    model(bound, move || {
        let mut hub = WaitTable::new(enter(), false).unwrap();
        let fd = hub.descriptor().unwrap();
        let events = [Event::new(enter()), Event::new(enter())];
        for (index, event) in events.iter().enumerate() {
            hub.wait(event, index);
        }
        fd.notifier().refuse(refuse);
        let act = |index: usize, program: &str| {
            for step in program.chars() {
                match step {
                    'n' => drop(events[index].notify()),
                    _ => drop(events[index].clear()),
                }
            }
        };
        together!(|| act(0, e), || act(1, f));
        fd.notifier().refuse(0);
        for event in [&events[0], &events[1]] {
            // Both rose while somebody waited. If the hub has not been told, one allowed notify of either will do it.
            event.notify().unwrap();
            assert!(
                fd.notifier().readable(),
                "STUCK: an allowed notify leaves the hub asleep"
            );
        }
        let mut released = Vec::new();
        hub.dispatch(&mut released);
        released.sort_unstable_by_key(|&(index, _)| index);
        assert_eq!(
            released.iter().map(|&(index, _)| index).collect::<Vec<_>>(),
            [0, 1],
            "LOST WAKE"
        );
        assert!(!fd.notifier().readable() && GATE.read() == 1, "the gate is open again");
    });
}

#[test]
fn a_refused_hub_is_told_by_the_next_notify() {
    hub(4, 1, "n", "n");
}

#[test]
fn a_hub_refused_twice() {
    hub(4, 2, "n", "n");
}

#[test]
fn a_refused_hub_and_a_cleared_event() {
    hub(3, 2, "ncn", "n");
}

#[test]
fn a_refused_hub_and_a_retry() {
    hub(3, 2, "nn", "nn");
}
