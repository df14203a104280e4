//! The byte queue, as a dependent crate sees it. Every wait is bounded.

use std::{
    ffi::c_void,
    ptr,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
    time::Duration,
};
use wakefd::{ByteQueue, ByteQueueError as Error, capi::API};

const LONG: Duration = Duration::from_secs(10);

#[test]
fn is_send_and_sync() {
    fn check<T: Send + Sync + Clone>() {}
    check::<ByteQueue>();
}

#[test]
fn messages_come_out_as_they_went_in() -> Result<(), Error> {
    let queue = ByteQueue::new(64, 24)?;
    assert!((queue.max_bytes(), queue.max_message()) == (64, 24));
    assert!(matches!(queue.try_get(), Err(Error::Empty)));
    assert!(matches!(queue.push(&[0; 25]), Err(Error::TooLong)));
    for lap in 0..20 {
        queue.push(&[lap; 24])?;
        queue.push(&[lap; 9])?;
        queue.push(&[])?;
        assert!(queue.len() == 3 && matches!(queue.push(&[]), Err(Error::Full)));
        let mut buffer = [0xff; 30];
        assert!(matches!(
            queue.try_get_into(&mut buffer[..23]),
            Err(Error::TooSmall(24))
        ));
        assert_eq!(queue.try_get_into(&mut buffer)?, 24);
        assert_eq!(buffer[..25], [&[lap; 24][..], &[0xff]].concat());
        let mut rest = Vec::new();
        assert_eq!(queue.try_get_many(9, &mut rest)?, 2);
        assert_eq!(rest, [&[lap; 9][..], &[]]);
        queue.push(b"")?; // the next lap begins elsewhere
        assert_eq!(queue.get_timeout(LONG)?, b"");
        assert!(queue.is_empty());
    }
    Ok(())
}

#[test]
fn impossible_sizes() {
    for (max_bytes, max_message) in [(0, 0), (31, 24), (usize::MAX, 1), (8, usize::MAX)] {
        assert!(matches!(ByteQueue::new(max_bytes, max_message), Err(Error::Impossible)));
    }
}

#[test]
fn shutdown_lets_out_what_is_in_there_and_close_does_not() -> Result<(), Error> {
    let queue = ByteQueue::new(64, 8)?;
    let waits = queue.clone();
    queue.push(b"1")?;
    queue.shutdown();
    assert!(matches!(queue.push(b"2"), Err(Error::ShutDown)));
    assert_eq!(waits.get()?, b"1");
    assert!(matches!(waits.get(), Err(Error::ShutDown)));

    let queue = ByteQueue::new(16, 8)?;
    queue.push(b"1")?;
    let waits = queue.clone();
    queue.close();
    assert!(matches!(waits.get_timeout(LONG), Err(Error::ShutDown)));
    Ok(())
}

#[test]
fn many_producers_and_consumers() -> Result<(), Error> {
    const COUNT: u32 = 20_000;
    let queue = ByteQueue::new(1 << 10, 12)?;
    let got = AtomicUsize::new(0);
    thread::scope(|scope| {
        let consumers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut last = [None; 3];
                    while let Ok(message) = queue.get_timeout(LONG) {
                        let (who, which) = message.split_at(1);
                        let last = &mut last[usize::from(who[0])];
                        let which = u32::from_ne_bytes(which.try_into().unwrap());
                        assert!(last.is_none_or(|last| last < which));
                        *last = Some(which);
                        got.fetch_add(1, Relaxed);
                    }
                })
            })
            .collect();
        let producers: Vec<_> = (0..3_u8)
            .map(|who| {
                let queue = &queue;
                scope.spawn(move || {
                    for which in 0..COUNT {
                        let mut message = vec![who];
                        message.extend(which.to_ne_bytes());
                        while queue.push(&message).is_err() {
                            thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        for it in producers {
            it.join().unwrap();
        }
        queue.shutdown();
        for it in consumers {
            it.join().unwrap();
        }
    });
    assert_eq!(got.into_inner(), 3 * COUNT as usize);
    Ok(())
}

#[test]
fn an_argument_keeps_the_memory_and_becomes_stale() -> Result<(), Error> {
    let push = |argument: *mut c_void, message: &[u8]| {
        // SAFETY: so many bytes are there.
        unsafe { (API.push)(argument, message.as_ptr().cast(), message.len()) }
    };
    let queue = ByteQueue::new(64, 8)?;
    let handle = queue.native()?;
    let argument = handle.argument();
    assert_eq!(push(argument, b"1"), 1);
    assert_eq!(queue.try_get()?, b"1");
    // SAFETY: null is allowed.
    assert_eq!(unsafe { (API.push)(argument, ptr::null(), 1) }, -libc_einval());
    drop(queue);
    assert_eq!(push(argument, b"2"), 1);
    drop(handle);
    assert!(push(argument, b"3") < 0);
    Ok(())
}

fn libc_einval() -> i32 {
    rustix::io::Errno::INVAL.raw_os_error()
}

/// What is copied out of the queue finds no memory: the message stays.
#[test]
#[cfg(target_os = "linux")]
fn out_of_memory_is_an_error_and_the_message_stays() -> std::io::Result<()> {
    let status = std::process::Command::new(std::env::current_exe()?)
        .args(["--exact", "without_memory", "--ignored", "--quiet"])
        .status()?;
    assert!(status.success(), "{status}");
    Ok(())
}

#[test]
#[cfg(target_os = "linux")]
#[ignore = "run by the other one, in a process of its own"]
fn without_memory() -> Result<(), Error> {
    const LENGTH: usize = 64 << 20;
    let queue = ByteQueue::new(2 * LENGTH, LENGTH)?;
    let message = vec![7; LENGTH];
    queue.push(&message)?;
    // SAFETY: a question.
    let page = u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap();
    let used = || -> u64 {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        pages.split(' ').next().unwrap().parse::<u64>().unwrap() * page
    };
    let limit = |bytes| {
        let limit = libc::rlimit {
            rlim_cur: bytes,
            rlim_max: libc::RLIM_INFINITY,
        };
        // SAFETY: a limit.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) }, 0);
    };
    let is_out_of_memory =
        |error: &Error| matches!(error, Error::Io(error) if error.kind() == std::io::ErrorKind::OutOfMemory);
    limit(used() + LENGTH as u64 / 2);
    assert!(queue.try_get().is_err_and(|error| is_out_of_memory(&error)));
    assert!(queue.get().is_err_and(|error| is_out_of_memory(&error)));
    assert!(
        queue
            .try_get_many(3, &mut vec![])
            .is_err_and(|error| is_out_of_memory(&error))
    );
    assert!(ByteQueue::new(LENGTH, 8).is_err_and(|error| is_out_of_memory(&error)));
    assert_eq!(queue.len(), 1);
    limit(libc::RLIM_INFINITY);
    assert!(queue.get()? == message);
    Ok(())
}
