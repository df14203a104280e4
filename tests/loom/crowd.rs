//! Listeners that leave their event's list when nobody waits there any more, and come back.

use super::{Loop, enter, model, together};
use crate::{
    event::model::{Crowd, hubs},
    event::wait_table::Outcome,
    event::{Event, EventRef, Listener},
    sync::Population,
};
use std::sync::atomic::Ordering::Relaxed;

/// As if each event had many listeners already: none stays for nothing.
fn crowded(bound: impl Into<Option<usize>>, scenario: impl Fn() + Send + Sync + 'static) {
    let _crowd = Crowd::new();
    model(bound, scenario);
}

/// Three loops that wait, so that the first one's listener is the last of the list.
fn three(event: &EventRef) -> [Loop; 3] {
    [(); 3].map(|()| {
        let mut lp = Loop::new();
        lp.wait(event, 0);
        lp
    })
}

#[test]
fn a_notifier_passes_those_who_leave() {
    crowded(3, || {
        let event = Event::new(enter());
        let [mut last, mut between, mut first] = three(&event);
        together!(|| _ = event.notify(), || {
            drop(between.hub.close());
            drop(first.hub.close());
        });
        last.check();
        assert_eq!(last.outcome(0), Some(Outcome::Rose), "LOST WAKE");
    });
}

#[test]
fn a_notifier_passes_one_who_leaves_and_comes_back() {
    crowded(3, || {
        let event = Event::new(enter());
        let (mut stays, mut moves) = (Loop::new(), Loop::new());
        stays.wait(&event, 0);
        let ticket = moves.wait(&event, 1).unwrap();
        let mut late = None;
        together!(|| _ = event.notify(), || {
            moves.hub.cancel(ticket);
            moves.waits.clear();
            late = moves.wait(&event, 2);
        });
        stays.check();
        moves.check();
        assert_eq!(stays.outcome(0), Some(Outcome::Rose), "LOST WAKE");
        assert!(late.is_none() || moves.outcome(2).is_some(), "LOST WAKE");
        assert_eq!(event.listener_count(), 0, "LEAK: listeners");
    });
}

/// The notifier stands on an idle listener when that leaves, and comes back as another loop's, before one that is new.
#[test]
fn a_notifier_stands_on_one_that_changes_hands() {
    model(2, || {
        let event = Event::new(enter());
        let [mut stays, mut old, mut third, mut new] = [(); 4].map(|()| Loop::new());
        stays.wait(&event, 0);
        let ticket = old.wait(&event, 1).unwrap();
        old.hub.cancel(ticket);
        old.waits.clear();
        together!(|| _ = event.notify(), || {
            third.wait(&event, 2);
            old.hub.close();
            new.wait(&event, 3);
        });
        for lp in [&mut stays, &mut third, &mut new] {
            lp.check();
        }
        assert_eq!(stays.outcome(0), Some(Outcome::Rose), "LOST WAKE");
    });
}

/// The listener that a notifier has seen armed is another loop's by the time he takes it.
#[test]
fn an_old_notifier_meets_a_listener_that_has_changed_hands() {
    crowded(2, || {
        let event = Event::new(enter());
        let (mut old, mut new) = (Loop::new(), Loop::new());
        let ticket = old.wait(&event, 0).unwrap();
        together!(
            || _ = event.notify(),
            || {
                event.clear().unwrap();
                event.notify().unwrap();
            },
            || {
                old.hub.cancel(ticket);
                old.waits.clear();
                new.wait(&event, 1);
            }
        );
        old.check();
        new.check();
        assert_eq!(event.listener_count(), 0, "LEAK: listeners");
    });
}

/// A dispatch lets go of a listener while the event fires again; its task waits again at once.
#[test]
fn an_event_fires_again_while_its_listener_leaves() {
    crowded(4, || {
        let event = Event::new(enter());
        let mut lp = Loop::new();
        lp.wait(&event, 0);
        event.notify().unwrap();
        event.clear().unwrap();
        together!(|| _ = event.notify(), || {
            lp.dispatch();
            lp.wait(&event, 1);
        });
        lp.check();
        assert_eq!(event.listener_count(), 0, "LEAK: listeners");
    });
}

#[test]
fn an_event_goes_while_a_hub_closes() {
    model(None, || {
        let event = Event::new(enter());
        let mut lp = Loop::new();
        let ticket = lp.wait(&event, 0).unwrap();
        lp.waits.clear();
        lp.hub.cancel(ticket);
        together!(move || drop(event), || drop(lp.hub.close()));
        assert_eq!(Event::alive().load(Relaxed), 0, "LEAK: event");
        assert_eq!(Listener::alive().load(Relaxed), 0, "LEAK: listener");
        let before = hubs(enter());
        drop(Loop::new());
        assert_eq!(hubs(enter()), before, "LEAK: a hub that nobody can reuse");
    });
}

/// Whoever leaves, from whichever place, the others stay in the list.
#[test]
fn everybody_leaves_in_every_order() {
    crowded(None, || {
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let event = Event::new(enter());
            let mut loops = three(&event);
            for (gone, leaver) in order.into_iter().enumerate() {
                assert_eq!(event.listener_count(), 3 - gone, "LEAK: listeners");
                let lp = &mut loops[leaver];
                let ticket = lp.wait(&event, 1).unwrap();
                assert_eq!(event.listener_count(), 3 - gone, "TWO LISTENERS of one loop");
                lp.hub.cancel(ticket);
                lp.hub.close();
                lp.waits.clear();
                event.notify().unwrap();
                event.clear().unwrap();
                for &stays in &order[gone + 1..] {
                    loops[stays].rest();
                    assert_eq!(loops[stays].outcome(0), Some(Outcome::Rose), "LOST WAKE");
                    loops[stays].released.clear();
                    loops[stays].waits.clear();
                    loops[stays].wait(&event, 0);
                }
            }
            assert_eq!(event.listener_count(), 0, "LEAK: listeners");
        }
    });
}
