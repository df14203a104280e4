// error: E0277
//! A value that may not go to another thread cannot be shared behind the lock.

#[path = "../../../src/process/mod.rs"]
mod process;
#[path = "../../../src/sync/mod.rs"]
mod sync;

use process::Guarded;
use std::rc::Rc;

pub fn in_another_thread(one: &'static Guarded<Rc<u8>>) {
    std::thread::spawn(move || std::ptr::from_ref(one).addr());
}
