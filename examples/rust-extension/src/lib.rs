//! A thread of Rust streams into a coroutine. It never attaches to the interpreter.

use pyo3::prelude::*;
use std::{
    sync::{
        Mutex,
        mpsc::{Receiver, TryRecvError, channel},
    },
    thread,
};
use wakefd::extension::EventHandle;

#[pymodule]
mod primes {
    #[pymodule_export]
    use super::Primes;
}

/// The prime numbers below a limit, as a thread finds them.
#[pyclass(frozen)]
struct Primes(Mutex<Receiver<u64>>);

#[pymethods]
impl Primes {
    /// The thread begins at once, and notifies the event whenever there is something to take, and at the end.
    #[new]
    fn new(event: EventHandle, limit: u64) -> Self {
        let (sender, receiver) = channel();
        thread::spawn(move || {
            let end = NotifyOnDrop(event);
            let sender = sender; // goes before `end` does, also if the thread panics
            for number in (2..limit).filter(is_prime) {
                if sender.send(number).is_err() {
                    return; // nobody has the `Primes` any more
                }
                let _ = end.0.notify(); // first the data, then the notification; the next one tries again
            }
        });
        Self(Mutex::new(receiver))
    }

    /// Takes what there is, and says whether that was all.
    fn take(&self) -> (Vec<u64>, bool) {
        let receiver = self.0.lock().unwrap();
        let mut numbers = Vec::new();
        loop {
            match receiver.try_recv() {
                Ok(number) => numbers.push(number),
                Err(error) => return (numbers, error == TryRecvError::Disconnected),
            }
        }
    }
}

/// Tells the coroutine of the end, however the thread ends.
struct NotifyOnDrop(EventHandle);

impl Drop for NotifyOnDrop {
    fn drop(&mut self) {
        let _ = self.0.notify();
    }
}

fn is_prime(number: &u64) -> bool {
    (2..).take_while(|d| d * d <= *number).all(|d| number % d != 0)
}
