//! A portal's inbox: what threads may put into it, in which order its receiver takes calls out, and when it is at rest.
//!
//! An inbox has an *event* that is up while there is a call in it. A thread puts its call first, and then notifies; the
//! receiver lowers the event first, and then looks again: so no call is overlooked, and only the first call of a batch
//! wakes the loop.
//!
//! A call may run the loop inside the loop (on asyncio, with nest_asyncio and the like). Then a nested turn goes on
//! with the calls that are left and those that come, while the outer call has not ended: `busy` counts such calls, and
//! an inbox is at rest only when none is left.
//!
//! The inbox is in a cell, as a queue's state is (see `attempt`). This room knows no Python: the caller runs the calls, and
//! asks the loop for another turn.

use super::Obstacle;
use crate::capacity;
use std::{collections::VecDeque, mem, thread::ThreadId};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Open,
    /// The portal was closed: the calls that are in still run.
    Closed,
    /// The loop is gone, and runs nothing any more.
    Gone,
}

/// The calls that a portal has accepted, in the order in which they came.
pub(crate) struct Calls<C> {
    /// The calls that have not begun.
    pub(crate) waiting: VecDeque<C>,
    pub(crate) life: Life,
    /// The number of calls that were taken out and have not ended: more than one if a call runs the loop inside the
    /// loop.
    busy: usize,
    /// Whether the portal is gone: no thread can put any more.
    pub(crate) dropped: bool,
    /// The thread of the last turn.
    pub(crate) thread: ThreadId,
}

/// The call that is to be run next.
struct Next<C> {
    call: Option<C>,
    /// Whether no other call is in.
    last: bool,
    /// Whether an outer call runs this turn inside its own.
    nested: bool,
}

/// Why a batch has ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Batch<P> {
    /// The caller wanted a pause.
    Paused(P),
    /// No call is left.
    Empty {
        /// The portal is closed, and all calls have ended.
        at_rest: bool,
        /// The portal is gone.
        dropped: bool,
    },
}

impl<C> Calls<C> {
    pub(crate) fn new(thread: ThreadId) -> Self {
        Self {
            waiting: VecDeque::new(),
            life: Life::Open,
            busy: 0,
            dropped: false,
            thread,
        }
    }

    /// `again`: the call was accepted before, and goes in although the portal is closed.
    ///
    /// # Errors
    /// The call comes back, to be dropped outside of the cell. `Shut`: the portal is not open; `NoMemory`.
    #[inline]
    fn accept(&mut self, call: C, again: bool) -> Result<(), (Obstacle, C)> {
        if self.life != Life::Open && !(again && self.life == Life::Closed) {
            return Err((Obstacle::Shut, call));
        }
        if self.waiting.try_reserve(1).is_err() {
            return Err((Obstacle::NoMemory, call));
        }
        self.waiting.push_back(call);
        Ok(())
    }

    /// The next call, which is busy until it has ended; `ended` is the number of calls that have ended since the last
    /// one.
    #[inline]
    fn next(&mut self, ended: usize) -> Next<C> {
        self.busy -= ended;
        let nested = self.busy > 0;
        let call = self.waiting.pop_front();
        capacity::shed(&mut self.waiting);
        self.busy += usize::from(call.is_some());
        Next {
            call,
            last: self.waiting.is_empty(),
            nested,
        }
    }

    /// The end of a batch, if no call has come since the event was lowered.
    fn rest<P>(&self, nested: bool) -> Option<Batch<P>> {
        self.waiting.is_empty().then_some(Batch::Empty {
            at_rest: self.life == Life::Closed && !nested, // in a nested turn, the outer call has not ended
            dropped: self.dropped,
        })
    }

    pub(crate) fn close(&mut self) {
        if self.life == Life::Open {
            self.life = Life::Closed;
        }
    }

    /// The loop is gone: the calls that will never run. `None`: it was gone before.
    pub(crate) fn end(&mut self) -> Option<VecDeque<C>> {
        match mem::replace(&mut self.life, Life::Gone) {
            Life::Gone => None,
            Life::Open | Life::Closed => Some(mem::take(&mut self.waiting)),
        }
    }

    /// Whether no call is in, and none runs.
    pub(crate) fn is_quiet(&self) -> bool {
        self.waiting.is_empty() && self.busy == 0
    }

    /// Whether a call runs in that thread.
    pub(crate) fn is_busy_in(&self, thread: ThreadId) -> bool {
        self.busy > 0 && self.thread == thread
    }
}

/// A cell with a portal's calls in it, and the event that is up while there are some.
pub(crate) trait InboxCell {
    type Call;

    /// One thread at a time. Nothing in there may run code of the user's, or come into the cell again.
    fn with<R>(&self, act: impl FnOnce(&mut Calls<Self::Call>) -> R) -> R;

    /// Raises the event: the receiver looks. Outside of the cell. A refusal of the system loses nothing: the event is
    /// up, and the next call tries again.
    fn notify(&self);

    /// Lowers the event.
    fn lower(&self);

    /// Puts a call in, and has the receiver look. `again` as of `Calls::accept`.
    ///
    /// # Errors
    /// Those of `Calls::accept`.
    #[inline]
    fn accept(&self, call: Self::Call, again: bool) -> Result<(), (Obstacle, Self::Call)> {
        self.with(|calls| calls.accept(call, again))?;
        self.notify();
        Ok(())
    }

    /// Accepts no more calls.
    fn close(&self) {
        self.with(Calls::close);
        self.notify();
    }

    /// Runs calls until none is left, or `pause` names a reason to stop. `run` is told whether its call is the last one
    /// in.
    ///
    /// # Errors
    /// Those of `pause` and of `run`, which end the batch; the calls that have not begun stay in.
    fn batch<P, X>(
        &self,
        mut pause: impl FnMut() -> Result<Option<P>, X>,
        mut run: impl FnMut(Self::Call, bool) -> Result<(), X>,
    ) -> Result<Batch<P>, X> {
        let mut ended = 0; // calls that `busy` still counts: one or none
        let result = loop {
            match pause() {
                Ok(None) => {}
                Ok(Some(why)) => break Ok(Batch::Paused(why)),
                Err(error) => break Err(error),
            }
            let next = self.with(|calls| calls.next(mem::take(&mut ended)));
            if let Some(call) = next.call {
                ended = 1;
                if let Err(error) = run(call, next.last) {
                    break Err(error);
                }
                continue;
            }
            self.lower();
            if let Some(empty) = self.with(|calls| calls.rest(next.nested)) {
                break Ok(empty);
            }
        };
        self.with(|calls| calls.busy -= ended);
        result
    }

    /// Before a call that may run the loop inside the loop: whether the loop must be asked for another turn, which goes
    /// on with the calls that are left. If none is left the event is lowered, so that a call that comes from now on
    /// wakes the loop.
    fn must_share(&self, last: bool) -> bool {
        if last {
            self.lower();
        }
        !last || self.with(|calls| !calls.waiting.is_empty())
    }
}
