//! A signal handler, or a fork, between any two atomic steps of a push or a take.

use super::{
    enter,
    steps::{alone, case, in_a_fork},
};
use crate::{
    fork::handlers,
    ring::{Nothing, PushError, Ring},
    sync::steps,
};
use std::{cell::Cell, rc::Rc, sync::Arc};

const OPS: &str = "ptcsx";

fn push(ring: &Ring, message: &[u8]) -> Result<(), PushError> {
    // SAFETY: so many bytes are there.
    unsafe { ring.push(message.as_ptr(), message.len()) }
}

fn take(ring: &Ring, most: usize) -> Vec<Vec<u8>> {
    let mut take = ring.take();
    let mut messages = Vec::new();
    while messages.len() < most
        && let Some(message) = take.next()
    {
        let mut bytes = vec![0; message.length];
        // SAFETY: at the head, and there is room.
        unsafe { take.copy(message, bytes.as_mut_ptr()) };
        take.consume(message);
        messages.push(bytes);
    }
    take.end().unwrap();
    messages
}

/// With so many messages in it, and not at its beginning.
fn ring(messages: u8) -> Arc<Ring> {
    let ring = Ring::new(enter(), 64, 8).unwrap_or_else(|why| panic!("{why:?}"));
    push(&ring, b"").unwrap();
    take(&ring, 1);
    for n in 0..messages {
        push(&ring, &[n; 8]).unwrap();
    }
    ring
}

/// What a thread is at: it pushes, takes, clears, shuts the ring down, closes it.
fn act(ring: &Ring, op: char) -> Vec<Vec<u8>> {
    match op {
        'p' => drop(push(ring, b"mine")),
        't' => return take(ring, 2),
        'c' => drop(ring.clear()),
        's' => ring.shut(false).unwrap(),
        _ => ring.shut(true).unwrap(),
    }
    Vec::new()
}

#[test]
fn a_signal_handler_pushes_at_every_step() {
    let _alone = alone();
    let mut cases = 0;
    for messages in 0..=4 {
        for op in OPS.chars() {
            for step in 0.. {
                let ring = ring(messages);
                let pushed = Rc::new(Cell::new(None));
                steps::interrupt_at(step, {
                    let (ring, pushed) = (ring.clone(), pushed.clone());
                    move || pushed.set(Some(push(&ring, b"handler")))
                });
                let mut got = act(&ring, op);
                let ran = steps::finish();
                case(&format!("{messages}, {op} interrupted at step {step}"), || {
                    let up = ring.event.pipe.word().is_set();
                    assert!(up || (ring.len() == 0 && !ring.is_shut()), "LOST WAKE");
                    got.extend(take(&ring, 9));
                    assert_eq!(ring.len(), 0, "LOST");
                    let count = |what: &[u8]| got.iter().filter(|it| *it == what).count();
                    let taken = usize::from(pushed.get() == Some(Ok(())));
                    if op == 'x' {
                        assert!(count(b"handler") <= taken);
                    } else {
                        assert_eq!(count(b"handler"), taken, "LOST or DOUBLED");
                        assert!((0..messages).all(|n| count(&[n; 8]) == 1), "LOST, DOUBLED or TORN");
                    }
                    if !ring.is_shut() {
                        push(&ring, b"more").unwrap();
                        assert_eq!(take(&ring, 9), [b"more"]);
                    }
                });
                if !ran {
                    break;
                }
                cases += 1;
            }
        }
    }
    println!("{cases} cases");
}

/// The child's is empty and works, whatever another thread of the parent's was at.
#[test]
fn a_fork_at_every_step_of_a_push_or_a_take() {
    let _alone = alone();
    let mut cases = 0;
    for messages in 0..=4 {
        for op in OPS.chars() {
            for step in 0.. {
                let ring = ring(messages);
                let well = Rc::new(Cell::new(true));
                steps::interrupt_at(step, {
                    let (ring, well) = (ring.clone(), well.clone());
                    move || {
                        if steps::locked() {
                            return; // `prepare` would wait for it
                        }
                        handlers::prepare();
                        well.set(in_a_fork(|| {
                            handlers::child();
                            assert_eq!(ring.len(), 0);
                            assert_eq!(ring.event.pipe.word().is_set(), ring.is_shut());
                            assert!(take(&ring, 9).is_empty());
                            for lap in 0..9 {
                                if ring.is_shut() {
                                    assert_eq!(ring.take().nothing(), Nothing::Ever);
                                    break;
                                }
                                let message = [0xff - lap; 8];
                                for _ in 0..4 {
                                    push(&ring, &message).unwrap();
                                }
                                assert_eq!(push(&ring, b""), Err(PushError::Full));
                                assert_eq!(take(&ring, 9), [&message; 4]);
                                push(&ring, b"").unwrap();
                                assert_eq!(take(&ring, 9), [b""]);
                            }
                        }));
                        handlers::parent();
                    }
                });
                act(&ring, op);
                let ran = steps::finish();
                case(&format!("{messages}, fork at step {step} of {op}"), || {
                    assert!(well.get(), "the child has failed");
                });
                if !ran {
                    break;
                }
                cases += 1;
            }
        }
    }
    println!("{cases} cases");
}
