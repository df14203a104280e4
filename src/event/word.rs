//! The word: 64 bits that change in one step, and hold all that a self-pipe says of itself.
//!
//! | bits | field | meaning |
//! |---|---|---|
//! | 0 | FLAG | up since the last `notify`, until a `clear` |
//! | 1 | EXPOSED | a notifier exists and is signalled at each rise |
//! | 2 | UNSENT | a token was refused since the flag rose: the next `notify` tries again |
//! | 3 | CLOSED | for ever |
//! | 4-15 | USERS | how many are between their entry and their exit at the notifier: writers, drainers |
//! | 16-29 | OWED | tokens that were promised and not drained yet |
//! | 30-63 | RISES | +1 at each rise of the flag: the generation |

pub(super) const FLAG: u64 = 1;
pub(super) const EXPOSED: u64 = 1 << 1;
pub(super) const UNSENT: u64 = 1 << 2;
pub(super) const CLOSED: u64 = 1 << 3;
pub(super) const USER: u64 = 1 << 4;
pub(super) const USERS: u64 = 0xfff * USER;
pub(super) const TOKEN: u64 = 1 << 16;
pub(super) const OWED: u64 = 0x3fff * TOKEN;
pub(super) const RISE: u64 = 1 << 30;

/// A value of the word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word(pub(super) u64);

impl Word {
    pub(crate) fn is_set(self) -> bool {
        self.0 & FLAG != 0
    }
    pub(crate) fn is_closed(self) -> bool {
        self.0 & CLOSED != 0
    }
    pub(crate) fn is_exposed(self) -> bool {
        self.0 & EXPOSED != 0
    }
    /// The generation; a waiter's ticket.
    pub(crate) fn rises(self) -> u64 {
        self.0 / RISE
    }
    pub(crate) fn owed(self) -> u64 {
        (self.0 & OWED) / TOKEN
    }

    /// The word with one token more that is promised, by one user more. OWED stops at its maximum: somebody who reads the
    /// descriptor costs speed, never a wake-up.
    pub(super) fn promise(self) -> Self {
        Self(self.0 + USER + if self.0 & OWED == OWED { 0 } else { TOKEN })
    }
    /// `n` tokens less.
    pub(super) fn settle(self, n: u64) -> Self {
        Self((self.0 & !OWED) | (self.owed().saturating_sub(n) * TOKEN))
    }
    pub(super) fn without(self, bits: u64) -> Self {
        Self(self.0 & !bits)
    }
    pub(super) fn with(self, bits: u64) -> Self {
        Self(self.0 | bits)
    }
    /// The flag is down and no token is left.
    pub(super) fn is_settled(self) -> bool {
        self.0 & (FLAG | OWED) == 0
    }
    pub(super) fn has(self, bits: u64) -> bool {
        self.0 & bits == bits
    }
    /// No notifier, and nobody at work on the one there was.
    pub(super) fn is_abandoned(self) -> bool {
        self.0 & (EXPOSED | USERS) == 0
    }
}
