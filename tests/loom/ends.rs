//! The end of an event, and of a hub.

use super::{Loop, enter, model, together};
use crate::{
    event::model::hubs,
    event::wait_table::{Begun, Outcome},
    event::{Event, EventRef},
    sync::Population,
};
use std::sync::atomic::Ordering::Relaxed;

#[test]
fn close_releases_everybody_and_a_rise_before_it_wins() {
    model(2, || {
        let event = Event::new(enter());
        let mut lp = Loop::new();
        lp.wait(&event, 0);
        let mut rose = false;
        together!(|| rose = event.notify().unwrap(), || event.close().unwrap(), || {
            lp.wait(&event, 1);
            lp.dispatch();
        });
        lp.check();
        let wanted = if rose { Outcome::Rose } else { Outcome::Closed };
        assert_eq!(
            lp.outcome(0),
            Some(wanted),
            "CLOSE: a waiter is not told, or told wrong"
        );
        assert!(lp.hub.wait(&event, 2).is_closed() && lp.hub.iter().count() == 0);
    });
}

impl Begun {
    fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }
}

#[test]
fn close_while_a_waiter_arms() {
    model(None, || {
        let event = Event::new(enter());
        let mut lp = Loop::new();
        let mut waits = false;
        together!(|| event.close().unwrap(), || waits = lp.wait(&event, 0).is_some());
        lp.check();
        assert!(
            !waits || lp.outcome(0) == Some(Outcome::Closed),
            "CLOSE: a waiter is not told"
        );
    });
}

#[test]
fn close_while_a_dispatch_arms_for_those_who_stay() {
    model(None, || {
        let event = Event::new(enter());
        let mut lp = Loop::new();
        lp.wait(&event, 0);
        event.notify().unwrap();
        event.clear().unwrap();
        lp.wait(&event, 1);
        together!(|| event.close().unwrap(), || lp.dispatch());
        lp.check();
        assert_eq!(
            (lp.outcome(0), lp.outcome(1)),
            (Some(Outcome::Rose), Some(Outcome::Closed)),
            "CLOSE"
        );
    });
}

/// Waiter gone, handle gone: the reference that the stack holds is the last one.
#[test]
fn an_event_is_dropped_by_the_dispatch() {
    model(4, || {
        let event = Event::new(enter());
        let mut lp = Loop::new();
        let fd = event.expose().unwrap().unwrap();
        let log = fd.notifier().log();
        drop(fd);
        let ticket = lp.wait(&event, 0).unwrap();
        lp.waits.clear();
        let handle = event.clone();
        together!(move || drop(handle.notify()), || {
            let event = event; // moved in: dropped at the end
            lp.hub.cancel(ticket);
            drop(event);
        },);
        lp.rest();
        assert_eq!(Event::alive().load(Relaxed), 0, "LEAK: event");
        assert_eq!(log.closes.load(Relaxed), 1, "LEAK: descriptor");
        // The hub lives on.
        let event = Event::new(enter());
        lp.wait(&event, 1);
        event.notify().unwrap();
        lp.check();
    });
}

/// A hub closes while notifiers push on it; a new loop takes it from the pool (or a new one) and recycles the listener.
fn hub_closes(bound: usize, notify: fn(&EventRef), third: fn(&EventRef)) {
    model(bound, move || {
        let event = Event::new(enter());
        let mut old = Loop::new();
        old.wait(&event, 0);
        let log = old.hub.descriptor().unwrap().notifier().log();
        let mut new = None;
        let mut waits = false;
        together!(|| notify(&event), || third(&event), || {
            old.hub.close();
            let new = new.insert(Loop::new());
            waits = new.wait(&event, 1).is_some();
            new.dispatch();
        });
        drop(old);
        assert_eq!(log.closes.load(Relaxed), 1, "LEAK: descriptor");
        let mut new = new.unwrap();
        new.check();
        if !waits {
            event.clear().unwrap();
            assert!(new.wait(&event, 2).is_some());
            new.check();
        }
        // Nothing is stranded: all closed, the next two loops find a hub and the listeners again.
        drop(new);
        let mut last = Loop::new();
        last.wait(&event, 3);
        last.check();
        drop(last);
        assert!(event.listener_count() <= 2, "LEAK: listeners");
        assert_eq!(event.references(), 1, "LEAK: the event");
        let before = hubs(enter());
        let reused = (0..before).map(|_| Loop::new()).collect::<Vec<_>>();
        assert_eq!(hubs(enter()), before, "LEAK: a hub that nobody can reuse");
        drop(reused);
    });
}

#[test]
fn a_hub_closes_while_a_notifier_pushes() {
    hub_closes(3, |event| _ = event.notify(), |_| ());
}

#[test]
fn a_hub_closes_while_notified_and_cleared() {
    hub_closes(3, |event| _ = event.notify(), |event| _ = event.clear());
}

#[test]
fn a_hub_closes_between_two_rises() {
    let twice = |event: &EventRef| {
        for _ in 0..2 {
            event.notify().unwrap();
            event.clear().unwrap();
        }
    };
    hub_closes(2, twice, |_| ());
}

/// Two loops close and one opens at the same time: the lock, the pool and the list of listeners.
#[test]
fn two_hubs_change_hands() {
    model(3, || {
        let event = Event::new(enter());
        let (mut one, mut two) = (Loop::new(), None);
        one.wait(&event, 0);
        let mut waits = false;
        together!(|| _ = event.notify(), || drop(one.hub.close()), || {
            let two = two.insert(Loop::new());
            waits = two.wait(&event, 1).is_some();
        });
        let mut two = two.unwrap();
        two.check();
        assert!(!waits || two.outcome(1).is_some(), "LOST WAKE");
    });
}

/// The pair of a hub is dead: the dispatch that finds it replaces it, and loses nobody.
#[test]
fn a_hubs_dead_notifier_is_replaced() {
    model(3, || {
        let event = Event::new(enter());
        let mut lp = Loop::new();
        lp.wait(&event, 0);
        let fd = lp.hub.descriptor().unwrap();
        let log = fd.notifier().log();
        fd.notifier().die();
        drop(fd);
        together!(|| _ = event.notify(), || drop(lp.hub.dispatch(&mut lp.released)));
        assert!(!lp.readable() || log.closes.load(Relaxed) == 1);
        lp.check();
        assert_eq!(lp.outcome(0), Some(Outcome::Rose), "LOST WAKE");
        assert_eq!(log.closes.load(Relaxed), 1, "LEAK: the dead one was never closed");
    });
}

/// What a task that waited at the very end has left in its listener, the late notifier wipes.
#[test]
fn a_hub_closes_right_after_a_wait() {
    model(None, || {
        let event = Event::new(enter());
        let mut old = Loop::new();
        together!(|| _ = event.notify(), || {
            old.hub.wait(&event, 0);
            old.hub.close();
        });
        let mut new = Loop::new();
        event.clear().unwrap();
        assert!(new.wait(&event, 1).is_some());
        new.check();
        assert_eq!(event.listener_count(), 1, "LEAK: listeners");
    });
}
