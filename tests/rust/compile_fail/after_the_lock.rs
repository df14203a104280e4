// error: E0505
//! A reference does not outlive the lock that gave it.

#[path = "../../../src/process/mod.rs"]
mod process;
#[path = "../../../src/sync/mod.rs"]
mod sync;

use process::{Guarded, enter, lock};

pub fn after_the_lock(one: &Guarded<u8>) {
    let mut lock = lock(enter(|| ()));
    let first = one.get(&mut lock);
    drop(lock);
    *first = 1;
}
