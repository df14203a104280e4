//! What native code calls too late, or while another thread gives back what it calls.

use super::{Loop, enter, model, together};
use crate::{
    event::Event,
    event::model::{hubs, resting},
    native::handle_table::{self, CallError},
    sync::Population,
};
use std::{cell::Cell, sync::atomic::Ordering::Relaxed};

fn stale<T>(result: &Result<T, CallError>) -> bool {
    matches!(result, Err(CallError::Stale))
}

/// All holds were given back: the slot is free, once, and so is the event.
fn all_is_given_back() {
    enter();
    assert_eq!(
        handle_table::model::in_use(enter()),
        0,
        "LEAK: a slot, or TWICE: given back"
    );
    assert_eq!(
        Event::alive().swap(0, Relaxed),
        resting(enter()),
        "LEAK: an event that nobody can use again"
    );
}

/// Its event's memory is another event's by then, and that one is up: it must not be told "coalesced".
#[test]
fn a_late_call_finds_its_event_used_again() {
    model(4, || {
        let event = Event::new(enter());
        let argument = handle_table::open(enter(), &event, None).unwrap();
        let called = Cell::new(None);
        together!(|| called.set(Some(handle_table::notify(argument))), || {
            handle_table::release(argument).unwrap();
            drop(event);
            enter();
            let next = Event::new(enter());
            assert!(next.notify().unwrap(), "NOT MINE: raised by a call that is stale");
        });
        let called = called.take().unwrap();
        assert!(
            stale(&called) || matches!(called, Ok(true)),
            "LOST: told that it was up, {called:?}"
        );
        all_is_given_back();
    });
}

/// The same slot, with another event.
#[test]
fn a_late_call_finds_its_slot_used_again() {
    model(4, || {
        let [event, next] = [Event::new(enter()), Event::new(enter())];
        let argument = handle_table::open(enter(), &event, None).unwrap();
        let called = Cell::new(None);
        together!(|| called.set(Some(handle_table::notify(argument))), || {
            handle_table::release(argument).unwrap();
            enter();
            next.notify().unwrap();
            let again = handle_table::open(enter(), &next, None).unwrap();
            next.clear().unwrap();
            assert!(
                handle_table::notify(again).unwrap(),
                "NOT MINE: raised by a call that is stale"
            );
            handle_table::release(again).unwrap();
        });
        let called = called.take().unwrap();
        assert_eq!(
            event.clear().unwrap(),
            !stale(&called),
            "LOST, or done though stale: {called:?}"
        );
        assert!(!matches!(called, Ok(false)), "LOST: told that it was up");
        drop((event, next));
        all_is_given_back();
    });
}

/// Whoever waits is released if the call came in time, and what the call is at work on stays until it has left.
#[test]
fn a_handle_is_closed_in_the_middle_of_a_call() {
    model(3, || {
        let event = Event::new(enter());
        let argument = handle_table::open(enter(), &event, None).unwrap();
        let mut lp = Loop::new();
        let ticket = lp.wait(&event, 0).unwrap();
        lp.waits.clear();
        let called = Cell::new(None);
        together!(|| called.set(Some(handle_table::notify(argument))), || {
            let event = event; // moved in: dropped at the end
            handle_table::release(argument).unwrap();
            lp.dispatch();
            if lp.outcome(0).is_none() {
                lp.hub.cancel(ticket);
            }
            drop(event);
        });
        let called = called.take().unwrap();
        assert!(stale(&called) || matches!(called, Ok(true)), "{called:?}");
        lp.rest();
        drop(lp);
        all_is_given_back();
    });
}

/// The call finds a hub that closes, and lets go of its listener; then the event goes, and it has to find that done.
#[test]
fn a_loop_ends_and_a_handle_is_closed_in_the_middle_of_a_call() {
    model(2, || {
        let event = Event::new(enter());
        let argument = handle_table::open(enter(), &event, None).unwrap();
        let mut lp = Loop::new();
        lp.wait(&event, 0).unwrap();
        lp.waits.clear();
        drop(event);
        together!(|| drop(handle_table::notify(argument)), || drop(lp.hub.close()), || {
            handle_table::release(argument).unwrap();
            enter();
        });
        drop(lp);
        all_is_given_back();
        let before = hubs(enter());
        let (event, mut lp) = (Event::new(enter()), Loop::new());
        assert_eq!(hubs(enter()), before, "LEAK: a hub that nobody can reuse");
        lp.wait(&event, 1);
        event.notify().unwrap();
        lp.check();
        drop((event, lp));
        Event::alive().store(0, Relaxed);
    });
}

/// Two calls under way, and the last hold is given back: the last one to leave gives back the slot.
#[test]
fn two_calls_and_a_close() {
    model(3, || {
        let event = Event::new(enter());
        let argument = handle_table::open(enter(), &event, None).unwrap();
        let cleared = || handle_table::with(argument, |event| event.clear().unwrap());
        let raised = Cell::new(0);
        together!(
            || raised.set(usize::from(handle_table::notify(argument).is_ok_and(|rose| rose))),
            || drop(cleared()),
            || handle_table::release(argument).unwrap()
        );
        assert!(raised.get() == 1 || !event.clear().unwrap(), "done though stale");
        drop(event);
        all_is_given_back();
    });
}

/// Either it holds, and the argument is good until it lets go; or it came too late.
#[test]
fn a_retain_races_with_the_close() {
    model(None, || {
        let event = Event::new(enter());
        let argument = handle_table::open(enter(), &event, None).unwrap();
        drop(event);
        together!(
            || {
                if handle_table::retain(argument).is_ok() {
                    assert!(handle_table::notify(argument).unwrap(), "STALE though held");
                    handle_table::release(argument).unwrap();
                }
            },
            || handle_table::release(argument).unwrap()
        );
        assert!(stale(&handle_table::notify(argument)) && stale(&handle_table::release(argument)));
        all_is_given_back();
    });
}
