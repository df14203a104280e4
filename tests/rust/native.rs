//! What native code holds, called by threads that know nothing of the events: while they live, and too late.

use std::{
    ffi::c_void,
    io,
    sync::{
        Arc, Barrier,
        atomic::{
            AtomicBool, AtomicPtr, AtomicUsize,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
    thread,
    time::Duration,
};
use wakefd::{IoEvent, capi::API};

const LONG: Duration = Duration::from_secs(20);
const EBADF: i32 = -libc::EBADF;
const EINVAL: i32 = -libc::EINVAL;

fn full() -> bool {
    std::env::var("WAKEFD_STRESS").is_ok_and(|size| size == "full")
}

#[test]
fn the_function_wakes_a_thread() -> io::Result<()> {
    let event = IoEvent::new();
    let handle = event.native()?;
    let (function, argument) = (handle.function(), AtomicPtr::new(handle.argument()));
    let thread = thread::spawn(move || function(argument.load(Relaxed)));
    assert!(event.wait_timeout(LONG)?);
    assert!(event.clear()?);
    thread.join().unwrap();
    Ok(())
}

#[test]
fn the_table_answers() -> io::Result<()> {
    let event = IoEvent::new();
    let handle = event.native()?;
    let argument = handle.argument();
    assert_eq!((API.notify)(argument), 1);
    assert_eq!((API.notify)(argument), 0);
    assert_eq!((API.is_set)(argument), 1);
    assert_eq!((API.clear)(argument), 1);
    assert_eq!((API.clear)(argument), 0);
    assert!((API.fileno)(argument) >= 0);
    assert_eq!((API.retain)(argument), 0);
    drop(handle);
    assert_eq!((API.notify)(argument), 1);
    assert!(event.clear()?);
    assert_eq!((API.release)(argument), 0);
    for function in [API.notify, API.clear, API.is_set, API.retain, API.release] {
        assert_eq!(function(argument), EBADF);
        assert_eq!(function(std::ptr::null_mut()), EINVAL);
        assert_eq!(function(std::ptr::without_provenance_mut(usize::MAX)), EBADF);
        assert_eq!(function(std::ptr::without_provenance_mut(1 << 20)), EBADF);
    }
    Ok(())
}

/// An event that rests is as new to whoever gets it.
#[test]
fn an_event_that_is_used_again_is_as_new() -> io::Result<()> {
    for _ in 0..100 {
        let event = IoEvent::new();
        assert!(!event.is_set() && !event.is_closed());
        let handle = event.native()?;
        let descriptor = event.descriptor()?;
        assert_eq!((API.notify)(handle.argument()), 1);
        event.wait()?;
        event.close()?;
        drop((event, descriptor, handle));
    }
    Ok(())
}

/// Threads call with whatever argument they find, old ones too, while handles and events come and go. No call reaches an event
/// that is not its own: an event that was never given out stays down.
#[test]
fn handles_come_and_go_under_fire() -> io::Result<()> {
    const LIVE: usize = 4;
    let rounds = if full() { 400_000 } else { 4_000 };
    let arguments: Arc<Vec<AtomicPtr<c_void>>> = Arc::new((0..LIVE).map(|_| AtomicPtr::default()).collect());
    let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let start = Arc::new(Barrier::new(4));
    let threads: Vec<_> = (0..3)
        .map(|offset| {
            let (arguments, stop, calls, start) = (arguments.clone(), stop.clone(), calls.clone(), start.clone());
            thread::spawn(move || {
                start.wait();
                let mut old = std::ptr::null_mut();
                for turn in offset.. {
                    let argument = arguments[turn % LIVE].load(Acquire);
                    for argument in [argument, old] {
                        let answer = (API.notify)(argument);
                        assert!(matches!(answer, 0 | 1 | EBADF | EINVAL), "{answer}");
                        if turn % 7 == 0 && (API.retain)(argument) == 0 {
                            assert!((API.notify)(argument) >= 0, "stale though held");
                            assert!((API.clear)(argument) >= 0, "stale though held");
                            assert_eq!((API.release)(argument), 0);
                        }
                    }
                    if turn % 5 == 0 {
                        old = argument;
                    }
                    calls.fetch_add(1, Relaxed);
                    if stop.load(Relaxed) {
                        return;
                    }
                }
            })
        })
        .collect();
    start.wait();
    let mut live: Vec<_> = (0..LIVE).map(|_| None).collect();
    let mut quiet = IoEvent::new();
    for round in 0..rounds {
        let event = IoEvent::new();
        if round % 3 == 0 {
            event.descriptor()?;
        }
        let handle = event.native()?;
        arguments[round % LIVE].store(handle.argument(), Release);
        if let Some((event, handle)) = live[round % LIVE].replace((event, handle)) {
            match round % 3 {
                0 => drop((event, handle)),
                1 => drop((handle, event)),
                _ => event.close()?,
            }
        }
        assert!(!quiet.is_set(), "a stale call has reached an event that is not its own");
        quiet = IoEvent::new(); // mostly one that was used before
    }
    stop.store(true, Relaxed);
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(calls.load(Relaxed) > 0);
    Ok(())
}

/// Four threads that only know the argument, and a thread that waits: each rise is seen, and the last count is complete.
#[test]
fn native_threads_flood_a_waiter_and_nothing_is_lost() -> io::Result<()> {
    const THREADS: usize = 4;
    let each = if full() { 5_000_000 } else { 50_000 };
    let event = IoEvent::new();
    let handle = event.native()?;
    let sent = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let (sent, argument) = (sent.clone(), AtomicPtr::new(handle.argument()));
            thread::spawn(move || {
                let argument = argument.load(Relaxed);
                for _ in 0..each {
                    sent.fetch_add(1, AcqRel);
                    assert!((API.notify)(argument) >= 0);
                }
            })
        })
        .collect();
    while sent.load(Acquire) < THREADS * each {
        assert!(event.wait_timeout(LONG)?, "a wake-up was lost");
        event.clear()?;
    }
    for thread in threads {
        thread.join().unwrap();
    }
    Ok(())
}
