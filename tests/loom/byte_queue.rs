//! Messages of bytes: none lost, torn, doubled or out of order; and nobody sleeps beside one.

use super::{enter, model, together};
use crate::ring::{Nothing, PushError, Ring};
use loom::thread::yield_now;
use std::sync::Arc;

/// Room for so many units of 8 bytes.
fn ring(units: usize) -> Arc<Ring> {
    Ring::new(enter(), units * 8, 8).unwrap_or_else(|why| panic!("{why:?}"))
}

fn push(ring: &Ring, message: &[u8]) -> Result<(), PushError> {
    // SAFETY: so many bytes are there.
    unsafe { ring.push(message.as_ptr(), message.len()) }
}

/// At most so many, as a consumer takes them.
fn take(ring: &Ring, most: usize) -> Vec<Vec<u8>> {
    let mut take = ring.take();
    let mut messages = Vec::new();
    while messages.len() < most
        && let Some(message) = take.next()
    {
        assert!(message.length <= 8, "TORN: a header of something else");
        let mut bytes = vec![0xee; message.length];
        // SAFETY: at the head, and there is room.
        unsafe { take.copy(message, bytes.as_mut_ptr()) };
        take.consume(message);
        messages.push(bytes);
    }
    take.end().unwrap();
    messages
}

/// Nobody is at work on it. What is left.
fn at_rest(ring: &Ring) -> Vec<Vec<u8>> {
    let up = ring.event.pipe.word().is_set();
    assert!(
        up || (ring.len() == 0 && !ring.is_shut()),
        "LOST WAKE: the event is down"
    );
    let left = ring.len();
    let messages = take(ring, 9);
    assert_eq!(messages.len(), left, "LOST: messages that nobody gets");
    assert_eq!(ring.len(), 0);
    assert_eq!(
        ring.event.pipe.word().is_set(),
        ring.is_shut(),
        "SPIN: up for nothing after a look"
    );
    messages
}

/// The same messages, in this order for each producer (the first byte).
fn are_those(mut messages: Vec<Vec<u8>>, all: &[&[u8]]) {
    messages.sort_by_key(|message| message.first().copied()); // stable
    assert_eq!(messages, all, "TORN, LOST, DOUBLED or OUT OF ORDER");
}

#[test]
fn two_producers_and_a_consumer() {
    model(2, || {
        let ring = ring(8);
        let mut got = Vec::new();
        together!(
            || push(&ring, b"1: one").unwrap(),
            || push(&ring, b"2").unwrap(),
            || got = take(&ring, 9),
        );
        got.extend(at_rest(&ring));
        are_those(got, &[b"1: one", b"2"]);
    });
}

#[test]
fn a_producer_and_a_consumer_that_looks_twice() {
    model(3, || {
        let ring = ring(8);
        let mut got = Vec::new();
        together!(
            || {
                push(&ring, b"1: one").unwrap();
                push(&ring, b"1: two").unwrap();
            },
            || {
                got = take(&ring, 1);
                got.extend(take(&ring, 9));
            },
        );
        got.extend(at_rest(&ring));
        are_those(got, &[b"1: one", b"1: two"]);
    });
}

#[test]
fn two_consumers() {
    model(2, || {
        let ring = ring(8);
        push(&ring, b"1: one").unwrap();
        let [mut first, mut second] = [Vec::new(), Vec::new()];
        together!(|| push(&ring, b"1: two").unwrap(), || first = take(&ring, 1), || {
            second = take(&ring, 1)
        },);
        first.extend(second);
        first.extend(at_rest(&ring));
        first.sort();
        are_those(first, &[b"1: one", b"1: two"]);
    });
}

/// What it writes to was read and zeroed before.
#[test]
fn full_and_then_there_is_room() {
    model(3, || {
        let ring = ring(2);
        push(&ring, b"1: first").unwrap();
        assert_eq!(push(&ring, b""), Err(PushError::Full));
        let mut got = Vec::new();
        together!(
            || while push(&ring, b"2").is_err() {
                yield_now();
            },
            || got = take(&ring, 9),
        );
        got.extend(at_rest(&ring));
        are_those(got, &[b"1: first", b"2"]);
    });
}

/// Of three, two find room after the first is gone.
#[test]
fn two_producers_race_for_the_room() {
    model(2, || {
        let ring = ring(2);
        push(&ring, b"1: first").unwrap();
        let mut got = Vec::new();
        let [mut second, mut third] = [Ok(()), Ok(())];
        together!(
            || second = push(&ring, b"2: it"),
            || third = push(&ring, b"3: it"),
            || got = take(&ring, 1),
        );
        got.extend(at_rest(&ring));
        let mut all: Vec<&[u8]> = vec![b"1: first"];
        assert!(second.is_err() || third.is_err(), "OVERFULL");
        if second.is_ok() {
            all.push(b"2: it");
        }
        if third.is_ok() {
            all.push(b"3: it");
        }
        are_those(got, &all);
        push(&ring, b"4: more").unwrap();
        are_those(at_rest(&ring), &[b"4: more"]);
    });
}

/// The first never has more than one in there before the second has his: whoever is told "full" was told of an old tail.
#[test]
fn nobody_is_told_full_who_has_room() {
    model(3, || {
        let ring = ring(2);
        let (mut pushed, mut got) = (1, Vec::new());
        together!(
            || {
                for _ in 0..2 {
                    pushed += usize::from(push(&ring, b"").is_ok());
                    got.extend(take(&ring, 1));
                }
            },
            || push(&ring, b"").expect("FULL, but there is room"),
        );
        got.extend(at_rest(&ring));
        are_those(got, &vec![&b""[..]; pushed]);
    });
}

/// Nor of an old head. (Here no fence comes between the head and the next reservation: something is left.)
#[test]
fn nobody_is_told_full_of_what_was_taken_before() {
    model(3, || {
        let ring = ring(3);
        push(&ring, b"").unwrap();
        push(&ring, b"").unwrap();
        let mut got = Vec::new();
        together!(
            || {
                got = take(&ring, 1);
                push(&ring, b"").unwrap();
            },
            || push(&ring, b"").expect("FULL, but there is room"),
        );
        got.extend(at_rest(&ring));
        are_those(got, &[b"", b"", b"", b""]);
    });
}

/// The bytes of one round stand where a header stands in the next.
#[test]
fn a_message_where_others_were() {
    model(3, || {
        let ring = ring(4);
        push(&ring, &[0xff; 8]).unwrap(); // 0 and 1
        push(&ring, b"").unwrap(); // 2
        assert_eq!(take(&ring, 9).len(), 2);
        push(&ring, &[0xff; 8]).unwrap(); // 3 and 0
        assert_eq!(take(&ring, 9).len(), 1);
        let mut got = Vec::new();
        together!(|| push(&ring, b"1").unwrap(), || got = take(&ring, 9));
        got.extend(at_rest(&ring));
        are_those(got, &[b"1"]);
    });
}

/// Native code that polls: what it lowers rises again.
#[test]
fn a_third_party_clears() {
    model(2, || {
        let ring = ring(8);
        let mut got = Vec::new();
        together!(|| push(&ring, b"1").unwrap(), || _ = ring.clear().unwrap(), || got =
            take(&ring, 1),);
        got.extend(at_rest(&ring));
        are_those(got, &[b"1"]);
    });
}

#[test]
fn a_third_party_clears_while_it_is_shut_down() {
    model(3, || {
        let ring = ring(8);
        together!(|| ring.shut(false).unwrap(), || _ = ring.clear().unwrap(), || drop(
            take(&ring, 1)
        ));
        at_rest(&ring);
    });
}

/// A message that was taken is delivered, and then it is over.
#[test]
fn a_push_while_it_is_shut_down() {
    model(2, || {
        let ring = ring(8);
        let (mut pushed, mut got, mut over) = (Ok(()), Vec::new(), false);
        together!(|| pushed = push(&ring, b"1"), || ring.shut(false).unwrap(), || {
            got = take(&ring, 1);
            over = ring.take().nothing() == Nothing::Ever;
        },);
        let left = at_rest(&ring);
        assert!(!over || left.is_empty(), "LOST: it was over");
        got.extend(left);
        let all: &[&[u8]] = if pushed.is_ok() { &[b"1"] } else { &[] };
        are_those(got, all);
        assert_eq!(ring.take().nothing(), Nothing::Ever);
        assert_eq!(push(&ring, b"2"), Err(PushError::Shut));
    });
}

#[test]
fn a_push_while_it_is_closed() {
    model(2, || {
        let ring = ring(2); // full, the tail is where the first message stands
        let mut got = Vec::new();
        together!(|| _ = push(&ring, b"1: it"), || ring.shut(true).unwrap(), || got =
            take(&ring, 1),);
        assert!(ring.event.pipe.word().is_set(), "LOST WAKE: the event is down");
        assert!(take(&ring, 1).is_empty() && got.len() <= 1);
        assert_eq!(ring.take().nothing(), Nothing::Ever);
        assert_eq!(ring.len(), 0);
    });
}
