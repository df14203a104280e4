//! An event's own descriptor, by the calls that users make: lazily made, found dead, closed.

use super::{enter, model, together};
use crate::{
    event::descriptor::Descriptor,
    event::{Event, EventRef},
};
use std::sync::atomic::Ordering::Relaxed;

/// Whoever polls a descriptor of an open event sees it readable while the flag is up.
fn at_rest(event: &EventRef, fd: &Descriptor) {
    assert_eq!(fd.notifier().log().closes.load(Relaxed), 0, "closed under its holder");
    super::at_rest(&event.pipe, fd);
}

#[test]
fn two_threads_ask_for_the_descriptor() {
    model(3, || {
        let event = Event::new(enter());
        let mut fds = [None, None];
        let [first, second] = &mut fds;
        together!(
            || *first = event.expose().unwrap(),
            || *second = event.expose().unwrap(),
            || _ = event.notify()
        );
        let [first, second] = fds.map(Option::unwrap);
        assert!(
            std::ptr::eq(first.notifier(), second.notifier()),
            "one event, one descriptor"
        );
        at_rest(&event, &first);
    });
}

#[test]
fn a_descriptor_is_asked_for_while_the_event_closes() {
    model(3, || {
        let event = Event::new(enter());
        let mut fd = None;
        together!(|| fd = event.expose().unwrap(), || event.close().unwrap(), || drop(
            event.notify()
        ));
        assert!(event.expose().unwrap().is_none() && event.pipe.hold().is_none());
        if let Some(fd) = fd {
            let log = fd.notifier().log();
            assert_eq!(log.closes.load(Relaxed), 0, "closed under its holder");
            drop(fd);
            assert_eq!(log.closes.load(Relaxed), 1, "LEAK: never closed");
        }
    });
}

/// `clear` gives a dead descriptor up; the next `expose` is a new one. Notifiers do not notice.
#[test]
fn a_dead_descriptor_is_given_up() {
    model(3, || {
        let event = Event::new(enter());
        let dead = event.expose().unwrap().unwrap();
        event.notify().unwrap();
        dead.notifier().die();
        let log = dead.notifier().log();
        drop(dead);
        let mut fd = None;
        together!(
            || {
                assert!(event.clear().is_err());
                fd = event.expose().unwrap();
            },
            || _ = event.notify()
        );
        assert_eq!(log.closes.load(Relaxed), 1, "LEAK: the dead one was never closed");
        assert!(event.pipe.word().is_set(), "LOST WAKE: flag down");
        at_rest(&event, &fd.unwrap());
    });
}

/// Two find it dead, and one of them has a new one already when the other acts: that one must stay.
#[test]
fn two_clears_find_the_same_dead_descriptor() {
    model(3, || {
        let event = Event::new(enter());
        let dead = event.expose().unwrap().unwrap();
        event.notify().unwrap();
        dead.notifier().die();
        let log = dead.notifier().log();
        drop(dead);
        let mut fd = None;
        together!(|| _ = event.clear(), || {
            drop(event.clear());
            fd = event.expose().unwrap();
        });
        assert_eq!(log.closes.load(Relaxed), 1, "LEAK: the dead one was never closed");
        drop(event.notify());
        let fd = fd.unwrap();
        assert!(
            fd.notifier().readable(),
            "LOST WAKE: notified, and whoever polls the new descriptor sees nothing"
        );
        at_rest(&event, &fd);
    });
}

/// Somebody takes hold of a descriptor that is being given up.
#[test]
fn a_dead_descriptor_is_asked_for() {
    model(4, || {
        let event = Event::new(enter());
        let dead = event.expose().unwrap().unwrap();
        event.notify().unwrap();
        dead.notifier().die();
        let log = dead.notifier().log();
        drop(dead);
        let mut fd = None;
        together!(|| _ = event.clear(), || fd = event.expose().unwrap());
        let fd = fd.unwrap();
        assert_eq!(fd.notifier().log().closes.load(Relaxed), 0, "closed under its holder");
        drop(fd);
        drop(event);
        assert_eq!(log.closes.load(Relaxed), 1, "LEAK: the dead one was never closed");
    });
}
