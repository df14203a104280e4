// error: E0061
//! A guarded value cannot be had without the lock.

#[path = "../../../src/process/mod.rs"]
mod process;
#[path = "../../../src/sync/mod.rs"]
mod sync;

use process::Guarded;

pub fn without_the_lock(one: &Guarded<u8>) {
    *one.get() = 1;
}
