// error: E0423
//! The lock demands the entry guard, and nobody makes one beside `enter`.

#[path = "../../../src/process/mod.rs"]
mod process;
#[path = "../../../src/sync/mod.rs"]
mod sync;

use process::{Entered, lock};

pub fn without_an_entry() {
    drop(lock(Entered(())));
}
