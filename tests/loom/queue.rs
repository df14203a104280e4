//! A queue's waiting rule: nobody sleeps beside what he waits for.
//!
//! `src/queue.rs` is the shipped one; the mutex stands for the GIL. `Spot` and `Desk` do here what `src/python/steps.rs`
//! does with it, in the same order; a bell is the least that an event must be. Who sleeps for ever is a deadlock to loom.

use super::{model, together};
use crate::queue::{Number, Queue, Refusal, Side};
use loom::sync::{Condvar, Mutex};
use std::{collections::VecDeque, sync::Arc};

/// An event: a flag to sleep beside.
#[derive(Default)]
struct Bell {
    up: Mutex<bool>,
    rung: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.up.lock().unwrap() = true;
        self.rung.notify_all();
    }

    fn clear(&self) {
        *self.up.lock().unwrap() = false;
    }

    fn sleep(&self) {
        let mut up = self.up.lock().unwrap();
        while !*up {
            up = self.rung.wait(up).unwrap();
        }
    }
}

type Core = Queue<u32, Arc<Bell>>;

struct Spot {
    side: Side,
    number: Number,
    bell: Arc<Bell>,
    enlisted: bool,
    woken: bool,
}

impl Spot {
    fn is_back(&mut self, queue: &mut Core) {
        if std::mem::take(&mut self.enlisted) {
            self.bell.clear();
            self.woken |= queue.is_back(self.side, self.number);
        }
    }
}

struct Desk(Mutex<Core>);

impl Desk {
    fn new(maxsize: i64, items: &[u32]) -> Self {
        let mut queue = Core::new(maxsize, false);
        for &item in items {
            assert!(queue.put(item).is_ok());
        }
        Self(Mutex::new(queue))
    }

    fn with<R>(&self, act: impl FnOnce(&mut Core) -> R) -> R {
        act(&mut self.0.lock().unwrap())
    }

    /// `None`: enlisted, if there is a place.
    fn step<R>(
        &self,
        mut spot: Option<&mut Spot>,
        attempt: impl FnOnce(&mut Core) -> Result<(R, Option<Arc<Bell>>), Refusal>,
    ) -> Result<Option<R>, Refusal> {
        let result = self.with(|queue| {
            if let Some(spot) = spot.as_deref_mut() {
                spot.is_back(queue);
            }
            let result = attempt(queue);
            match (&result, spot) {
                (Ok(_), Some(spot)) => spot.woken = false,
                (Err(Refusal::NotNow), Some(spot)) => {
                    spot.enlisted = true;
                    spot.woken = false;
                    assert!(queue.enlist(spot.side, spot.number, spot.bell.clone()).is_ok());
                }
                _ => {}
            }
            result
        });
        match result {
            Ok((done, woken)) => {
                woken.into_iter().for_each(|bell| bell.ring()); // others may come in between
                Ok(Some(done))
            }
            Err(Refusal::NotNow) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    fn put_step(&self, spot: Option<&mut Spot>, item: u32) -> Result<Option<()>, Refusal> {
        self.step(spot, |queue| {
            queue.put(item).map(|woken| ((), woken)).map_err(|(refusal, back)| {
                assert_eq!(back, item);
                refusal
            })
        })
    }

    fn get_step(&self, spot: Option<&mut Spot>) -> Result<Option<u32>, Refusal> {
        self.step(spot, Core::get)
    }

    fn get_many_step(&self, spot: Option<&mut Spot>, most: usize) -> Result<Option<Vec<u32>>, Refusal> {
        let done = self.step(spot, |queue| {
            if queue.items().is_empty() {
                return Err(queue.nothing());
            }
            let mut items = Vec::new();
            let count = queue.get_many(most, |item| items.push(item));
            Ok(((items, count), None))
        })?;
        Ok(done.map(|(items, count)| {
            self.wake_many(Side::Put, count);
            items
        }))
    }

    fn wake_many(&self, side: Side, most: usize) {
        for _ in 0..most {
            let Some(bell) = self.with(|queue| queue.baton(side)) else {
                return;
            };
            bell.ring();
        }
    }

    fn enter(&self, side: Side) -> Spot {
        Spot {
            side,
            number: self.with(|queue| queue.number(side)),
            bell: Arc::default(),
            enlisted: false,
            woken: false,
        }
    }

    /// A getter who has looked, found nothing, and is in line.
    fn getter(&self) -> Spot {
        let mut spot = self.enter(Side::Get);
        assert_eq!(self.get_step(Some(&mut spot)), Ok(None));
        spot
    }

    /// A putter likewise.
    fn putter(&self, item: u32) -> Spot {
        let mut spot = self.enter(Side::Put);
        assert_eq!(self.put_step(Some(&mut spot), item), Ok(None));
        spot
    }

    fn leave(&self, mut spot: Spot) {
        let baton = self.with(|queue| {
            spot.is_back(queue);
            if spot.woken { queue.baton(spot.side) } else { None }
        });
        if let Some(bell) = baton {
            bell.ring();
        }
    }

    /// Sleeps first if he is in line.
    fn block<R>(
        &self,
        mut spot: Spot,
        mut attempt: impl FnMut(&mut Spot) -> Result<Option<R>, Refusal>,
    ) -> Result<R, Refusal> {
        let result = loop {
            if spot.enlisted {
                spot.bell.sleep();
            }
            match attempt(&mut spot) {
                Ok(None) => {}
                Ok(Some(done)) => break Ok(done),
                Err(refusal) => break Err(refusal),
            }
        };
        self.leave(spot);
        result
    }

    fn get(&self, spot: Spot) -> Result<u32, Refusal> {
        self.block(spot, |spot| self.get_step(Some(spot)))
    }

    fn put(&self, spot: Spot, item: u32) -> Result<(), Refusal> {
        self.block(spot, |spot| self.put_step(Some(spot), item))
    }

    fn put_now(&self, item: u32) {
        assert_eq!(self.put_step(None, item), Ok(Some(())));
    }

    /// Nobody is at work any more: what is left, and that nobody is in line.
    fn rest(self, left: &[u32]) {
        self.with(|queue| {
            assert_eq!(*queue.items(), left, "LOST ITEM, or one too many");
            assert_eq!([queue.waiting(Side::Get), queue.waiting(Side::Put)], [0, 0], "GHOST");
        });
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
        let desk = Desk::new(0, &[]);
        let mut got = [0; 2];
        let [first, second] = &mut got;
        together!(
            || *first = desk.get(desk.enter(Side::Get)).unwrap(),
            || *second = desk.get(desk.enter(Side::Get)).unwrap(),
            || desk.put_now(1),
            || desk.put_now(2),
        );
        assert_eq!(sorted(got), [1, 2], "LOST ITEM");
        desk.rest(&[]);
    });
}

#[test]
fn a_batch_wakes_as_many_getters_as_it_has_items() {
    model(3, || {
        let desk = Desk::new(0, &[]);
        let spots = [desk.getter(), desk.getter()];
        let [first, second] = spots;
        let mut got = [0; 2];
        let [one, two] = &mut got;
        together!(
            || *one = desk.get(first).unwrap(),
            || *two = desk.get(second).unwrap(),
            || {
                let mut items = VecDeque::from([1, 2]);
                let put = desk.step(None, |queue| queue.put_many(&mut items).map(|count| (count, None)));
                desk.wake_many(Side::Get, put.unwrap().unwrap());
            },
        );
        assert_eq!(sorted(got), [1, 2], "LOST ITEM");
        desk.rest(&[]);
    });
}

/// The first in line leaves, woken or not.
#[test]
fn a_getter_is_cancelled_when_it_is_woken() {
    model(None, || {
        let desk = Desk::new(0, &[]);
        let (first, second) = (desk.getter(), desk.getter());
        together!(|| desk.leave(first), || assert_eq!(desk.get(second), Ok(1)), || desk
            .put_now(1));
        desk.rest(&[]);
    });
}

/// The first in line leaves; a third one may be quicker than both, and gives back what he took.
#[test]
fn an_item_is_given_back() {
    model(2, || {
        let desk = Desk::new(0, &[]);
        let (first, second) = (desk.getter(), desk.getter());
        together!(
            || desk.leave(first),
            || assert_eq!(desk.get(second), Ok(1)),
            || desk.put_now(1),
            || if let Ok(Some(item)) = desk.get_step(None) {
                if let Ok(Some(bell)) = desk.with(|queue| queue.give_back(item)) {
                    bell.ring();
                }
            },
        );
        desk.rest(&[]);
    });
}

/// The second one in line never looks again: what comes after the quick one is for the first.
#[test]
fn a_woken_getter_that_lost_takes_its_old_place() {
    model(None, || {
        let desk = Desk::new(0, &[]);
        let (first, second) = (desk.getter(), desk.getter());
        let mut got = 0;
        together!(|| got = desk.get(first).unwrap(), || {
            desk.put_now(1);
            if desk.get_step(None) == Ok(Some(1)) {
                desk.put_now(2);
            }
        });
        assert!([1, 2].contains(&got));
        desk.leave(second);
        desk.rest(&[]);
    });
}

#[test]
fn getters_are_woken_in_order() {
    model(None, || {
        let desk = Desk::new(0, &[]);
        let (first, second) = (desk.getter(), desk.getter());
        together!(|| assert_eq!(desk.get(first), Ok(1)), || desk.put_now(1));
        assert!(!*second.bell.up.lock().unwrap(), "out of order");
        desk.leave(second);
        desk.rest(&[]);
    });
}

/// One takes all; the other finds nothing, and waits for the next.
#[test]
fn a_getter_takes_many() {
    model(2, || {
        let desk = Desk::new(0, &[]);
        let (many, one) = (desk.getter(), desk.getter());
        let mut got = Vec::new();
        together!(
            || got = desk.block(many, |spot| desk.get_many_step(Some(spot), 2)).unwrap(),
            || assert!(desk.get(one).is_ok()),
            || {
                desk.put_now(1);
                desk.put_now(2);
            },
            || desk.put_now(3),
        );
        let left = desk.with(|queue| queue.items().len());
        assert_eq!(got.len() + 1 + left, 3, "LOST ITEM");
    });
}

// ---------------------------------------------------------------------------------------------------------------------
// Putters

#[test]
fn two_putters_and_two_getters_with_room_for_one() {
    model(2, || {
        let desk = Desk::new(1, &[]);
        let mut got = [0; 2];
        let [first, second] = &mut got;
        together!(
            || desk.put(desk.enter(Side::Put), 1).unwrap(),
            || desk.put(desk.enter(Side::Put), 2).unwrap(),
            || *first = desk.get(desk.enter(Side::Get)).unwrap(),
            || *second = desk.get(desk.enter(Side::Get)).unwrap(),
        );
        assert_eq!(sorted(got), [1, 2], "LOST ITEM");
        desk.rest(&[]);
    });
}

#[test]
fn a_putter_is_cancelled_when_it_is_woken() {
    model(None, || {
        let desk = Desk::new(1, &[0]);
        let (first, second) = (desk.putter(1), desk.putter(2));
        together!(|| desk.leave(first), || desk.put(second, 2).unwrap(), || assert_eq!(
            desk.get_step(None),
            Ok(Some(0))
        ));
        desk.rest(&[2]);
    });
}

#[test]
fn a_woken_putter_that_lost_takes_its_old_place() {
    model(None, || {
        let desk = Desk::new(1, &[0]);
        let (first, second) = (desk.putter(1), desk.putter(2));
        together!(|| desk.put(first, 1).unwrap(), || {
            assert_eq!(desk.get_step(None), Ok(Some(0)));
            if desk.put_step(None, 3) == Ok(Some(())) {
                assert_eq!(desk.get_step(None), Ok(Some(3)));
            }
        });
        desk.leave(second);
        desk.rest(&[1]);
    });
}

#[test]
fn a_batch_makes_room_for_as_many_putters() {
    model(3, || {
        let desk = Desk::new(2, &[1, 2]);
        let (first, second) = (desk.putter(3), desk.putter(4));
        together!(
            || desk.put(first, 3).unwrap(),
            || desk.put(second, 4).unwrap(),
            || assert_eq!(desk.get_many_step(None, 2).map(|items| items.unwrap().len()), Ok(2)),
        );
        desk.with(|queue| assert_eq!(queue.items().len(), 2, "LOST ITEM"));
    });
}

#[test]
fn more_room_lets_putters_in() {
    model(3, || {
        let desk = Desk::new(1, &[0]);
        let (first, second) = (desk.putter(1), desk.putter(2));
        together!(|| desk.put(first, 1).unwrap(), || desk.put(second, 2).unwrap(), || {
            let room = desk.with(|queue| queue.set_maxsize(3));
            desk.wake_many(Side::Put, room);
        });
        desk.with(|queue| assert_eq!(queue.items().len(), 3, "LOST ITEM"));
    });
}

// ---------------------------------------------------------------------------------------------------------------------
// The end

#[test]
fn shutdown_releases_getters() {
    model(3, || {
        let desk = Desk::new(0, &[]);
        let first = desk.getter();
        together!(
            || assert_eq!(desk.get(first), Err(Refusal::Shut)),
            || assert_eq!(desk.get(desk.enter(Side::Get)), Err(Refusal::Shut)),
            || shut(&desk),
        );
        desk.rest(&[]);
    });
}

#[test]
fn shutdown_releases_putters() {
    model(3, || {
        let desk = Desk::new(1, &[0]);
        let first = desk.putter(1);
        together!(
            || assert_eq!(desk.put(first, 1), Err(Refusal::Shut)),
            || assert_eq!(desk.put(desk.enter(Side::Put), 2), Err(Refusal::Shut)),
            || shut(&desk),
        );
        desk.rest(&[0]);
    });
}

/// Two in line, and nobody but the shutdown to wake the second.
#[test]
fn shutdown_releases_all_in_line() {
    model(3, || {
        let desk = Desk::new(0, &[]);
        let (first, second) = (desk.getter(), desk.getter());
        together!(
            || assert_eq!(desk.get(first), Err(Refusal::Shut)),
            || assert_eq!(desk.get(second), Err(Refusal::Shut)),
            || shut(&desk),
        );
        desk.rest(&[]);
    });
}

/// What was in by then is delivered, and a getter who comes too late is told.
#[test]
fn a_put_races_with_the_shutdown() {
    model(3, || {
        let desk = Desk::new(0, &[]);
        let first = desk.getter();
        let (mut got, mut put) = (Err(Refusal::NotNow), Err(Refusal::NotNow));
        together!(|| got = desk.get(first), || put = desk.put_step(None, 1), || shut(
            &desk
        ));
        match put {
            Ok(_) => assert_eq!(got, Ok(1), "LOST ITEM"),
            Err(refusal) => assert_eq!([got, Err(refusal)], [Err(Refusal::Shut); 2]),
        }
        desk.rest(&[]);
    });
}

fn shut(desk: &Desk) {
    let (woken, gone) = desk.with(|queue| queue.shut(false));
    woken.into_iter().flatten().for_each(|(_, bell)| bell.ring());
    assert!(gone.is_empty());
}
