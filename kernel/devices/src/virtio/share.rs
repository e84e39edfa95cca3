//! A directory of the host (virtio 9P transport, and virtio 1.2, section 5.11): carries messages of 9P or FUSE, which it does not look into.
//!
//! The event index is not taken: each publication rings, and each answer interrupts. What either side writes before it reads the other's index
//! must be out by then, and that does not hold everywhere: QEMU 7.2's translator leaves out the barriers of a machine with one CPU, and its
//! server of 9P has none where it goes to sleep. Without the index neither side has to look at anything before it notifies the other.
//!
//! Several exchanges are out at a time. Each has a tag, by which the server knows it, and which is free again when its answer was read.
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::ipc::poll::{Events, PollSource, wait_until};
use coracle_core::lock::Mutex;
use coracle_core::task::sched;
use coracle_core::task::thread::{Thread, Work};
use coracle_fallible::prelude::*;
use coracle_fallible::try_arc;
use coracle_hal::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use coracle_hal::virtio::exchanges::{Exchange, Exchanges, Refused};
use coracle_hal::virtio::transport::{Doorbell, SetupError, Transport};
use coracle_virtio::device::share::{LONGEST_TAG, MOUNT_TAG, config};
use coracle_virtio::device::{file_system, id};
use coracle_virtio::queue::QueueError;

/// The only queue of a device for 9P.
const REQUESTS: u16 = 0;
/// Descriptors at most, as QEMU has them.
const QUEUE_SIZE: u16 = 128;

/// A queue of the device.
struct Line {
    queue: Mutex<Exchanges<Token>>,
    doorbell: Doorbell,
}

/// The device.
pub struct Share {
    transport: Transport,
    name: Vec<u8>,
    /// The queue of what has an answer.
    requests: Line,
    /// That of what has none, if it is another.
    urgent: Option<Line>,
    descriptors: u16,
    /// A bit for each tag that is in use.
    tags: AtomicU64,
    is_broken: AtomicBool,
    /// Told when exchanges are done, or tags free.
    room: PollSource,
}

/// An exchange that a thread waits for.
pub struct Waiting {
    thread: Arc<Thread>,
    /// Bytes of the answer; [`NOT_DONE`].
    len: AtomicU32,
}

/// The answer has not come.
const NOT_DONE: u32 = u32::MAX;

impl Waiting {
    /// For the running thread. ENOMEM.
    fn new() -> Result<Arc<Waiting>, Errno> {
        let thread = coracle_core::this::with(Arc::clone);
        Ok(try_arc(Waiting { thread, len: AtomicU32::new(NOT_DONE) })?)
    }
    fn finish(&self, len: u32) {
        self.len.store(len.min(NOT_DONE - 1), Ordering::Release);
        sched::unpark(&self.thread);
    }
    fn answer(&self) -> Option<usize> {
        match self.len.load(Ordering::Acquire) {
            NOT_DONE => None,
            len => Some(len as usize),
        }
    }
    /// Waits for the answer, and returns how many bytes it has. Hold no lock. `gives_up`: EINTR if the process is about to end.
    pub fn wait(&self, gives_up: bool) -> Result<usize, Errno> {
        loop {
            if let Some(len) = self.answer() {
                return Ok(len);
            }
            if gives_up && is_ending() {
                return Err(Errno::INTR);
            }
            sched::park_aside(None);
        }
    }
}

/// Whether the process is about to end.
fn is_ending() -> bool {
    coracle_core::this::with(|me| me.work().any(Work::EXIT))
}

/// What is kept of an exchange while the device has it.
enum Token {
    Waited(Arc<Waiting>),
    /// No thread waits for it: the tag is free when it is done.
    Alone(u16),
}

impl Share {
    /// Sets the device up.
    pub fn new(transport: Transport) -> Result<Share, SetupError> {
        let is_9p = transport.device_type() == id::SHARE;
        let own = if is_9p { MOUNT_TAG } else { 0 };
        if transport.negotiate(own)? & own != own {
            return Err(SetupError::Features);
        }
        let (tag, len) = match is_9p {
            true => (config::TAG, usize::from(transport.config_u16(config::TAG_LEN)).min(LONGEST_TAG)),
            false => (file_system::TAG, file_system::TAG_BYTES),
        };
        let tag = (0..len).map(|at| transport.config_u8(tag + at));
        let name = tag.take_while(|&byte| is_9p || byte != 0).try_collect_vec();
        let number = if is_9p { REQUESTS } else { file_system::REQUEST_QUEUE };
        let descriptors = transport.queue_size(number, QUEUE_SIZE);
        let line = |number: u16| {
            let size = transport.queue_size(number, QUEUE_SIZE);
            let (queue, doorbell) = transport.exchanges(number, size, false)?;
            Ok(Line { queue: Mutex::new(queue), doorbell })
        };
        let requests = line(number)?;
        let urgent = if is_9p { None } else { Some(line(file_system::URGENT_QUEUE)?) };
        transport.start();
        let share = Share {
            name: name.map_err(|_| SetupError::Memory)?,
            transport,
            requests,
            urgent,
            descriptors,
            tags: AtomicU64::new(0),
            is_broken: AtomicBool::new(false),
            room: PollSource::new(),
        };
        share.lines().for_each(|line| {
            line.queue.lock().request_interrupt();
        });
        Ok(share)
    }

    fn lines(&self) -> impl Iterator<Item = &Line> {
        self.urgent.iter().chain([&self.requests])
    }

    /// Whether it speaks 9P, and not FUSE.
    pub fn is_9p(&self) -> bool {
        self.urgent.is_none()
    }

    /// Its mount tag.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Frames of data that an exchange may have beside its messages.
    pub fn most_frames(&self) -> usize {
        /// Descriptors of the messages themselves.
        const MESSAGES: usize = 4;
        usize::from(self.descriptors).saturating_sub(MESSAGES)
    }

    /// A tag that is free, if there is one.
    pub fn try_tag(&self) -> Option<u16> {
        let free = |tags: u64| (tags != u64::MAX).then(|| tags | (tags + 1));
        let before = self.tags.fetch_update(Ordering::Acquire, Ordering::Relaxed, free).ok()?;
        Some(before.trailing_ones() as u16)
    }

    /// Waits for a tag. `gives_up`: EINTR if the process is about to end.
    pub fn tag(&self, gives_up: bool) -> Result<u16, Errno> {
        self.until(gives_up, || self.try_tag().ok_or(()))
    }

    /// The answer to an exchange with this tag was read.
    pub fn free_tag(&self, tag: u16) {
        self.tags.fetch_and(!(1 << tag), Ordering::Release);
        self.room.notify(Events::OUT);
    }

    /// Tries until it works, whenever there may be room. `gives_up`: EINTR if the process is about to end.
    fn until<T>(&self, gives_up: bool, mut attempt: impl FnMut() -> Result<T, ()>) -> Result<T, Errno> {
        let mut result = None;
        wait_until(&self.room, Events::OUT, &mut || {
            result = match attempt() {
                Ok(value) => Some(Ok(value)),
                Err(()) if gives_up && is_ending() => Some(Err(Errno::INTR)),
                Err(()) => None,
            };
            result.is_some()
        });
        result.unwrap_or(Err(Errno::IO))
    }

    /// Gives the device an exchange, and returns what to wait for. Waits for room; hold no lock.
    ///
    /// # Errors
    /// ENOTCONN if nothing serves it any more, EIO if it can never take it; ENOMEM; EINTR if it `gives_up` and the process is about to end.
    pub fn submit(&self, exchange: Exchange, gives_up: bool) -> Result<Arc<Waiting>, Errno> {
        let waiting = Waiting::new()?;
        let mut left = Some((exchange, Token::Waited(waiting.clone())));
        self.until(gives_up, || {
            let Some((exchange, token)) = left.take() else { return Ok(Err(Errno::IO)) };
            match self.add(exchange, token) {
                Ok(()) => Ok(Ok(())),
                Err(refused) if refused.is_full => {
                    left = Some((refused.exchange, refused.token));
                    Err(())
                }
                Err(_) => Ok(Err(if self.is_broken() { Errno::NOTCONN } else { Errno::IO })),
            }
        })??;
        Ok(waiting)
    }

    /// Gives the device an exchange whose answer does not matter; its tag is freed when it is done. False, and the tag is free: there is
    /// no room.
    pub fn submit_alone(&self, exchange: Exchange, tag: u16) -> bool {
        let is_taken = self.add(exchange, Token::Alone(tag)).is_ok();
        if !is_taken {
            self.free_tag(tag);
        }
        is_taken
    }

    fn add(&self, exchange: Exchange, token: Token) -> Result<(), Refused<Token>> {
        let line = self.urgent.as_ref().filter(|_| exchange.received.is_empty()).unwrap_or(&self.requests);
        let mut queue = line.queue.lock();
        // With the lock: what was added before the device broke is found then.
        if self.is_broken() {
            return Err(Refused { exchange, token, is_full: false });
        }
        queue.add(exchange, token)?;
        let rings = queue.publish();
        // With the queue free again: the device may do its work before this returns.
        drop(queue);
        if rings {
            line.doorbell.ring();
        }
        Ok(())
    }

    /// Whether nothing serves it any more.
    pub fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Acquire)
    }

    /// Nothing serves it any more: threads that wait for it go on, with an error.
    pub fn abandon(&self) {
        self.is_broken.store(true, Ordering::Release);
        for line in self.lines() {
            // None of them comes back, nor do the frames that the device may still write to.
            line.queue.lock().each_outstanding(|token| self.finish(token, 0));
        }
        self.room.notify(Events::OUT);
    }

    /// Takes what the device is done with, if it has interrupted.
    pub fn poll(&self) {
        if self.transport.acknowledge() {
            let any = self.lines().fold(false, |any, line| self.drain(line) | any);
            if any {
                self.room.notify(Events::OUT);
            }
        }
    }

    fn finish(&self, token: &Token, len: u32) {
        match token {
            Token::Waited(waiting) => waiting.finish(len),
            Token::Alone(tag) => {
                self.tags.fetch_and(!(1 << tag), Ordering::Release);
            }
        }
    }

    /// Takes all that the device is done with, and asks for an interrupt with the next. True if there was something.
    fn drain(&self, line: &Line) -> bool {
        let mut queue = line.queue.lock();
        let mut any = false;
        loop {
            match queue.pop() {
                Ok(Some((token, len))) => {
                    any = true;
                    self.finish(&token, len);
                }
                Ok(None) if queue.request_interrupt() => {}
                Ok(None) | Err(QueueError::Broken) => return any,
                Err(error) => {
                    drop(queue);
                    log!("a shared directory is gone: {error}");
                    self.abandon();
                    return true;
                }
            }
        }
    }
}
