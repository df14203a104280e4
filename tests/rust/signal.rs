//! `notify` in a real signal handler, while everything else goes on. A process of its own: signals are everybody's.
#![cfg(target_os = "linux")]
#![allow(clippy::print_stdout)] // how many signals there were

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{
    io, ptr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};
use wakefd::IoEvent;

type Turn = Box<dyn FnMut(&IoEvent) -> io::Result<()> + Send>;

const LONG: Duration = Duration::from_secs(10);
static EVENT: OnceLock<IoEvent> = OnceLock::new();
static SIGNALS: AtomicUsize = AtomicUsize::new(0);
static WRONG: AtomicUsize = AtomicUsize::new(0);

extern "C" fn handler(_: libc::c_int) {
    if let Some(event) = EVENT.get() {
        // SAFETY: this thread's errno.
        let errno = unsafe { &mut *libc::__errno_location() };
        let before = std::mem::replace(errno, 4242);
        SIGNALS.fetch_add(1, Relaxed); // the data, before the notify
        let refused = event.notify().is_err();
        WRONG.fetch_add(usize::from(refused || *errno != 4242), Relaxed);
        *errno = before;
    }
}

fn every(interval: Duration) {
    // SAFETY: a handler that only does what a handler may, and valid pointers.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as extern "C" fn(libc::c_int) as usize;
        action.sa_flags = libc::SA_RESTART;
        assert_eq!(libc::sigaction(libc::SIGALRM, &raw const action, ptr::null_mut()), 0);
        let period = libc::timeval {
            tv_sec: 0,
            tv_usec: i64::from(interval.subsec_micros()),
        };
        let timer = libc::itimerval {
            it_interval: period,
            it_value: period,
        };
        assert_eq!(libc::setitimer(libc::ITIMER_REAL, &raw const timer, ptr::null_mut()), 0);
    }
}

/// Threads wait, a poller polls the descriptor, others notify, clear, begin and end waits: and signals interrupt them all.
#[test]
fn a_handler_that_notifies_wedges_nothing() -> io::Result<()> {
    let full = std::env::var("WAKEFD_STRESS").is_ok_and(|size| size == "full");
    let (seconds, least) = if full { (60, 300_000) } else { (2, 2_000) };
    let event = EVENT.get_or_init(IoEvent::new).clone();
    let descriptor = event.descriptor()?;
    let stop = Arc::new(AtomicBool::new(false));
    let turns: Arc<Vec<AtomicUsize>> = Arc::new((0..4).map(|_| AtomicUsize::new(0)).collect());
    every(Duration::from_micros(50));

    let run = |index: usize, mut turn: Turn| {
        let (event, stop, turns) = (event.clone(), stop.clone(), turns.clone());
        thread::spawn(move || -> io::Result<()> {
            while !stop.load(Relaxed) {
                turn(&event)?;
                turns[index].fetch_add(1, Relaxed);
            }
            Ok(())
        })
    };
    let waits = |event: &IoEvent| {
        assert!(event.wait_timeout(LONG)?, "a wake-up was lost");
        event.clear().map(drop)
    };
    let threads = [
        run(0, Box::new(waits)),
        run(1, Box::new(waits)),
        run(
            2,
            Box::new(|event| event.notify().and_then(|_| event.clear()).map(drop)),
        ),
        run(3, Box::new(|event| event.wait_timeout(Duration::ZERO).map(drop))),
    ];
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end || SIGNALS.load(Relaxed) < least {
        let seen = SIGNALS.load(Relaxed);
        let long = Timespec { tv_sec: 10, tv_nsec: 0 };
        let ready = match poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&long)) {
            Err(rustix::io::Errno::INTR) => continue,
            ready => ready?,
        };
        assert!(
            ready == 1 || SIGNALS.load(Relaxed) == seen,
            "readable no more: {event:?}"
        );
        event.clear()?;
        assert!(Instant::now() < end + 6 * LONG, "no signals");
    }
    stop.store(true, Relaxed);
    event.notify()?; // those who wait look at `stop`
    let deadline = Instant::now() + LONG;
    for thread in threads {
        while !thread.is_finished() {
            event.notify()?;
            thread::yield_now();
            assert!(Instant::now() < deadline, "a waiter hangs");
        }
        thread.join().unwrap()?;
    }
    every(Duration::ZERO);
    assert_eq!(WRONG.load(Relaxed), 0, "refused, or errno was not preserved");
    // At rest: one clear settles it, and it works as ever.
    event.clear()?;
    assert!(!event.is_set() && event.notify()? && event.clear()?);
    println!("{} signals, turns {:?}", SIGNALS.load(Relaxed), turns);
    Ok(())
}
