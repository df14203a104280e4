//! Threads that sleep until the first of several events. Asleep for ever is a deadlock.

use super::{at_rest, enter, model, together};
use crate::{
    event::model::thread_ends,
    event::self_pipe::SelfPipe,
    event::thread_wait::Wait,
    event::wait_table::{Begun, Outcome},
    event::{Event, EventRef},
    notifier::for_a_thread,
};
use loom::sync::atomic::AtomicUsize;
use std::{sync::atomic::Ordering::Relaxed, time::Instant};

fn begin(events: &[EventRef]) -> Result<Wait, Outcome> {
    match Wait::start(enter(), events.to_vec()).unwrap() {
        Begun::Up => Err(Outcome::Rose),
        Begun::Closed => Err(Outcome::Closed),
        Begun::Waiting(wait) => Ok(wait),
    }
}

/// Nothing of this thread's wait is left, whichever event ended it.
fn nobody_waits(events: &[EventRef]) {
    for event in events {
        assert_eq!(event.waiting.load(Relaxed), 0, "LEFT: somebody still waits");
        assert!(
            !event.wakes_a_thread(),
            "LEFT: a notify would wake a thread that does not wait"
        );
    }
}

fn wait(events: &[EventRef], deadline: Option<Instant>) -> Option<Outcome> {
    let outcome = match begin(events) {
        Ok(mut wait) => wait.sleep(deadline).unwrap(),
        Err(outcome) => Some(outcome),
    };
    nobody_waits(events);
    outcome
}

/// Waits, clears and looks, until it has seen a rise of each.
fn collect(events: &[EventRef; 2]) {
    let mut seen = [false; 2];
    while seen != [true; 2] {
        assert_eq!(wait(events, None), Some(Outcome::Rose));
        for (event, seen) in events.iter().zip(&mut seen) {
            *seen |= event.clear().unwrap();
        }
    }
    thread_ends();
}

#[test]
fn a_thread_waits_for_the_first_of_two_events() {
    model(2, || {
        let events = [Event::new(enter()), Event::new(enter())];
        together!(|| drop(events[0].notify()), || drop(events[1].notify()), || collect(
            &events
        ));
    });
}

/// A notifier that holds a lock lets go of it before it wakes a blocked thread, and tells the thread then.
#[test]
fn a_notifier_lets_go_of_its_lock_for_blocked_threads() {
    model(2, || {
        let events = [Event::new(enter())];
        together!(
            || {
                let risen = match events[0].unlocked() {
                    Some(mut unlocked) => unlocked.act(EventRef::raise_and_tell),
                    None => events[0].raise_and_tell(),
                };
                assert!(risen.unwrap());
            },
            || {
                assert_eq!(wait(&events, None), Some(Outcome::Rose));
                thread_ends();
            }
        );
    });
}

/// Both rise in either order, and the first one is lowered before the thread looks: it has risen all the same.
#[test]
fn a_third_party_clears_one_of_two_events() {
    for risen in 0..2 {
        model(2, move || {
            let events = [Event::new(enter()), Event::new(enter())];
            together!(
                || {
                    for index in [risen, 1 - risen] {
                        events[index].notify().unwrap();
                    }
                },
                || drop(events[risen].clear()),
                || {
                    assert_eq!(wait(&events, None), Some(Outcome::Rose));
                    thread_ends();
                }
            );
        });
    }
}

/// The second one is up: no wait for the first one has begun, and the next one is as good as any.
#[test]
fn one_of_two_events_is_up_already() {
    model(3, || {
        let events = [Event::new(enter()), Event::new(enter())];
        events[1].notify().unwrap();
        together!(|| _ = events[0].notify(), || {
            assert_eq!(wait(&events, None), Some(Outcome::Rose));
            assert_eq!(wait(&events[..1], None), Some(Outcome::Rose));
            thread_ends();
        });
    });
}

#[test]
fn one_of_two_events_is_closed() {
    model(2, || {
        let events = [Event::new(enter()), Event::new(enter())];
        together!(|| events[0].close().unwrap(), || drop(events[1].notify()), || {
            assert!(wait(&events, None).is_some());
            events[1].close().unwrap();
            assert_eq!(wait(&events, None), Some(Outcome::Closed));
            thread_ends();
        });
    });
}

/// Whose time is up has left nothing behind, and has lost nothing.
#[test]
fn a_wait_for_two_events_times_out() {
    model(3, || {
        let events = [Event::new(enter()), Event::new(enter())];
        let past = Instant::now();
        together!(|| _ = events[1].notify(), || {
            let outcome = wait(&events, Some(past));
            assert!(outcome.is_none_or(|outcome| outcome == Outcome::Rose));
            assert_eq!(wait(&events, None), Some(Outcome::Rose));
            thread_ends();
        });
    });
}

/// A signal handler of Python's waits in the middle of a wait, and its dispatch takes what the outer one waits for.
#[test]
fn a_wait_in_the_middle_of_a_wait() {
    model(2, || {
        let [outer, inner] = [[Event::new(enter())], [Event::new(enter())]];
        together!(|| drop(outer[0].notify()), || drop(inner[0].notify()), || {
            let mut waits = begin(&outer);
            assert_eq!(wait(&inner, None), Some(Outcome::Rose));
            if let Ok(waits) = &mut waits {
                outer[0].clear().unwrap();
                assert_eq!(waits.sleep(None).unwrap(), Some(Outcome::Rose));
            }
            drop(waits);
            nobody_waits(&outer);
            thread_ends();
        });
    });
}

/// The word alone: a token comes before the thread looks, while it falls asleep, or when it sleeps.
#[test]
fn a_token_comes_while_a_thread_falls_asleep() {
    model(4, || {
        let (pipe, data) = (SelfPipe::new(), AtomicUsize::new(0));
        pipe.expose(for_a_thread().unwrap()).unwrap();
        let word = pipe.hold().unwrap();
        together!(
            || {
                data.store(1, Relaxed);
                pipe.notify();
            },
            || {
                while !pipe.clear_readable().unwrap() {
                    word.notifier().wait(None).unwrap();
                }
                assert_eq!(data.load(Relaxed), 1, "woken, but what led to it is not to be seen");
            }
        );
        at_rest(&pipe, &word);
    });
}

/// Two tokens, each of which may be late, and a thread that takes what is there.
#[test]
fn two_tokens_on_a_threads_word() {
    model(2, || {
        let pipe = SelfPipe::new();
        pipe.expose(for_a_thread().unwrap()).unwrap();
        let word = pipe.hold().unwrap();
        let notify = || {
            pipe.notify();
        };
        together!(notify, notify, || {
            word.notifier().wait(None).unwrap();
            pipe.clear_readable().unwrap();
            pipe.clear_readable().unwrap();
        });
        at_rest(&pipe, &word);
    });
}

/// The thread ends with a wake-up on its way: the word is there until that has come.
#[test]
fn a_thread_ends_while_it_is_woken() {
    model(2, || {
        let pipe = SelfPipe::new();
        pipe.expose(for_a_thread().unwrap()).unwrap();
        let word = pipe.hold().unwrap();
        let log = word.notifier().log();
        let notify = || {
            pipe.notify();
        };
        together!(notify, notify, || {
            word.notifier().wait(None).unwrap();
            drop(word);
            pipe.retire();
        });
        assert_eq!(log.closes.load(Relaxed), 1, "LEAK: never closed");
    });
}
