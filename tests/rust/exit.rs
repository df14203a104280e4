//! The process ends while threads that no interpreter knows are at it: no crash, no hang.

use std::{
    env, io,
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};
use wakefd::IoEvent;

const LONG: Duration = Duration::from_secs(20);

#[test]
fn the_process_ends_while_native_threads_are_at_it() -> io::Result<()> {
    let full = env::var("WAKEFD_STRESS").is_ok_and(|size| size == "full");
    for run in 0..if full { 2000 } else { 30 } {
        let mut child = Command::new(env::current_exe()?)
            .args(["--exact", "child", "--ignored", "--quiet"])
            .env("WAKEFD_EXIT_AFTER", (run % 7).to_string())
            .stdout(Stdio::null())
            .spawn()?;
        let deadline = Instant::now() + LONG;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if Instant::now() > deadline {
                child.kill()?;
                child.wait()?;
                panic!("it hangs");
            }
            thread::sleep(Duration::from_millis(1));
        };
        assert!(status.success(), "{status}");
    }
    Ok(())
}

/// Returns while its threads go on: the process ends under them.
#[test]
#[ignore = "run by the other one, in a process of its own"]
fn child() -> io::Result<()> {
    static ROUNDS: AtomicUsize = AtomicUsize::new(0);
    let milliseconds = env::var("WAKEFD_EXIT_AFTER").map_or(1, |text| text.parse().unwrap_or(1));
    let (event, exposed) = (IoEvent::new(), IoEvent::new());
    let _descriptor = exposed.descriptor()?;
    let go_on = |work: fn(&IoEvent, &IoEvent)| {
        let (event, exposed) = (event.clone(), exposed.clone());
        thread::spawn(move || {
            loop {
                work(&event, &exposed);
                ROUNDS.fetch_add(1, Relaxed);
            }
        })
    };
    go_on(|event, exposed| drop((event.notify(), exposed.notify())));
    go_on(|event, exposed| drop((event.notify(), event.clear(), exposed.notify(), exposed.clear())));
    go_on(|event, _| drop(event.wait()));
    go_on(|event, _| drop(event.wait_timeout(Duration::from_micros(50))));
    go_on(|_, _| {
        let fresh = IoEvent::new();
        drop((fresh.notify(), fresh.descriptor().is_ok(), fresh.wait(), fresh.close()));
    });
    while ROUNDS.load(Relaxed) < 100 {
        thread::yield_now();
    }
    thread::sleep(Duration::from_millis(milliseconds));
    Ok(())
}
