//! `notified().await` on the async-io reactor. Every wait is bounded.

use async_io::{Timer, block_on};
use futures_lite::future::{or, poll_once, zip};
use std::{io, pin::pin, thread, time::Duration};
use wakefd::IoEvent;

fn bounded<T>(future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    block_on(or(future, async {
        Timer::after(Duration::from_secs(10)).await;
        Err(io::ErrorKind::TimedOut.into())
    }))
}

#[test]
fn a_thread_wakes_a_task() -> io::Result<()> {
    let event = IoEvent::new();
    for _ in 0..500 {
        let notifier = event.clone();
        let thread = thread::spawn(move || notifier.notify());
        bounded(event.notified())?;
        assert!(event.clear()?);
        thread.join().unwrap()?;
    }
    Ok(())
}

#[test]
fn everybody_is_released_though_the_flag_is_lowered_at_once() -> io::Result<()> {
    let event = IoEvent::new();
    bounded(async {
        let mut first = pin!(event.notified());
        let mut second = pin!(event.notified());
        assert!(poll_once(first.as_mut()).await.is_none() && poll_once(second.as_mut()).await.is_none());
        event.notify()?;
        event.clear()?;
        let (first, second) = zip(first, second).await;
        first.and(second)
    })
}

/// The one that was asked to lead is dropped before it could: somebody else must.
#[test]
fn a_leader_that_is_dropped_hands_over() -> io::Result<()> {
    let event = IoEvent::new();
    bounded(async {
        let mut last = pin!(event.notified());
        {
            let mut first = Box::pin(event.notified());
            let mut second = Box::pin(event.notified());
            let mut third = Box::pin(event.notified());
            for future in [&mut first, &mut second, &mut third] {
                assert!(poll_once(future.as_mut()).await.is_none());
            }
            assert!(poll_once(last.as_mut()).await.is_none());
            drop(first); // asks one of the others to lead
            drop(second);
            drop(third);
        }
        let notifier = event.clone();
        let thread = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            notifier.notify()
        });
        last.await?;
        thread.join().unwrap().map(drop)
    })
}

#[test]
fn close_ends_the_wait() {
    let event = IoEvent::new();
    let closer = event.clone();
    let thread = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        closer.close()
    });
    assert_eq!(bounded(event.notified()).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    thread.join().unwrap().unwrap();
}
