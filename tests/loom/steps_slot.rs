//! A signal handler, or a fork, between any two atomic steps of what native code does with its argument.

use super::{
    Loop, enter,
    steps::{alone, case, in_a_fork, serves},
};
use crate::{
    event::model::resting,
    event::{Event, EventRef},
    fork::handlers,
    native::handle_table::{self, CallError},
    sync::{Population, steps},
};
use std::sync::atomic::Ordering::Relaxed;

/// An event with a handle; native code has a hold of its own.
struct Native {
    /// None: the slot has the last reference.
    event: Option<EventRef>,
    argument: usize,
    holds: usize,
    lp: Loop,
}

/// x: exposed. w: waited for. n: up. g: nobody has the event but its slot. q: the handle is closed.
const STATES: [&str; 14] = [
    "", "x", "w", "n", "xw", "xn", "g", "xg", "wg", "ng", "q", "xwq", "gq", "xwgq",
];

impl Native {
    fn new(state: &str) -> Self {
        let event = Event::new(enter());
        let argument = handle_table::open(enter(), &event, None).unwrap();
        handle_table::retain(argument).unwrap();
        let mut native = Self {
            event: Some(event),
            argument,
            holds: 2,
            lp: Loop::new(),
        };
        state.chars().for_each(|letter| native.act(letter));
        native
    }

    fn act(&mut self, letter: char) {
        match letter {
            'x' => drop(handle_table::with(self.argument, |event| event.expose())),
            'w' => {
                let lp = &mut self.lp;
                handle_table::with(self.argument, |event| _ = lp.wait(event, 0)).unwrap();
            }
            'n' => drop(handle_table::notify(self.argument)),
            'c' => drop(handle_table::with(self.argument, |event| event.clear())),
            'g' => self.event = None,
            'q' => {
                self.holds -= 1;
                handle_table::release(self.argument).unwrap();
            }
            'r' => {
                self.holds += 1;
                handle_table::retain(self.argument).unwrap();
            }
            _ => unreachable!(),
        }
    }

    /// Nobody is at work any more. Whoever waited has been told if the flag rose; then all is given back.
    fn finish(mut self, taken: usize, lost: usize) {
        self.holds -= taken;
        if self.holds > 0 {
            self.lp.check();
            handle_table::with(self.argument, |event| drop(event.clear())).unwrap();
            assert!(handle_table::notify(self.argument).unwrap(), "DEAF");
            for _ in 0..self.holds {
                handle_table::release(self.argument).unwrap();
            }
        }
        assert!(matches!(handle_table::notify(self.argument), Err(CallError::Stale)));
        assert!(matches!(handle_table::release(self.argument), Err(CallError::Stale)));
        self.lp.rest();
        drop(self);
        enter();
        let (slots, events) = (
            handle_table::model::in_use(enter()),
            Event::alive().load(Relaxed) - resting(enter()),
        );
        assert!(slots <= lost && events <= lost, "LEAK: {slots} slots, {events} events");
    }
}

#[test]
fn a_signal_handler_calls_at_every_step() {
    let _alone = alone();
    let mut cases = 0;
    for state in STATES {
        for op in "xncrq".chars() {
            for handler in ["n", "q", "nq"] {
                let taken = handler.matches('q').count();
                if taken > 0 && (state.contains('q') || op == 'q') {
                    continue; // what is under way needs a hold
                }
                for step in 0.. {
                    let mut native = Native::new(state);
                    let argument = native.argument;
                    steps::interrupt_at(step, move || {
                        for letter in handler.chars() {
                            match letter {
                                'n' => drop(handle_table::notify(argument)),
                                _ => handle_table::release(argument).unwrap(),
                            }
                        }
                    });
                    native.act(op);
                    let ran = steps::finish();
                    let name = format!("{state}, {op} interrupted by {handler} at step {step}");
                    case(&name, || native.finish(if ran { taken } else { 0 }, 0));
                    if !ran {
                        break;
                    }
                    cases += 1;
                }
            }
        }
    }
    println!("{cases} cases");
}

/// What another thread was at stays undone in the child. No call of its own fails or hangs, and it can give all back.
#[test]
fn a_fork_at_every_step_of_a_call() {
    let _alone = alone();
    let mut cases = 0;
    for state in STATES {
        // Upper case: a third thread has given back all holds meanwhile.
        for op in "xncrqXNC".chars() {
            for step in 0.. {
                let mut native = Native::new(state);
                let (argument, all) = (native.argument, op.is_ascii_uppercase());
                let this = &raw mut native;
                let well = std::rc::Rc::new(std::cell::Cell::new(true));
                let set_well = well.clone();
                steps::interrupt_at(step, move || {
                    if steps::locked() {
                        return; // `prepare` would wait for it
                    }
                    while all && handle_table::release(argument).is_ok() {}
                    handlers::prepare();
                    set_well.set(in_a_fork(|| {
                        handlers::child();
                        // SAFETY: the thread that is at work with it is not in the child.
                        let native = unsafe { this.read() };
                        if let Ok(()) = handle_table::retain(native.argument) {
                            drop(handle_table::notify(native.argument));
                            handle_table::with(native.argument, |event| assert!(event.clear().unwrap())).unwrap();
                            assert!(handle_table::notify(native.argument).unwrap());
                            while handle_table::release(native.argument).is_ok() {}
                        }
                        assert!(matches!(handle_table::notify(native.argument), Err(CallError::Stale)));
                        drop(native);
                        enter();
                        // The last one to let go may have stopped just before it buried the slot.
                        assert!(
                            handle_table::model::in_use(enter()) <= usize::from(op == 'q'),
                            "LEAK: slots"
                        );
                        let (mut lp, events) = (Loop::new(), [Event::new(enter()), Event::new(enter())]);
                        serves(&mut lp, &events[0], &events[1]);
                    }));
                    handlers::parent();
                });
                native.act(op.to_ascii_lowercase());
                let ran = steps::finish();
                let name = format!("{state}, {op} at step {step}");
                assert!(well.get(), "in the case {name}");
                let stale = handle_table::retain(argument).is_err();
                assert!(stale || handle_table::release(argument).is_ok());
                let taken = if stale { native.holds } else { 0 };
                case(&name, || native.finish(taken, 0));
                if !ran {
                    break;
                }
                cases += 1;
            }
        }
    }
    println!("{cases} cases");
}
