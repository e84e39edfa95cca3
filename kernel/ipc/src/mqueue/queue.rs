//! A queue: sending, receiving, and the threads that wait for either.
use super::notification::Notification;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use coracle_core::errno::Errno;
use coracle_core::ipc::poll::{Events, PollSource, block_until};
use coracle_core::lock::Mutex;
use coracle_core::task::process::Process;
use coracle_core::task::user_count::{UserCounts, UserShare};
use coracle_core::time::wall::Deadline;
use coracle_fallible::prelude::*;
use coracle_fallible::try_arc;
use coracle_hal::frame::{self, Watermark};
use coracle_mqueue::{Attributes, Message, Queue};
use linux_raw_sys::general::RLIMIT_MSGQUEUE;

/// Bytes of the queues that each user made (RLIMIT_MSGQUEUE).
static CHARGED: UserCounts = UserCounts::new();

/// A queue of messages.
pub struct MessageQueue {
    /// How large it is.
    pub attributes: Attributes,
    state: Mutex<State>,
    /// IN: a message came; OUT: there is room.
    changed: PollSource,
    _charge: UserShare,
}

struct State {
    queue: Queue,
    /// The threads that wait for a message, in the order in which they came. With any, the queue is empty.
    receivers: VecDeque<Arc<Receiver>>,
    notification: Option<Notification>,
}

/// Where a waiting thread finds its message.
#[derive(Default)]
struct Receiver(Mutex<Option<Message>>);

impl MessageQueue {
    /// An empty queue that counts for the user of `maker`. EMFILE beyond RLIMIT_MSGQUEUE (mq_open(3)); ENOMEM.
    pub fn new(attributes: Attributes, maker: &Process) -> Result<Arc<MessageQueue>, Errno> {
        // It stays when its maker ends.
        if frame::is_below(Watermark::High) {
            return Err(Errno::NOMEM);
        }
        let limit = maker.limits.soft(RLIMIT_MSGQUEUE);
        let charge =
            CHARGED.add_within(maker.user(), attributes.charged_bytes(), limit)?.ok_or(Errno::MFILE)?;
        let state = State { queue: Queue::new(), receivers: VecDeque::new(), notification: None };
        Ok(try_arc(MessageQueue {
            attributes,
            state: Mutex::new(state),
            changed: PollSource::new(),
            _charge: charge,
        })?)
    }

    /// Where it announces messages and room.
    pub fn source(&self) -> &PollSource {
        &self.changed
    }

    /// What a poll reports.
    pub fn readiness(&self) -> Events {
        let len = self.len() as u64;
        let mut events = Events::empty();
        events.set(Events::IN, len > 0);
        events.set(Events::OUT, len < self.attributes.messages);
        events
    }

    /// Number of messages.
    pub fn len(&self) -> usize {
        self.state.lock().queue.len()
    }

    /// Looks at the bytes of all messages, and at the registered notification.
    pub fn with_notification<R>(&self, look: impl FnOnce(u64, Option<&Notification>) -> R) -> R {
        let state = self.state.lock();
        look(state.queue.bytes(), state.notification.as_ref())
    }

    /// Sends a message; `deadline`: until when it waits for room. EAGAIN, EINTR, ENOMEM, ETIMEDOUT.
    pub fn send(&self, message: Message, nonblock: bool, deadline: Option<Deadline>) -> Result<(), Errno> {
        let mut message = Some(message);
        let mut due = None;
        let attempt = || {
            let mut state = self.state.lock();
            if state.queue.len() as u64 >= self.attributes.messages {
                return Err(Errno::AGAIN);
            }
            if let Some(receiver) = state.receivers.pop_front() {
                *receiver.0.lock() = message.take();
                return Ok(());
            }
            if frame::is_below(Watermark::High) {
                return Err(Errno::NOMEM);
            }
            if let Some(message) = message.take() {
                state.queue.push(message)?;
            }
            // A process hears of a message that comes into an empty queue, once (mq_notify(3)).
            if state.queue.len() == 1 {
                due = state.notification.take();
            }
            Ok(())
        };
        timed_out(nonblock, block_until(&self.changed, Events::OUT, nonblock, deadline, attempt))?;
        self.changed.notify(Events::IN);
        if let Some(notification) = due {
            notification.send();
        }
        Ok(())
    }

    /// Takes the first message; `deadline`: until when it waits for one. EAGAIN, EINTR, ENOMEM, ETIMEDOUT.
    pub fn receive(&self, nonblock: bool, deadline: Option<Deadline>) -> Result<Message, Errno> {
        let mut waiting: Option<Arc<Receiver>> = None;
        let attempt = || {
            let mut state = self.state.lock();
            if let Some(receiver) = &waiting {
                return receiver.0.lock().take().ok_or(Errno::AGAIN);
            }
            if let Some(message) = state.queue.pop() {
                return Ok(message);
            }
            if !nonblock {
                let receiver = try_arc(Receiver::default())?;
                state.receivers.try_push_back(receiver.clone())?;
                waiting = Some(receiver);
            }
            Err(Errno::AGAIN)
        };
        let mut received = block_until(&self.changed, Events::IN, nonblock, deadline, attempt);
        if received.is_err()
            && let Some(receiver) = &waiting
        {
            self.state.lock().receivers.retain(|other| !Arc::ptr_eq(other, receiver));
            // One that came in the meantime is not lost.
            if let Some(message) = receiver.0.lock().take() {
                received = Ok(message);
            }
        }
        let message = timed_out(nonblock, received)?;
        if waiting.is_none() {
            self.changed.notify(Events::OUT);
        }
        Ok(message)
    }

    /// Registers a process to be notified. EBUSY if one is.
    pub fn register(&self, notification: Notification) -> Result<(), Errno> {
        let mut state = self.state.lock();
        if state.notification.as_ref().is_some_and(Notification::is_alive) {
            return Err(Errno::BUSY);
        }
        let old = state.notification.replace(notification);
        drop(state);
        drop(old);
        Ok(())
    }

    /// Process `pid` is not to be notified any more.
    pub fn unregister(&self, pid: i32) {
        let mut state = self.state.lock();
        let removed = state.notification.take_if(|notification| notification.is_of(pid));
        drop(state);
        if let Some(notification) = removed {
            notification.end();
        }
    }
}

/// The error of a wait whose deadline has passed.
fn timed_out<T>(nonblock: bool, result: Result<T, Errno>) -> Result<T, Errno> {
    result.map_err(|error| if error == Errno::AGAIN && !nonblock { Errno::TIMEDOUT } else { error })
}
