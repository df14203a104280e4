//! Those who are called back once per rise: each rise is followed by a call, none comes for nothing, and close is the end.

use super::{Loop, enter, model, together};
use crate::{
    event::model::hubs,
    event::wait_table::Outcome,
    event::{Event, EventRef},
    process::GATE,
};

/// What the adapters do (`python/wakefd/_watch.py`): a call, and before it the next wait, for what rises from here on.
struct Watch<'a> {
    lp: Loop,
    event: &'a EventRef,
    /// The generation that the last call, or the beginning, knew of.
    seen: u64,
    calls: u64,
    ended: u64,
}

const WATCH: usize = 77;

impl<'a> Watch<'a> {
    fn new(event: &'a EventRef) -> Self {
        let (lp, seen) = (Loop::new(), event.pipe.word().rises());
        Self {
            lp,
            event,
            seen,
            calls: 0,
            ended: 0,
        }
    }

    fn begin(mut self) -> Self {
        self.start();
        self
    }

    fn start(&mut self) {
        self.lp.hub.wait_after(self.event, None, WATCH).unwrap();
    }

    fn turn(&mut self) {
        self.lp.dispatch();
        while let Some(at) = self.lp.released.iter().position(|&(who, _)| who == WATCH) {
            assert_eq!(self.ended, 0, "AFTER THE END");
            if self.lp.released.remove(at).1 == Outcome::Closed {
                self.ended += 1;
                continue;
            }
            let seen = self.event.pipe.word().rises();
            self.lp.hub.wait_after(self.event, Some(seen), WATCH).unwrap();
            (self.seen, self.calls) = (seen, self.calls + 1);
        }
    }

    /// Turns until nothing is left to read; how often it has been called by then.
    fn rest(&mut self) -> u64 {
        for _ in 0..4 {
            if !self.lp.readable() {
                break;
            }
            self.turn();
        }
        assert!(!self.lp.readable(), "SPIN: the hub stays readable");
        let word = self.event.pipe.word();
        assert_eq!(self.ended, u64::from(word.is_closed()), "CLOSE: the watch is not told");
        assert!(self.calls <= word.rises(), "SPURIOUS call");
        self.calls
    }

    /// Nobody is at work any more: the last rise has been followed by a call, and so will be the next one.
    fn check(mut self) {
        let calls = self.rest();
        let rises = self.event.pipe.word().rises();
        assert!(
            calls == 0 || self.seen == rises,
            "LOST RISE: {} of {rises} seen",
            self.seen
        );
        if self.ended == 0 {
            self.event.clear().unwrap();
            self.event.notify().unwrap();
            assert_eq!(self.rest(), calls + 1, "DEAF: the next rise makes no call");
            self.lp.dispatch();
            assert!(self.lp.outcome(WATCH).is_none(), "SPURIOUS call by a turn for nothing");
        }
        self.lp.check();
    }
}

#[test]
fn a_watch_begins_while_a_notifier_raises() {
    model(None, || {
        let event = Event::new(enter());
        let mut watch = Watch::new(&event);
        together!(|| _ = event.notify(), || watch.start());
        assert_eq!(watch.rest(), 1, "LOST RISE: up, and no call");
        watch.check();
    });
}

/// A flag that is up counts; a third party may lower it as soon as the watch has begun.
#[test]
fn a_watch_begins_on_a_raised_event() {
    model(4, || {
        let event = Event::new(enter());
        event.notify().unwrap();
        let mut watch = Watch::new(&event);
        let mut cleared = false;
        let mut begun_after = false;
        together!(|| cleared = event.clear().unwrap(), || {
            begun_after = !event.pipe.word().is_set();
            watch.start();
            watch.turn();
        });
        assert!(cleared);
        let calls = watch.rest();
        assert!(!begun_after || calls == 0, "SPURIOUS call: it was down");
        watch.check();
    });
}

/// An event at rest, that rose and was cleared before anybody watched: nothing to tell.
#[test]
fn a_watch_begins_on_an_event_that_is_down() {
    model(None, || {
        let event = Event::new(enter());
        event.notify().unwrap();
        event.clear().unwrap();
        let mut watch = Watch::new(&event);
        let mut readable = false;
        together!(
            || {
                watch.start();
                readable = watch.lp.readable();
            },
            || drop(event.clear())
        );
        assert!(!readable, "SPURIOUS: woken for nothing");
        assert_eq!(watch.rest(), 0, "SPURIOUS call");
        watch.check();
    });
}

/// A rise that comes before the next wait is armed was told to nobody.
#[test]
fn an_event_rises_again_while_its_watch_is_called() {
    model(4, || {
        let event = Event::new(enter());
        let mut watch = Watch::new(&event).begin();
        event.notify().unwrap();
        together!(
            || {
                event.clear().unwrap();
                event.notify().unwrap();
            },
            || watch.turn()
        );
        assert!((1..=2).contains(&watch.rest()), "LOST RISE");
        watch.check();
    });
}

/// And a third party lowers the flag again before anybody looks.
#[test]
fn two_rises_and_a_clear_while_a_watch_is_called() {
    model(2, || {
        let event = Event::new(enter());
        let mut watch = Watch::new(&event).begin();
        event.notify().unwrap();
        together!(
            || {
                event.clear().unwrap();
                event.notify().unwrap();
            },
            || drop(event.clear()),
            || {
                watch.turn();
                watch.turn();
            }
        );
        watch.rest();
        watch.check();
    });
}

/// Two watch the same event on the same hub, and have seen different generations; a third one waits. What is fired for
/// one of them releases that one only, and takes no wake-up from the others.
#[test]
fn a_late_watch_beside_others_on_the_same_listener() {
    model(3, || {
        let event = Event::new(enter());
        event.notify().unwrap();
        event.clear().unwrap();
        let mut lp = Loop::new();
        lp.hub.wait_after(&event, Some(1), 0).unwrap();
        lp.wait(&event, 1);
        let mut early = false;
        together!(|| _ = event.notify(), || {
            lp.hub.wait_after(&event, Some(0), 2).unwrap();
            lp.dispatch();
            early = event.pipe.word().rises() == 1 && lp.released.iter().any(|&(who, _)| who != 2);
        });
        assert!(!early, "SPURIOUS release");
        lp.check();
        for who in 0..3 {
            assert_eq!(lp.outcome(who), Some(Outcome::Rose), "LOST WAKE: {who}");
        }
        assert_eq!(lp.released.len(), 3, "released twice");
    });
}

/// Fired for somebody who leaves before the dispatch: whoever comes then waits for a rise of his own.
#[test]
fn a_watch_is_taken_down_before_the_dispatch() {
    model(3, || {
        let event = Event::new(enter());
        event.notify().unwrap();
        event.clear().unwrap();
        let mut lp = Loop::new();
        together!(|| _ = event.notify(), || {
            let ticket = lp.hub.wait_after(&event, Some(0), 0).unwrap();
            assert_eq!(lp.hub.cancel(ticket), Some(0));
            lp.wait(&event, 1);
            lp.dispatch();
            lp.wait(&event, 2);
        });
        lp.check();
        assert_eq!(lp.outcome(0), None, "released after its cancel");
    });
}

#[test]
fn an_event_closes_while_a_watch_begins() {
    model(None, || {
        let event = Event::new(enter());
        let mut watch = Watch::new(&event);
        together!(|| event.close().unwrap(), || watch.start());
        assert_eq!(watch.rest(), 0, "SPURIOUS call");
        watch.check();
    });
}

#[test]
fn an_event_rises_and_closes_while_it_is_watched() {
    model(2, || {
        let event = Event::new(enter());
        let mut watch = Watch::new(&event).begin();
        let mut rose = false;
        together!(|| rose = event.notify().unwrap(), || event.close().unwrap(), || watch
            .turn());
        assert_eq!(watch.rest(), u64::from(rose), "CLOSE: the rise before it wins");
        watch.check();
    });
}

/// The watch waits again when the event is closed already, or just about to be.
#[test]
fn an_event_closes_while_its_watch_is_called() {
    model(None, || {
        let event = Event::new(enter());
        let mut watch = Watch::new(&event).begin();
        event.notify().unwrap();
        together!(|| event.close().unwrap(), || watch.turn());
        assert_eq!(watch.rest(), 1, "CLOSE: the rise before it wins");
        watch.check();
    });
}

/// The loop ends with what was fired in its stack, or in a notifier's hands.
#[test]
fn a_hub_closes_right_after_a_watch_began() {
    model(3, || {
        let event = Event::new(enter());
        event.notify().unwrap();
        event.clear().unwrap();
        let mut old = Loop::new();
        together!(|| _ = event.notify(), || {
            old.hub.wait_after(&event, Some(0), 0).unwrap();
            assert_eq!(old.hub.close(), [0]);
        });
        drop(old);
        event.clear().unwrap();
        Watch::new(&event).begin().check();
        assert!(event.listener_count() <= 1, "LEAK: listeners");
        assert_eq!(event.references(), 1, "LEAK: the event");
        assert_eq!(hubs(enter()), 1, "LEAK: a hub that nobody can reuse");
    });
}

/// The hub's token is refused while one waits there and a watch begins, on the same event or beside it.
fn refused(bound: usize, refuse: usize, same: bool) {
    model(bound, move || {
        let events = [Event::new(enter()), Event::new(enter())];
        let other = &events[usize::from(!same)];
        let mut watch = Watch::new(&events[0]);
        watch.lp.wait(other, 0);
        if !same {
            events[0].notify().unwrap();
        }
        let fd = watch.lp.hub.descriptor().unwrap();
        fd.notifier().refuse(refuse);
        let (mut told, mut begun) = (false, false);
        together!(|| told = other.notify().is_ok(), || begun =
            watch.lp.hub.wait_after(watch.event, None, WATCH).is_ok());
        fd.notifier().refuse(0);
        assert_eq!(
            watch.lp.hub.iter().count(),
            1 + usize::from(begun),
            "REFUSED: nobody waits"
        );
        if !told || !begun {
            other.notify().unwrap(); // whoever was refused tries again, as does the next one of any event
        }
        assert!(
            fd.notifier().readable(),
            "STUCK: an allowed notify leaves the hub asleep"
        );
        watch.turn();
        assert_eq!(watch.lp.outcome(0), Some(Outcome::Rose), "LOST WAKE");
        assert_eq!(watch.calls, u64::from(begun), "LOST RISE");
        assert!(!fd.notifier().readable() && GATE.read() == 1, "the gate is open again");
        if begun {
            watch.check();
        }
    });
}

#[test]
fn a_watch_begins_on_a_refused_hub() {
    refused(4, 1, false);
}

#[test]
fn a_watch_begins_while_its_event_is_refused() {
    refused(4, 2, true);
}

/// The notifier was refused, and has been told so. The hub sleeps over what is queued: who watches that event must not.
#[test]
fn a_watch_begins_on_what_a_refused_hub_sleeps_over() {
    model(3, || {
        let event = Event::new(enter());
        let mut watch = Watch::new(&event);
        watch.lp.wait(&event, 0);
        let fd = watch.lp.hub.descriptor().unwrap();
        fd.notifier().refuse(1);
        assert!(event.notify().is_err());
        let (mut up, mut readable) = (false, false);
        together!(
            || {
                watch.start();
                up = event.pipe.word().is_set(); // and so it was when the watch began
                readable = fd.notifier().readable();
            },
            || drop(event.clear())
        );
        assert!(
            !up || readable,
            "STUCK: nothing is refused any more, and the hub sleeps"
        );
        assert!(!up || watch.rest() == 1, "LOST RISE");
        event.clear().unwrap();
        event.notify().unwrap(); // if it was down, the one who was refused tries again
        watch.check();
    });
}
