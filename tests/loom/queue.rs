//! A queue's waiting rule: no waiter sleeps beside an item that it waits for.
//!
//! The protocol is the shipped one, `src/queue` whole: the items, the lines, the attempts, the ringing, and what is
//! done about a bell that the system refuses. Here are only what it is used with: a mutex of loom's for the GIL, and
//! the least that an event must be. A waiter that sleeps for ever is a deadlock to loom.

use super::{model, together};
use crate::queue::{
    self, Obstacle, Side,
    attempt::{self, QueueCell, QueueEvent},
};
use loom::sync::{Condvar, Mutex};
use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// A flag to sleep beside.
#[derive(Clone, Debug, Default)]
struct Flag(Arc<(Mutex<bool>, Condvar)>);

impl Flag {
    fn set(&self, up: bool) {
        *self.0.0.lock().unwrap() = up;
        self.0.1.notify_all();
    }

    fn is_up(&self) -> bool {
        *self.0.0.lock().unwrap()
    }

    fn sleep(&self) {
        let mut up = self.0.0.lock().unwrap();
        while !*up {
            up = self.0.1.wait(up).unwrap();
        }
    }
}

impl QueueEvent for Flag {
    type Bell = Self;

    fn bell(&self) -> Self {
        self.clone()
    }

    fn lower(&self) {
        self.set(false);
    }

    fn show(&self, up: bool) -> io::Result<()> {
        self.set(up);
        Ok(())
    }
}

type QueueState = attempt::QueueState<u32, Flag>;
type Place = attempt::PlaceInLine<Flag>;

/// The cell of the models.
struct Guarded {
    state: Mutex<QueueState>,
    /// The thread that is in the cell. No step to loom.
    inside: std::sync::Mutex<Option<loom::thread::ThreadId>>,
    /// The number of bells that the system is going to refuse.
    refuses: AtomicUsize,
    reports: AtomicUsize,
}

impl QueueCell for Guarded {
    type Item = u32;
    type Event = Flag;

    fn with<R>(&self, act: impl FnOnce(&mut QueueState) -> R) -> R {
        let mut state = self.state.lock().unwrap();
        let inside = |thread| *self.inside.lock().unwrap_or_else(PoisonError::into_inner) = thread;
        inside(Some(loom::thread::current().id()));
        let result = act(&mut state);
        inside(None);
        result
    }

    fn notify(&self, bell: &Flag) -> io::Result<()> {
        let inside = *self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        assert_ne!(inside, Some(loom::thread::current().id()), "RUNG IN THE CELL");
        let refused = self.refuses.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        if refused.is_ok() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        bell.set(true);
        Ok(())
    }

    fn report(&self, _: io::Error) {
        self.reports.fetch_add(1, Relaxed);
    }
}

/// What the methods of Python's queue do with the protocol, without exceptions.
impl Guarded {
    fn new(maxsize: i64, items: &[u32]) -> Self {
        let mut state = QueueState::new(maxsize, false);
        for &item in items {
            assert!(state.queue.put(item).is_ok());
        }
        Self {
            state: Mutex::new(state),
            inside: std::sync::Mutex::new(None),
            refuses: AtomicUsize::new(0),
            reports: AtomicUsize::new(0),
        }
    }

    /// `None`: in line, if there is a place.
    fn try_put(&self, place: Option<&mut Place>, item: u32) -> Result<Option<()>, Obstacle> {
        let mut item = Some(item);
        let put = or_wait(self.attempt(place, |queue| queue.put_from(&mut item)));
        assert_eq!(item.is_some(), put != Ok(Some(())), "LOST ITEM");
        put
    }

    fn try_get(&self, place: Option<&mut Place>) -> Result<Option<u32>, Obstacle> {
        or_wait(self.attempt(place, |queue| queue.get().map(|(item, bell)| (item, bell.into()))))
    }

    fn try_get_many(&self, mut place: Option<&mut Place>, most: usize) -> Result<Option<Vec<u32>>, Obstacle> {
        loop {
            let count = self.with(|state| state.queue.items().len()).min(most);
            let mut items = Vec::new();
            let got = self.attempt(place.as_deref_mut(), |queue| {
                queue.get_many(count, |item| items.push(item))
            });
            if got != Err(Obstacle::Changed) {
                return Ok(or_wait(got)?.map(|()| items));
            }
        }
    }

    fn place(&self, side: Side) -> Place {
        self.enter(side, || Ok::<_, Obstacle>(Flag::default())).unwrap()
    }

    /// A getter that has looked, found nothing, and is in line.
    fn getter(&self) -> Place {
        let mut place = self.place(Side::Get);
        assert_eq!(self.try_get(Some(&mut place)), Ok(None));
        place
    }

    /// A putter likewise.
    fn putter(&self, item: u32) -> Place {
        let mut place = self.place(Side::Put);
        assert_eq!(self.try_put(Some(&mut place), item), Ok(None));
        place
    }

    fn served<R>(
        &self,
        place: Place,
        attempt: impl FnMut(Option<&mut Place>) -> Result<Option<R>, Obstacle>,
    ) -> Result<R, Obstacle> {
        let done = self.block(place, attempt, |event| {
            event.sleep();
            Ok(true)
        });
        done.map(Option::unwrap)
    }

    /// A getter that is in line: it sleeps first.
    fn get(&self, place: Place) -> Result<u32, Obstacle> {
        place.event().sleep();
        self.served(place, |place| self.try_get(place))
    }

    fn put(&self, place: Place, item: u32) -> Result<(), Obstacle> {
        place.event().sleep();
        self.served(place, |place| self.try_put(place, item))
    }

    /// A getter that has yet to look.
    fn come_and_get(&self) -> Result<u32, Obstacle> {
        self.served(self.place(Side::Get), |place| self.try_get(place))
    }

    fn come_and_put(&self, item: u32) -> Result<(), Obstacle> {
        self.served(self.place(Side::Put), |place| self.try_put(place, item))
    }

    /// As the fast methods do.
    fn put_now(&self, item: u32) {
        match self.with(|state| state.put_at_once(item)) {
            Ok(bell) => self.ring(bell.into()),
            Err(item) => assert_eq!(self.try_put(None, item), Ok(Some(()))),
        }
    }

    fn get_now(&self) -> Option<u32> {
        match self.with(QueueState::get_at_once) {
            Some((item, bell)) => {
                self.ring(bell.into());
                Some(item)
            }
            None => self.try_get(None).unwrap(),
        }
    }

    fn shut(&self) {
        assert!(self.change(|queue| queue.shut(false)).is_empty());
    }

    /// No thread is at work any more: the items that are left, and no place is in line.
    fn rest(self, left: &[u32]) {
        self.with(|state| {
            let queue = &state.queue;
            assert_eq!(*queue.items(), left, "LOST ITEM, or one too many");
            assert_eq!([queue.waiting(Side::Get), queue.waiting(Side::Put)], [0, 0], "GHOST");
        });
    }
}

fn or_wait<R>(attempted: Result<R, Obstacle>) -> Result<Option<R>, Obstacle> {
    match attempted {
        Err(Obstacle::NotNow) => Ok(None),
        done_or_failed => done_or_failed.map(Some),
    }
}

fn sorted<const N: usize>(mut items: [u32; N]) -> [u32; N] {
    items.sort_unstable();
    items
}

// ---------------------------------------------------------------------------------------------------------------------
// Getters

#[test]
fn two_getters_and_two_putters() {
    model(2, || {
        let queue = Guarded::new(0, &[]);
        let mut got = [0; 2];
        let [first, second] = &mut got;
        together!(
            || *first = queue.come_and_get().unwrap(),
            || *second = queue.come_and_get().unwrap(),
            || queue.put_now(1),
            || queue.put_now(2),
        );
        assert_eq!(sorted(got), [1, 2], "LOST ITEM");
        queue.rest(&[]);
    });
}

#[test]
fn a_batch_wakes_as_many_getters_as_it_has_items() {
    model(3, || {
        let queue = Guarded::new(0, &[]);
        let (first, second) = (queue.getter(), queue.getter());
        let mut got = [0; 2];
        let [one, two] = &mut got;
        together!(
            || *one = queue.get(first).unwrap(),
            || *two = queue.get(second).unwrap(),
            || {
                let mut items = VecDeque::from([1, 2]);
                assert_eq!(queue.attempt(None, |queue| queue.put_many(&mut items)), Ok(()));
            },
        );
        assert_eq!(sorted(got), [1, 2], "LOST ITEM");
        queue.rest(&[]);
    });
}

/// The first in line leaves, woken or not.
#[test]
fn a_getter_is_cancelled_when_it_is_woken() {
    model(3, || {
        let queue = Guarded::new(0, &[]);
        let (first, second) = (queue.getter(), queue.getter());
        together!(|| queue.leave(first), || assert_eq!(queue.get(second), Ok(1)), || queue
            .put_now(1));
        queue.rest(&[]);
    });
}

/// The first in line leaves; a third one may be quicker than both, and gives back what he took.
#[test]
fn an_item_is_given_back() {
    model(2, || {
        let queue = Guarded::new(0, &[]);
        let (first, second) = (queue.getter(), queue.getter());
        together!(
            || queue.leave(first),
            || assert_eq!(queue.get(second), Ok(1)),
            || queue.put_now(1),
            || if let Some(item) = queue.get_now() {
                queue.change(|queue| ((), queue.give_back(item).unwrap()));
            },
        );
        queue.rest(&[]);
    });
}

/// The second one in line never looks again: what comes after the quick one is for the first.
#[test]
fn a_woken_getter_that_lost_takes_its_old_place() {
    model(None, || {
        let queue = Guarded::new(0, &[]);
        let (first, second) = (queue.getter(), queue.getter());
        let mut got = 0;
        together!(|| got = queue.get(first).unwrap(), || {
            queue.put_now(1);
            if queue.get_now() == Some(1) {
                queue.put_now(2);
            }
        });
        assert!([1, 2].contains(&got));
        queue.leave(second);
        queue.rest(&[]);
    });
}

#[test]
fn getters_are_woken_in_order() {
    model(None, || {
        let queue = Guarded::new(0, &[]);
        let (first, second) = (queue.getter(), queue.getter());
        together!(|| assert_eq!(queue.get(first), Ok(1)), || queue.put_now(1));
        assert!(!second.event().is_up(), "out of order");
        queue.leave(second);
        queue.rest(&[]);
    });
}

/// One takes all; the other finds nothing, and waits for the next.
#[test]
fn a_getter_takes_many() {
    model(2, || {
        let queue = Guarded::new(0, &[]);
        let (many, one) = (queue.getter(), queue.getter());
        let mut got = Vec::new();
        together!(
            || {
                many.event().sleep();
                got = queue.served(many, |place| queue.try_get_many(place, 2)).unwrap();
            },
            || assert!(queue.get(one).is_ok()),
            || {
                queue.put_now(1);
                queue.put_now(2);
            },
            || queue.put_now(3),
        );
        let left = queue.with(|state| state.queue.items().len());
        assert_eq!(got.len() + 1 + left, 3, "LOST ITEM");
    });
}

// ---------------------------------------------------------------------------------------------------------------------
// Putters

#[test]
fn two_putters_and_two_getters_with_room_for_one() {
    model(2, || {
        let queue = Guarded::new(1, &[]);
        let mut got = [0; 2];
        let [first, second] = &mut got;
        together!(
            || queue.come_and_put(1).unwrap(),
            || queue.come_and_put(2).unwrap(),
            || *first = queue.come_and_get().unwrap(),
            || *second = queue.come_and_get().unwrap(),
        );
        assert_eq!(sorted(got), [1, 2], "LOST ITEM");
        queue.rest(&[]);
    });
}

#[test]
fn a_putter_is_cancelled_when_it_is_woken() {
    model(3, || {
        let queue = Guarded::new(1, &[0]);
        let (first, second) = (queue.putter(1), queue.putter(2));
        together!(|| queue.leave(first), || queue.put(second, 2).unwrap(), || assert_eq!(
            queue.get_now(),
            Some(0)
        ));
        queue.rest(&[2]);
    });
}

#[test]
fn a_woken_putter_that_lost_takes_its_old_place() {
    model(None, || {
        let queue = Guarded::new(1, &[0]);
        let (first, second) = (queue.putter(1), queue.putter(2));
        together!(|| queue.put(first, 1).unwrap(), || {
            assert_eq!(queue.get_now(), Some(0));
            if queue.try_put(None, 3) == Ok(Some(())) {
                assert_eq!(queue.get_now(), Some(3));
            }
        });
        queue.leave(second);
        queue.rest(&[1]);
    });
}

#[test]
fn a_batch_makes_room_for_as_many_putters() {
    model(3, || {
        let queue = Guarded::new(2, &[1, 2]);
        let (first, second) = (queue.putter(3), queue.putter(4));
        together!(
            || queue.put(first, 3).unwrap(),
            || queue.put(second, 4).unwrap(),
            || assert_eq!(queue.try_get_many(None, 2).map(|items| items.unwrap().len()), Ok(2)),
        );
        queue.with(|state| assert_eq!(state.queue.items().len(), 2, "LOST ITEM"));
    });
}

#[test]
fn more_room_lets_putters_in() {
    model(3, || {
        let queue = Guarded::new(1, &[0]);
        let (first, second) = (queue.putter(1), queue.putter(2));
        together!(
            || queue.put(first, 1).unwrap(),
            || queue.put(second, 2).unwrap(),
            || {
                queue.change(|queue| ((), queue.set_maxsize(3)));
            }
        );
        queue.with(|state| assert_eq!(state.queue.items().len(), 3, "LOST ITEM"));
    });
}

// ---------------------------------------------------------------------------------------------------------------------
// The end

#[test]
fn shutdown_releases_getters() {
    model(3, || {
        let queue = Guarded::new(0, &[]);
        let first = queue.getter();
        together!(
            || assert_eq!(queue.get(first), Err(Obstacle::Shut)),
            || assert_eq!(queue.come_and_get(), Err(Obstacle::Shut)),
            || queue.shut(),
        );
        queue.rest(&[]);
    });
}

#[test]
fn shutdown_releases_putters() {
    model(3, || {
        let queue = Guarded::new(1, &[0]);
        let first = queue.putter(1);
        together!(
            || assert_eq!(queue.put(first, 1), Err(Obstacle::Shut)),
            || assert_eq!(queue.come_and_put(2), Err(Obstacle::Shut)),
            || queue.shut(),
        );
        queue.rest(&[0]);
    });
}

/// Two in line, and nobody but the shutdown to wake the second.
#[test]
fn shutdown_releases_all_in_line() {
    model(3, || {
        let queue = Guarded::new(0, &[]);
        let (first, second) = (queue.getter(), queue.getter());
        together!(
            || assert_eq!(queue.get(first), Err(Obstacle::Shut)),
            || assert_eq!(queue.get(second), Err(Obstacle::Shut)),
            || queue.shut(),
        );
        queue.rest(&[]);
    });
}

/// The shutdown itself wakes each getter in line: the first one's loop is busy, and would pass a baton late.
#[test]
fn shutdown_releases_a_getter_behind_one_that_does_not_run() {
    model(3, || {
        let queue = Guarded::new(0, &[]);
        let (first, second) = (queue.getter(), queue.getter());
        together!(|| assert_eq!(queue.get(second), Err(Obstacle::Shut)), || queue.shut());
        queue.leave(first);
        queue.rest(&[]);
    });
}

/// The items that were put before the shutdown are delivered, and a getter that comes too late is told.
#[test]
fn a_put_races_with_the_shutdown() {
    model(3, || {
        let queue = Guarded::new(0, &[]);
        let first = queue.getter();
        let (mut got, mut put) = (Err(Obstacle::NotNow), Err(Obstacle::NotNow));
        together!(|| got = queue.get(first), || put = queue.try_put(None, 1), || queue
            .shut());
        match put {
            Ok(_) => assert_eq!(got, Ok(1), "LOST ITEM"),
            Err(refusal) => assert_eq!([got, Err(refusal)], [Err(Obstacle::Shut); 2]),
        }
        queue.rest(&[]);
    });
}

// ---------------------------------------------------------------------------------------------------------------------
// Refused wake-ups

/// The system refuses to wake the getter; the next operation of anybody does it.
#[test]
fn a_refused_bell_is_rung_by_the_next_operation() {
    model(3, || {
        let queue = Guarded::new(0, &[]);
        let getter = queue.getter();
        queue.refuses.store(1, Relaxed);
        together!(|| assert_eq!(queue.get(getter), Ok(1)), || {
            queue.put_now(1);
            queue.change(|queue| ((), queue.set_maxsize(0)));
        });
        assert_eq!(queue.reports.load(Relaxed), 1, "REPORT");
        queue.rest(&[]);
    });
}

/// The same where each operation takes the short way, as long as nothing is in trouble.
#[test]
fn a_refused_put_is_made_good_by_a_put() {
    model(3, || {
        let queue = Guarded::new(0, &[]);
        let getter = queue.getter();
        queue.refuses.store(1, Relaxed);
        together!(|| assert!(queue.get(getter).is_ok()), || {
            queue.put_now(1);
            queue.put_now(2);
        });
        assert_eq!(queue.with(|state| state.queue.items().len()), 1, "LOST ITEM");
    });
}

/// A thread puts twice, and the system refuses wake-ups; its next operation makes both good.
#[test]
fn two_refused_bells_are_rung_and_reported_once() {
    model(2, || {
        let queue = Guarded::new(0, &[]);
        let (first, second) = (queue.getter(), queue.getter());
        queue.refuses.store(2, Relaxed);
        let mut got = [0; 2];
        let [one, two] = &mut got;
        together!(
            || *one = queue.get(first).unwrap(),
            || *two = queue.get(second).unwrap(),
            || {
                queue.put_now(1);
                queue.put_now(2);
                queue.change(|queue| ((), queue.set_maxsize(0)));
            },
        );
        assert_eq!(sorted(got), [1, 2], "LOST ITEM");
        assert_eq!(queue.reports.load(Relaxed), 1, "REPORT");
        queue.rest(&[]);
    });
}

/// The one that leaves passes the baton, and the system refuses it.
#[test]
fn a_refused_baton_is_rung_by_the_next_operation() {
    model(3, || {
        let queue = Guarded::new(0, &[]);
        let (first, second) = (queue.getter(), queue.getter());
        queue.put_now(1); // wakes the first
        queue.refuses.store(1, Relaxed);
        together!(|| assert_eq!(queue.get(second), Ok(1)), || {
            queue.leave(first);
            queue.change(|queue| ((), queue.set_maxsize(0)));
        });
        queue.rest(&[]);
    });
}

// ---------------------------------------------------------------------------------------------------------------------
// Those who look, those who line up, and the events that show something of the queue

/// A woken getter that only looks is not served: it passes the baton as it leaves.
#[test]
fn a_getter_that_only_looks_passes_the_baton() {
    model(3, || {
        let queue = Guarded::new(0, &[]);
        let (looks, takes) = (queue.getter(), queue.getter());
        let look = |place: Option<&mut Place>| or_wait(queue.peek(place, |queue| queue.next().copied()));
        together!(
            || {
                looks.event().sleep();
                assert_eq!(queue.served(looks, look), Ok(1));
            },
            || assert_eq!(queue.get(takes), Ok(1)),
            || queue.put_now(1),
        );
    });
}

/// A task lines up without an attempt, as one does whose turn is over.
#[test]
fn a_getter_lines_up_before_its_first_attempt() {
    model(None, || {
        let queue = Guarded::new(0, &[]);
        together!(
            || {
                let mut place = queue.place(Side::Get);
                if queue.line_up(&mut place).unwrap() {
                    place.event().sleep();
                }
                assert_eq!(queue.served(place, |place| queue.try_get(place)), Ok(1));
            },
            || queue.put_now(1),
        );
        queue.rest(&[]);
    });
}

/// Two items have woken two getters. One that is served has used its wake-up: as it leaves, the third in line sleeps
/// on.
#[test]
fn a_served_getter_wakes_nobody() {
    model(3, || {
        let queue = Guarded::new(0, &[]);
        let (first, second, third) = (queue.getter(), queue.getter(), queue.getter());
        queue.put_now(1);
        queue.put_now(2);
        together!(|| assert!(queue.get(first).is_ok()), || assert!(
            queue.get(second).is_ok()
        ));
        assert!(!third.event().is_up(), "WOKEN FOR NOTHING");
        queue.leave(third);
        queue.rest(&[]);
    });
}

/// The time is up after the item has come: the getter looks once more, and takes it.
#[test]
fn the_last_moment_counts() {
    model(None, || {
        let queue = Guarded::new(0, &[]);
        let late = queue.place(Side::Get);
        let mut got = None;
        together!(|| {
            let sleep = |_: &Flag| {
                queue.put_now(1);
                Ok(false)
            };
            got = queue.block(late, |place| queue.try_get(place), sleep).unwrap();
        });
        assert_eq!(got, Some(1), "LAST MOMENT");
        queue.rest(&[]);
    });
}

/// The time is up in the moment in which the item comes: either the getter takes it, or it stays for the next.
#[test]
fn a_getters_time_is_up_when_it_is_woken() {
    model(3, || {
        let queue = Guarded::new(0, &[]);
        let (late, next) = (queue.getter(), queue.getter());
        let mut got = [None; 2];
        let [one, two] = &mut got;
        together!(
            || *one = queue
                .block(late, |place| queue.try_get(place), |_| Ok(false))
                .ok()
                .flatten(),
            || *two = queue.get(next).ok(),
            || {
                queue.put_now(1);
                queue.shut();
            },
        );
        assert_eq!(got.iter().flatten().count(), 1, "LOST ITEM");
        queue.rest(&[]);
    });
}

/// A late bell rings the next owner of an event for nothing: it finds the queue empty, and goes back to its place.
#[test]
fn an_event_is_used_again_while_its_bell_is_on_its_way() {
    model(3, || {
        let queue = Guarded::new(0, &[]);
        let first = queue.getter();
        let mut got = Err(Obstacle::NotNow);
        together!(
            || {
                queue.leave(first);
                got = queue.come_and_get(); // with the same event
            },
            || queue.put_now(1),
        );
        assert_eq!(got, Ok(1), "LOST ITEM");
        queue.rest(&[]);
    });
}

/// The event of the descriptor is up while there is something to get, whoever is at it.
#[test]
fn what_is_shown_is_the_last_word() {
    model(None, || {
        let queue = Guarded::new(0, &[]);
        let shown = |which| {
            queue
                .shown(which, || Ok::<_, Obstacle>(Flag::default()), Flag::clone)
                .unwrap()
        };
        let readable = shown(|state| &mut state.readable);
        let finished = shown(|state| &mut state.finished);
        let mut got = None;
        together!(|| got = queue.get_now(), || queue.put_now(1));
        assert_eq!(readable.is_up(), got.is_none(), "SHOWN: readable <=> something to get");
        assert!(!finished.is_up(), "SHOWN: finished <=> nothing is unfinished");
        assert_eq!(queue.change(|queue| (queue.done(), queue::Bells::None)), Ok(true));
        assert!(finished.is_up(), "SHOWN: finished <=> nothing is unfinished");
    });
}
