//! The Rust API, as a dependent crate sees it. Every wait is bounded.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{
    io::{self, ErrorKind},
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};
use wakefd::{Descriptor, IoEvent};

const LONG: Duration = Duration::from_secs(10);

fn full() -> bool {
    std::env::var("WAKEFD_STRESS").is_ok_and(|size| size == "full")
}

fn readable(descriptor: &Descriptor) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(descriptor, PollFlags::IN)], Some(&now)).unwrap() == 1
}

#[test]
fn is_send_and_sync() {
    fn check<T: Send + Sync + Clone>() {}
    check::<IoEvent>();
    check::<Descriptor>();
}

#[test]
fn notify_coalesces_and_clear_tells() -> io::Result<()> {
    let event = IoEvent::new();
    assert!(!event.is_set() && !event.clear()?);
    assert!(event.notify()? && !event.notify()? && event.is_set());
    assert!(event.clear()? && !event.clear()? && !event.is_set());
    Ok(())
}

#[test]
fn descriptor_is_readable_while_the_flag_is_up() -> io::Result<()> {
    for early in [true, false] {
        let event = IoEvent::new();
        if early {
            event.notify()?; // before there is a descriptor
        }
        let descriptor = event.descriptor()?;
        assert_eq!(readable(&descriptor), early);
        event.notify()?;
        assert!(readable(&descriptor));
        assert!(event.clear()? && !readable(&descriptor));
    }
    Ok(())
}

#[test]
fn descriptor_outlives_close() -> io::Result<()> {
    let event = IoEvent::new();
    let descriptor = event.descriptor()?;
    event.close()?;
    assert!(!readable(&descriptor.clone()), "closed, or readable without a reason");
    assert_eq!(event.descriptor().unwrap_err().kind(), ErrorKind::BrokenPipe);
    Ok(())
}

#[test]
fn wait_timeout_ends() -> io::Result<()> {
    let begun = Instant::now();
    assert!(!IoEvent::new().wait_timeout(Duration::from_millis(20))?);
    assert!(begun.elapsed() >= Duration::from_millis(20), "too early");
    assert!(!IoEvent::new().wait_timeout(Duration::ZERO)?);
    Ok(())
}

#[test]
fn close_releases_and_refuses() -> io::Result<()> {
    let event = IoEvent::new();
    let waiter = event.clone();
    let thread = thread::spawn(move || waiter.wait_timeout(LONG));
    thread::sleep(Duration::from_millis(20));
    event.close()?;
    event.close()?;
    assert_eq!(thread.join().unwrap().unwrap_err().kind(), ErrorKind::BrokenPipe);
    assert!(event.is_closed() && !event.is_set() && !event.notify()? && !event.clear()?);
    assert_eq!(event.wait().unwrap_err().kind(), ErrorKind::BrokenPipe);
    Ok(())
}

/// Who waits is released, even if the flag is lowered at once.
#[test]
fn notify_and_clear_at_once_release_every_thread() -> io::Result<()> {
    const THREADS: usize = 4;
    let rounds = if full() { 20_000 } else { 500 };
    let event = IoEvent::new();
    let gate = Arc::new(Barrier::new(THREADS + 1));
    let released = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let (event, gate, released) = (event.clone(), gate.clone(), released.clone());
            thread::spawn(move || {
                for _ in 0..rounds {
                    gate.wait();
                    assert!(event.wait_timeout(LONG).unwrap(), "lost");
                    released.fetch_add(1, Relaxed);
                    gate.wait();
                }
            })
        })
        .collect();
    for round in 1..=rounds {
        gate.wait();
        let deadline = Instant::now() + LONG;
        // Late ones need another notify: who has not begun to wait yet is promised nothing.
        while released.load(Relaxed) < round * THREADS {
            event.notify()?;
            event.clear()?;
            thread::yield_now();
            assert!(Instant::now() < deadline, "lost");
        }
        gate.wait();
    }
    for thread in threads {
        thread.join().unwrap();
    }
    Ok(())
}

/// Counters before the notify, a clear before the look: nothing is missed.
#[test]
fn nothing_is_missed_under_a_flood() -> io::Result<()> {
    const THREADS: usize = 3;
    let each: usize = if full() { 2_000_000 } else { 50_000 };
    for exposed in [false, true] {
        let event = IoEvent::new();
        let descriptor = if exposed { Some(event.descriptor()?) } else { None };
        let sent = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let (event, sent) = (event.clone(), sent.clone());
                thread::spawn(move || {
                    for _ in 0..each {
                        sent.fetch_add(1, Relaxed);
                        event.notify().unwrap();
                    }
                })
            })
            .collect();
        let mut seen = 0;
        while seen < THREADS * each {
            match &descriptor {
                None => assert!(event.wait_timeout(LONG)?, "lost at {seen}"),
                Some(descriptor) => {
                    let long = Timespec { tv_sec: 10, tv_nsec: 0 };
                    let ready = poll(&mut [PollFd::new(descriptor, PollFlags::IN)], Some(&long))?;
                    assert_eq!(ready, 1, "lost at {seen}");
                }
            }
            event.clear()?;
            seen = sent.load(Relaxed);
        }
        for thread in threads {
            thread.join().unwrap();
        }
    }
    Ok(())
}

/// Threads come and go, events come and go: hubs are pooled, listeners recycled.
#[test]
fn descriptors_are_bounded_by_those_who_wait_at_once() -> io::Result<()> {
    fn descriptors() -> usize {
        std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
    }
    let before = descriptors();
    for _ in 0..200 {
        let event = IoEvent::new();
        let waiter = event.clone();
        let thread = thread::spawn(move || waiter.wait_timeout(LONG));
        event.notify()?;
        assert!(thread.join().unwrap()?);
    }
    // Other tests of this process wait, too.
    assert!(
        descriptors() < before + 100,
        "{before} descriptors became {}",
        descriptors()
    );
    Ok(())
}

#[test]
fn an_event_that_is_dropped_while_it_is_waited_for() {
    let event = IoEvent::new();
    let notifier = event.clone();
    let thread = thread::spawn(move || event.wait_timeout(LONG));
    thread::sleep(Duration::from_millis(20));
    notifier.notify().unwrap();
    drop(notifier);
    assert!(thread.join().unwrap().unwrap());
}
