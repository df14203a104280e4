//! `notified().await` on the async-io reactor. Every wait is bounded.

use async_io::{Timer, block_on};
use futures_lite::future::{or, poll_once, zip};
use std::{
    io, mem,
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Wake, Waker},
    thread,
    time::Duration,
};
use wakefd::IoEvent;

type Wait<'a> = Pin<Box<dyn Future<Output = io::Result<()>> + Send + 'a>>;

/// A wait that has begun, by a task that nothing wakes.
fn begun(event: &IoEvent) -> Wait<'_> {
    let mut wait: Wait<'_> = Box::pin(event.notified());
    assert!(wait.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    wait
}

/// A wait for some event that is served as it should be.
fn is_served() -> io::Result<()> {
    let event = IoEvent::new();
    let notifier = event.clone();
    let thread = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        notifier.notify()
    });
    let served = bounded(event.notified());
    thread.join().unwrap()?;
    served
}

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

/// No wait depends on another one's being polled: a `select!` may hold it, or nobody come back to it.
#[test]
fn a_wait_that_is_held_keeps_nobody() -> io::Result<()> {
    let event = IoEvent::new();
    let mut held = begun(&event);
    is_served()?;
    event.notify()?;
    event.clear()?;
    is_served()?;
    bounded(held.as_mut())
}

#[test]
fn a_wait_that_is_forgotten_keeps_nobody() -> io::Result<()> {
    let event = IoEvent::new();
    mem::forget(begun(&event));
    is_served()?;
    event.notify()?; // releases it
    is_served()
}

#[test]
fn a_wait_that_has_ended_and_is_held_keeps_nobody() -> io::Result<()> {
    let event = IoEvent::new();
    let held = begun(&event);
    event.close()?;
    is_served()?;
    drop(held);
    is_served()
}

/// The last waker counts, and the one that it replaces is dropped where its task may end other waits.
#[test]
fn a_wait_that_moves_to_another_task_wakes_that_one() -> io::Result<()> {
    let (event, other) = (IoEvent::new(), IoEvent::new());
    let mut moved: Wait<'_> = Box::pin(event.notified());
    {
        // A task that ends with its last waker, and with it a wait.
        struct Owner(Mutex<Option<Wait<'static>>>);
        impl Wake for Owner {
            fn wake(self: Arc<Self>) {}
        }
        impl Drop for Owner {
            fn drop(&mut self) {
                drop(self.0.lock().unwrap().take());
            }
        }
        let other: &'static IoEvent = Box::leak(Box::new(other));
        let waker = Waker::from(Arc::new(Owner(Mutex::new(Some(begun(other))))));
        assert!(moved.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    let notifier = event.clone();
    let thread = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        notifier.notify()
    });
    bounded(moved.as_mut())?;
    thread.join().unwrap().map(drop)
}

/// An executor may poll in `wake`, begin another wait there, and panic.
#[test]
fn a_waker_may_poll_and_panic() -> io::Result<()> {
    struct Inline {
        event: IoEvent,
        next: Mutex<Option<Wait<'static>>>,
    }
    impl Wake for Inline {
        fn wake(self: Arc<Self>) {
            let event: &'static IoEvent = Box::leak(Box::new(self.event.clone()));
            *self.next.lock().unwrap() = Some(begun(event));
            panic!("on purpose");
        }
    }
    let (event, next) = (IoEvent::new(), IoEvent::new());
    let inline = Arc::new(Inline {
        event: next.clone(),
        next: Mutex::new(None),
    });
    let waker = Waker::from(inline.clone());
    let mut first: Wait<'_> = Box::pin(event.notified());
    assert!(first.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    bounded(async {
        let mut second = pin!(event.notified());
        assert!(poll_once(second.as_mut()).await.is_none());
        event.notify()?;
        event.clear()?;
        second.await
    })?;
    bounded(first)?;
    next.notify()?;
    let begun = inline.next.lock().unwrap().take();
    bounded(begun.expect("the waker has run"))?;
    is_served()
}

/// Whichever of them is dropped, the others are served.
#[test]
fn waits_that_are_dropped_keep_nobody() -> io::Result<()> {
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
            drop(first);
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
