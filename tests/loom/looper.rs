//! One loop, and what it is promised.

use super::enter;
use crate::{
    event::EventRef,
    event::wait_table::{Begun, Outcome, WaitKey, WaitTable},
};

/// A loop: a hub and what became of those who waited there.
pub(super) struct Loop {
    pub(super) hub: WaitTable<usize>,
    /// Who waits for what, and the generations before and after its wait began.
    pub(super) waits: Vec<(usize, EventRef, [u64; 2])>,
    pub(super) released: Vec<(usize, Outcome)>,
}

impl Loop {
    pub(super) fn new() -> Self {
        Self {
            hub: WaitTable::new(enter(), false).unwrap(),
            waits: Vec::new(),
            released: Vec::new(),
        }
    }

    /// None: no need to wait.
    pub(super) fn wait(&mut self, event: &EventRef, who: usize) -> Option<WaitKey> {
        let before = event.pipe.word().rises();
        match self.hub.wait(event, who) {
            Begun::Up | Begun::Closed => None,
            Begun::Waiting(ticket) => {
                self.waits
                    .push((who, event.clone(), [before, event.pipe.word().rises()]));
                Some(ticket)
            }
        }
    }

    pub(super) fn readable(&self) -> bool {
        self.hub.descriptor().unwrap().notifier().readable()
    }

    /// One turn, readable or not: a spurious one must do no harm.
    pub(super) fn dispatch(&mut self) {
        self.hub.dispatch(&mut self.released);
    }

    /// Turns until nothing is left to read.
    pub(super) fn rest(&mut self) {
        for _ in 0..3 {
            if !self.readable() {
                return;
            }
            self.dispatch();
        }
        assert!(!self.readable(), "SPIN: the hub stays readable");
    }

    pub(super) fn outcome(&self, who: usize) -> Option<Outcome> {
        self.released.iter().find(|&&(it, _)| it == who).map(|&(_, how)| how)
    }

    /// Nobody else is at work any more: whoever saw a rise has been released, and whoever stays will be.
    pub(super) fn check(&mut self) {
        self.rest();
        for (who, event, [before, after]) in &self.waits {
            let now = event.pipe.word();
            if self.released.iter().any(|&(it, _)| it == *who) {
                assert!(now.rises() > *before || now.is_closed(), "SPURIOUS release of {who}");
            } else {
                assert!(
                    now.rises() == *after && !now.is_closed(),
                    "LOST WAKE: {who} still waits"
                );
            }
        }
        let left: Vec<usize> = self.hub.iter().copied().collect();
        for who in left {
            let Some((_, event, _)) = self.waits.iter().find(|(it, ..)| *it == who) else {
                continue;
            };
            let event = event.clone();
            drop(event.clear());
            event.notify().unwrap();
            self.rest();
            assert_eq!(
                self.outcome(who),
                Some(Outcome::Rose),
                "DEAF: the next notify does not reach {who}"
            );
        }
    }
}
