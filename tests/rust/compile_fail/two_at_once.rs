// error: E0499
//! The lock gives one reference at a time, also to different values.

#[path = "../../../src/process/mod.rs"]
mod process;
#[path = "../../../src/sync/mod.rs"]
mod sync;

use process::{Guarded, enter, lock};

pub fn two_at_once(one: &Guarded<u8>, two: &Guarded<u8>) {
    let mut lock = lock(enter(|| ()));
    let first = one.get(&mut lock);
    *two.get(&mut lock) = *first;
    *first = 0;
}
