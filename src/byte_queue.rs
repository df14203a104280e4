//! The ring as Rust users meet it.

use crate::{
    IoEvent, NativeHandle,
    event::descriptor::Descriptor,
    fork,
    ring::{Nothing, PushError, Ring, RingError, Take},
};
use std::{
    error, fmt, io,
    sync::Arc,
    time::{Duration, Instant},
};

/// Messages of bytes from any threads to any consumers, in memory that is allocated once.
///
/// A producer ([`push`](Self::push)) copies its message in and is off: it takes no lock, allocates nothing and waits for
/// nobody, so it may be a thread that must not block, or a signal handler. It makes a system call only if a loop or a
/// thread sleeps beside the queue. C has the same through a [`native`](Self::native) handle and [`capi`](crate::native::capi).
/// Consumers are threads ([`get`](Self::get)), or loops that watch its [`descriptor`](Self::descriptor).
///
/// Clones are the same queue.
///
/// # What is promised
/// - No message is lost, doubled or torn, and those of one producer come out in their order.
/// - A full queue refuses: what to do then is the producer's decision. The memory never grows.
/// - A message takes its length, padded to a multiple of 8, and 8 bytes more.
/// - After a fork the child's queue is empty, and its own.
///
/// A producer that is stopped in the middle of a `push` stops the consumers at its message, not the other producers.
///
/// # Examples
/// ```
/// # fn main() -> Result<(), wakefd::ByteQueueError> {
/// let queue = wakefd::ByteQueue::new(1 << 16, 1 << 10)?;
/// let producer = queue.clone();
/// std::thread::spawn(move || {
///     for n in 0..3_u8 {
///         producer.push(&[n]).unwrap();
///     }
///     producer.shutdown();
/// });
/// let mut messages = Vec::new();
/// while let Ok(message) = queue.get() {
///     messages.push(message);
/// }
/// assert_eq!(messages, [[0], [1], [2]]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ByteQueue {
    pub(crate) ring: Arc<Ring>,
    max_bytes: usize,
}

/// Why a [`ByteQueue`] did nothing.
#[derive(Debug)]
#[non_exhaustive]
pub enum ByteQueueError {
    /// There is no room for the message now.
    Full,
    /// The message is longer than `max_message`.
    TooLong,
    /// There is no message now, or was none in time.
    Empty,
    /// The next message needs a buffer of so many bytes. It stays.
    TooSmall(usize),
    /// The queue is shut down; and empty, if one was to be taken.
    ShutDown,
    /// There is no such queue: not one message of `max_message` bytes fits in `max_bytes`, or that is 16 GiB or more.
    Impossible,
    /// The operating system has refused something.
    Io(io::Error),
}

impl fmt::Display for ByteQueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the queue is full"),
            Self::TooLong => f.write_str("the message is longer than the queue allows"),
            Self::Empty => f.write_str("the queue is empty"),
            Self::TooSmall(length) => write!(f, "the next message has {length} bytes"),
            Self::ShutDown => f.write_str("the queue is shut down"),
            Self::Impossible => f.write_str("max_message does not fit in max_bytes, or that is too large"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl error::Error for ByteQueueError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for ByteQueueError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<PushError> for ByteQueueError {
    fn from(error: PushError) -> Self {
        match error {
            PushError::Full => Self::Full,
            PushError::TooLong => Self::TooLong,
            PushError::Shut => Self::ShutDown,
        }
    }
}

impl From<Nothing> for ByteQueueError {
    fn from(nothing: Nothing) -> Self {
        match nothing {
            Nothing::Yet => Self::Empty,
            Nothing::Ever => Self::ShutDown,
        }
    }
}

type Result<T> = std::result::Result<T, ByteQueueError>;

impl ByteQueue {
    /// A queue with room for `max_bytes`, for messages of at most `max_message` bytes.
    ///
    /// The memory is reserved at once, and costs nothing before it is used.
    ///
    /// # Errors
    /// [`Impossible`](ByteQueueError::Impossible); or there is no memory ([`Io`](ByteQueueError::Io)).
    pub fn new(max_bytes: usize, max_message: usize) -> Result<Self> {
        let ring = Ring::new(fork::enter(), max_bytes, max_message).map_err(|why| match why {
            RingError::NoMemory => io::Error::from(io::ErrorKind::OutOfMemory).into(),
            RingError::Impossible => ByteQueueError::Impossible,
        })?;
        Ok(Self { ring, max_bytes })
    }

    /// Copies a message in, and wakes who waits for one. In signal handlers, too.
    ///
    /// # Errors
    /// [`Full`](ByteQueueError::Full), [`TooLong`](ByteQueueError::TooLong), [`ShutDown`](ByteQueueError::ShutDown). Never
    /// because a wake-up was refused: the message is in, and the next `push` tries again.
    #[inline]
    pub fn push(&self, message: &[u8]) -> Result<()> {
        // SAFETY: so many bytes are there.
        Ok(unsafe { self.ring.push(message.as_ptr(), message.len()) }?)
    }

    /// The next message; waits for one.
    ///
    /// # Errors
    /// [`ShutDown`](ByteQueueError::ShutDown); or there is no descriptor to be had for this thread (never on Linux, where it needs
    /// none), or no memory, and then the message stays ([`Io`](ByteQueueError::Io)).
    pub fn get(&self) -> Result<Vec<u8>> {
        self.get_until(None)
    }

    /// [`get`](Self::get), but not longer than `timeout`.
    ///
    /// # Errors
    /// As `get`; [`Empty`](ByteQueueError::Empty) if there was none in time.
    pub fn get_timeout(&self, timeout: Duration) -> Result<Vec<u8>> {
        self.get_until(Instant::now().checked_add(timeout))
    }

    fn get_until(&self, deadline: Option<Instant>) -> Result<Vec<u8>> {
        loop {
            match self.try_get() {
                Err(ByteQueueError::Empty) => {}
                done => return done,
            }
            if !self.event().wait_until(deadline)? {
                return self.try_get();
            }
        }
    }

    /// The next message, if it is there.
    ///
    /// # Errors
    /// [`Empty`](ByteQueueError::Empty), [`ShutDown`](ByteQueueError::ShutDown); or there is no memory, and the message stays
    /// ([`Io`](ByteQueueError::Io)).
    pub fn try_get(&self) -> Result<Vec<u8>> {
        let mut take = self.ring.take();
        let message = take_one(&mut take);
        end(take);
        message
    }

    /// Appends the messages that are there, up to `max`, to `to`. Returns their number, which is at least one.
    ///
    /// # Errors
    /// As [`try_get`](Self::try_get).
    pub fn try_get_many(&self, max: usize, to: &mut Vec<Vec<u8>>) -> Result<usize> {
        let before = to.len();
        let mut take = self.ring.take();
        let mut nothing = None;
        while to.len() - before < max {
            if to.try_reserve(1).is_err() {
                nothing = Some(io::Error::from(io::ErrorKind::OutOfMemory).into());
                break;
            }
            match take_one(&mut take) {
                Ok(message) => to.push(message),
                Err(error) => {
                    nothing = Some(error);
                    break;
                }
            }
        }
        end(take);
        match (to.len() - before, nothing) {
            (0, Some(error)) => Err(error),
            (count, _) => Ok(count),
        }
    }

    /// The next message, if it is there, into a buffer; its length.
    ///
    /// # Errors
    /// As [`try_get`](Self::try_get); [`TooSmall`](ByteQueueError::TooSmall), and the message stays.
    pub fn try_get_into(&self, buffer: &mut [u8]) -> Result<usize> {
        let mut take = self.ring.take();
        let result = match take.next() {
            None => Err(take.nothing().into()),
            Some(message) if message.length > buffer.len() => Err(ByteQueueError::TooSmall(message.length)),
            Some(message) => {
                // SAFETY: at the head, and there is room.
                unsafe { take.copy(message, buffer.as_mut_ptr()) };
                take.consume(message);
                Ok(message.length)
            }
        };
        end(take);
        result
    }

    /// A descriptor that is readable while there is something to take, and after `shutdown`: for a poller of your own. Now and
    /// then it is once for nothing.
    ///
    /// # Errors
    /// None could be made.
    pub fn descriptor(&self) -> io::Result<Descriptor> {
        self.event().descriptor()
    }

    /// The argument for C code that pushes, for [`capi::Api::push`](crate::native::capi::Api::push). It keeps the queue's memory.
    ///
    /// # Errors
    /// Those of [`IoEvent::native`].
    pub fn native(&self) -> io::Result<NativeHandle> {
        NativeHandle::new(fork::enter(), &self.ring.event, Some(&self.ring))
    }

    /// Takes no more messages. What is in there can still be taken.
    pub fn shutdown(&self) {
        let _ = self.ring.shut(false); // a refused wake-up: the flag is up
    }

    /// Takes no more messages, and throws away what is in there.
    pub fn close(&self) {
        let _ = self.ring.shut(true);
    }

    /// Has it been shut down?
    pub fn is_shutdown(&self) -> bool {
        self.ring.is_shut()
    }

    /// How many messages are in there, for this instant.
    pub fn len(&self) -> usize {
        self.ring.len()
    }

    /// Is nothing in there, for this instant?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The room for messages.
    pub fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// The length of the longest message that there may be.
    pub fn max_message(&self) -> usize {
        self.ring.max_message
    }

    /// Only the queue may clear it.
    pub(crate) fn event(&self) -> IoEvent {
        let event = self.ring.event.clone();
        IoEvent { event }
    }
}

fn take_one(take: &mut Take<'_>) -> Result<Vec<u8>> {
    let message = take.next().ok_or_else(|| take.nothing())?;
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(message.length)
        .map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    // SAFETY: at the head; there is room, and then so many bytes are set.
    unsafe {
        take.copy(message, bytes.as_mut_ptr());
        bytes.set_len(message.length);
    }
    take.consume(message);
    Ok(bytes)
}

fn end(take: Take<'_>) {
    let _ = take.end(); // a refused wake-up: the flag is up, and the next one tries again
}

impl fmt::Debug for ByteQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteQueue")
            .field("len", &self.len())
            .field("max_bytes", &self.max_bytes)
            .field("max_message", &self.max_message())
            .field("is_shutdown", &self.is_shutdown())
            .finish_non_exhaustive()
    }
}
