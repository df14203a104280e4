//! A portal's inbox: no accepted call is overlooked, and a closed portal rests when its last call has ended.
//!
//! The scheduler is the shipped one, `src/queue/inbox.rs` whole. Here are a mutex of loom's for the GIL, an event that
//! counts its rises, and a receiver that does what `src/python/portal/receiver.rs` does: it waits for a rise that it
//! has not seen, and runs a batch. A receiver that sleeps for ever is a deadlock to loom.

use super::{model, together};
use crate::queue::{
    Obstacle,
    inbox::{Batch, Calls, InboxCell},
};
use loom::sync::{Condvar, Mutex};
use std::{convert::Infallible, thread};

/// Whether the flag is up, and how often it has risen.
#[derive(Default)]
struct Flag {
    state: Mutex<(bool, usize)>,
    risen: Condvar,
}

impl Flag {
    fn rises(&self) -> usize {
        self.state.lock().unwrap().1
    }

    /// Sleeps until there is a rise after those that were seen.
    fn sleep(&self, seen: usize) {
        let mut state = self.state.lock().unwrap();
        while state.1 == seen {
            state = self.risen.wait(state).unwrap();
        }
    }
}

struct Guarded {
    calls: Mutex<Calls<u32>>,
    event: Flag,
    /// Whether a call may run the loop inside the loop: asyncio's receiver shares what is left, trio's need not.
    nests: bool,
    ran: Mutex<Vec<u32>>,
    /// Whether a batch has found the closed portal at rest.
    rested: Mutex<bool>,
}

impl InboxCell for Guarded {
    type Call = u32;

    fn with<R>(&self, act: impl FnOnce(&mut Calls<u32>) -> R) -> R {
        act(&mut self.calls.lock().unwrap())
    }

    fn notify(&self) {
        let mut state = self.event.state.lock().unwrap();
        if !state.0 {
            *state = (true, state.1 + 1);
            self.event.risen.notify_all();
        }
    }

    fn lower(&self) {
        self.event.state.lock().unwrap().0 = false;
    }
}

impl Guarded {
    fn new(nests: bool) -> Self {
        Self {
            calls: Mutex::new(Calls::new(thread::current().id())),
            event: Flag::default(),
            nests,
            ran: Mutex::default(),
            rested: Mutex::new(false),
        }
    }

    fn put(&self, call: u32) {
        assert_eq!(self.accept(call, false), Ok(()));
    }

    fn has_run(&self, call: u32) -> bool {
        self.ran.lock().unwrap().contains(&call)
    }

    /// One turn: runs what is there, and returns the rises that it has seen. Call 1 runs the loop inside the loop until
    /// call 2 has run.
    fn turn(&self) -> usize {
        let seen = self.event.rises(); // a rise from here on makes another turn
        let batch = self.batch(
            || Ok::<_, Infallible>(None::<()>),
            |call, last| {
                let mut asked = self.nests && self.must_share(last);
                while call == 1 && !self.has_run(2) {
                    if !std::mem::take(&mut asked) {
                        self.event.sleep(seen);
                    }
                    self.turn();
                }
                self.ran.lock().unwrap().push(call);
                Ok(())
            },
        );
        let Ok(Batch::Empty { at_rest, .. }) = batch else {
            panic!("nothing pauses here");
        };
        if at_rest {
            let quiet = self.with(|calls| calls.is_quiet());
            assert!(quiet, "RESTED while a call has not ended");
            *self.rested.lock().unwrap() = true;
        }
        seen
    }

    /// The loop: a turn for each rise until `enough`.
    fn run_until(&self, enough: impl Fn(&Self) -> bool) {
        let mut seen = 0;
        while !enough(self) {
            self.event.sleep(seen);
            seen = self.turn();
        }
    }
}

#[test]
fn two_threads_call_and_each_call_runs() {
    model(3, || {
        let inbox = Guarded::new(false);
        together!(
            || inbox.run_until(|inbox| inbox.has_run(3) && inbox.has_run(4)),
            || inbox.put(3),
            || inbox.put(4),
        );
        assert_eq!(inbox.ran.lock().unwrap().len(), 2, "TWICE");
    });
}

#[test]
fn calls_of_one_thread_run_in_their_order() {
    model(3, || {
        let inbox = Guarded::new(false);
        together!(|| inbox.run_until(|inbox| inbox.has_run(4)), || {
            inbox.put(3);
            inbox.put(4);
        });
        assert_eq!(*inbox.ran.lock().unwrap(), [3, 4], "out of order");
    });
}

/// The first call does not end before the second has run: a nested turn must go on with the second, whenever it comes.
#[test]
fn a_call_runs_the_loop_inside_the_loop() {
    model(3, || {
        let inbox = Guarded::new(true);
        together!(|| inbox.run_until(|inbox| inbox.has_run(1)), || inbox.put(1), || inbox
            .put(2),);
        assert_eq!(*inbox.ran.lock().unwrap(), [2, 1]);
    });
}

/// The portal is closed while a call runs the loop inside the loop: it is at rest only when that call has ended.
#[test]
fn a_closed_portal_rests_after_its_outer_call() {
    model(2, || {
        let inbox = Guarded::new(true);
        inbox.put(1);
        inbox.put(2);
        together!(|| inbox.run_until(|inbox| *inbox.rested.lock().unwrap()), || inbox
            .close());
        assert_eq!(*inbox.ran.lock().unwrap(), [2, 1]);
    });
}

/// Calls that were accepted run although the portal is closed at once; none is accepted later, but one that was before.
#[test]
fn a_portal_is_closed_while_a_thread_calls() {
    model(3, || {
        let inbox = Guarded::new(true);
        let mut accepted = Ok(());
        together!(
            || inbox.run_until(|inbox| *inbox.rested.lock().unwrap()),
            || accepted = inbox.accept(3, false),
            || inbox.close(),
        );
        match accepted {
            Ok(()) => assert!(inbox.has_run(3), "LOST CALL"),
            Err(refused) => assert_eq!(refused, (Obstacle::Shut, 3)),
        }
        assert_eq!(inbox.accept(4, false), Err((Obstacle::Shut, 4)));
        assert_eq!(
            inbox.accept(4, true),
            Ok(()),
            "a cancelled task is told also after close()"
        );
    });
}

/// The loop ends: each call has run, or is among those that never will, or its thread is told.
#[test]
fn the_loop_ends_while_threads_call() {
    model(3, || {
        let inbox = Guarded::new(false);
        let (mut one, mut two) = (Ok(()), Ok(()));
        let mut never = Vec::new();
        together!(
            || {
                inbox.turn();
                never.extend(inbox.with(Calls::end).expect("it ends once"));
            },
            || one = inbox.accept(3, false),
            || two = inbox.accept(4, true),
        );
        for (call, accepted) in [(3, one), (4, two)] {
            let ended = usize::from(inbox.has_run(call)) + usize::from(never.contains(&call));
            assert_eq!(ended, usize::from(accepted.is_ok()), "LOST CALL");
        }
        assert_eq!(inbox.with(Calls::end), None);
    });
}

/// A call that ends the loop's run leaves the others in, for the next run.
#[test]
fn a_call_raises_and_the_others_stay() {
    model(3, || {
        let inbox = Guarded::new(false);
        together!(
            || {
                while !inbox.has_run(3) {
                    inbox.event.sleep(0);
                    let raised = inbox.batch(
                        || Ok(None::<()>),
                        |call, _| {
                            inbox.ran.lock().unwrap().push(call);
                            Err(call)
                        },
                    );
                    assert!(
                        raised
                            != Ok(Batch::Empty {
                                at_rest: true,
                                dropped: false
                            })
                    );
                }
            },
            || inbox.put(3),
        );
        assert!(inbox.with(|calls| calls.is_quiet()), "BUSY for ever");
    });
}
