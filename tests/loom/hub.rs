//! Listeners and hubs: who waited is released, whoever comes in between.

use super::{Loop, enter, model, together};
use crate::{event::Event, event::wait_table::Outcome};
use loom::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

#[test]
fn a_waiter_arms_while_a_notifier_raises() {
    model(None, || {
        let (event, data) = (Event::new(enter()), AtomicUsize::new(0));
        let mut lp = Loop::new();
        let mut waits = false;
        together!(
            || {
                data.store(1, Relaxed);
                event.notify().unwrap();
            },
            || {
                waits = lp.wait(&event, 0).is_some();
                if !waits {
                    event.clear().unwrap();
                    assert_eq!(data.load(Relaxed), 1, "up, but what led to it is not to be seen");
                }
            }
        );
        lp.check();
        assert!(!waits || lp.outcome(0).is_some(), "LOST WAKE");
    });
}

#[test]
fn a_third_party_clears_at_once() {
    model(3, || {
        let event = Event::new(enter());
        let mut lp = Loop::new();
        lp.wait(&event, 0);
        together!(|| _ = event.notify(), || _ = event.clear(), || lp.dispatch());
        lp.check();
        assert_eq!(lp.outcome(0), Some(Outcome::Rose), "LOST WAKE");
    });
}

/// Rises follow each other while the listener is QUEUED or on its way back; new waiters come in between.
#[test]
fn a_late_waiter_while_its_listener_is_queued() {
    model(4, || {
        let event = Event::new(enter());
        let mut lp = Loop::new();
        lp.wait(&event, 0);
        together!(
            || {
                for _ in 0..2 {
                    event.notify().unwrap();
                    event.clear().unwrap();
                }
            },
            || {
                lp.wait(&event, 1);
                lp.dispatch();
                lp.wait(&event, 2);
            }
        );
        lp.check();
        assert!(lp.outcome(0).is_some(), "LOST WAKE");
    });
}

#[test]
fn two_notifiers_while_the_hub_rearms() {
    model(2, || {
        let event = Event::new(enter());
        let mut lp = Loop::new();
        lp.wait(&event, 0);
        together!(
            || _ = event.notify(),
            || {
                event.clear().unwrap();
                event.notify().unwrap();
            },
            || {
                lp.wait(&event, 1);
                lp.dispatch();
            }
        );
        lp.check();
        assert!(lp.outcome(0).is_some(), "LOST WAKE");
    });
}

/// A notifier stopped before its look at the listeners finds this one armed for somebody who came long after.
#[test]
fn an_old_notifier_meets_a_new_waiter() {
    model(2, || {
        let event = Event::new(enter());
        let mut lp = Loop::new();
        lp.wait(&event, 0);
        together!(
            || _ = event.notify(),
            || {
                event.clear().unwrap();
                event.notify().unwrap();
                event.clear().unwrap();
            },
            || {
                lp.dispatch();
                lp.wait(&event, 1);
            }
        );
        lp.check();
        assert!(lp.outcome(0).is_some(), "LOST WAKE");
    });
}

/// Two events fired; one fires again while the loop goes through them, and its task waits again at once.
#[test]
fn an_event_fires_again_during_its_dispatch() {
    model(4, || {
        let events = [Event::new(enter()), Event::new(enter())];
        let mut lp = Loop::new();
        for (index, event) in events.iter().enumerate() {
            lp.wait(event, index);
            event.notify().unwrap();
            event.clear().unwrap();
        }
        together!(|| drop(events[0].notify()), || {
            lp.dispatch();
            lp.wait(&events[0], 2);
            lp.wait(&events[1], 3);
        });
        lp.check();
        assert!(lp.outcome(0).is_some() && lp.outcome(1).is_some(), "LOST WAKE");
    });
}

/// Two waiters of one event, and a second event behind it in the stack: the first is armed again in mid-dispatch.
#[test]
fn a_listener_is_queued_again_before_the_rest_of_the_stack_is_read() {
    model(3, || {
        let events = [Event::new(enter()), Event::new(enter())];
        let mut lp = Loop::new();
        lp.wait(&events[0], 0);
        lp.wait(&events[1], 1);
        events[0].notify().unwrap();
        events[0].clear().unwrap();
        lp.wait(&events[0], 2); // stays when the first is released: so it is armed again in the dispatch
        events[1].notify().unwrap();
        events[1].clear().unwrap();
        together!(|| drop(events[0].notify()), || lp.dispatch());
        lp.check();
        for who in 0..3 {
            assert!(lp.outcome(who).is_some(), "LOST WAKE: {who}");
        }
    });
}

/// A listener is pushed while the hub takes its stack.
#[test]
fn a_second_event_fires_while_the_hub_dispatches() {
    model(None, || {
        let events = [Event::new(enter()), Event::new(enter())];
        let mut lp = Loop::new();
        lp.wait(&events[0], 0);
        lp.wait(&events[1], 1);
        events[0].notify().unwrap();
        together!(|| drop(events[1].notify()), || lp.dispatch());
        lp.check();
        assert!(
            lp.outcome(0).is_some() && lp.outcome(1).is_some(),
            "LOST WAKE: pushed, hub asleep"
        );
    });
}

#[test]
fn events_resume_in_the_order_in_which_they_fired() {
    model(4, || {
        let events = [Event::new(enter()), Event::new(enter()), Event::new(enter())];
        let mut lp = Loop::new();
        for (index, event) in events.iter().enumerate() {
            lp.wait(event, index);
        }
        together!(
            || {
                for event in &events {
                    event.notify().unwrap();
                }
            },
            || lp.dispatch()
        );
        lp.check();
        assert_eq!(
            lp.released.iter().map(|&(who, _)| who).collect::<Vec<_>>(),
            [0, 1, 2],
            "ORDER"
        );
    });
}

#[test]
fn two_notifiers_push_on_one_hub() {
    model(3, || {
        let events = [Event::new(enter()), Event::new(enter())];
        let mut lp = Loop::new();
        lp.wait(&events[0], 0);
        lp.wait(&events[1], 1);
        together!(|| drop(events[0].notify()), || drop(events[1].notify()), || lp
            .dispatch());
        lp.check();
        assert!(lp.outcome(0).is_some() && lp.outcome(1).is_some(), "LOST WAKE");
    });
}

#[test]
fn two_loops_wait_for_one_event() {
    model(3, || {
        let event = Event::new(enter());
        let (mut one, mut two) = (Loop::new(), Loop::new());
        one.wait(&event, 0);
        let mut waits = false;
        together!(
            || _ = event.notify(),
            || one.dispatch(),
            || waits = two.wait(&event, 1).is_some() // attaches while the notifier walks
        );
        one.check();
        two.check();
        assert!(one.outcome(0).is_some(), "LOST WAKE: one");
        assert!(!waits || two.outcome(1).is_some(), "LOST WAKE: two");
    });
}

/// An immediate return disarms; a cancel disarms; neither takes the wake-up of somebody who stays.
#[test]
fn a_cancel_races_with_a_notify() {
    model(4, || {
        let event = Event::new(enter());
        let mut lp = Loop::new();
        let tickets = [lp.wait(&event, 0), lp.wait(&event, 1)];
        together!(|| _ = event.notify(), || {
            lp.hub.cancel(tickets[0].unwrap());
            lp.waits.retain(|&(who, ..)| who != 0);
            lp.dispatch();
        });
        lp.check();
        assert_eq!(lp.outcome(1), Some(Outcome::Rose), "LOST WAKE");
    });
}

#[test]
fn the_last_waiter_cancels_and_another_comes() {
    model(4, || {
        let event = Event::new(enter());
        let mut lp = Loop::new();
        let ticket = lp.wait(&event, 0).unwrap();
        let mut late = None;
        together!(
            || {
                event.notify().unwrap();
                event.clear().unwrap();
                event.notify().unwrap();
            },
            || {
                lp.hub.cancel(ticket);
                lp.waits.clear();
                late = lp.wait(&event, 1);
            }
        );
        lp.check();
        assert!(
            late.is_none() || lp.outcome(1).is_some() || !event.pipe.word().is_set(),
            "LOST WAKE"
        );
    });
}
