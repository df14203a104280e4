//! The control: what the other files break is left whole here, so this one compiles.

#[path = "../../../src/process/mod.rs"]
mod process;
#[path = "../../../src/sync/mod.rs"]
mod sync;

use process::{Guarded, enter, lock};

pub fn one_after_the_other(one: &Guarded<u8>, two: &Guarded<u8>) {
    let mut lock = lock(enter(|| ()));
    let first = *one.get(&mut lock);
    *two.get(&mut lock) = first;
}
