//! Queues of messages (msgop(2), msgctl(2)).
use super::object::{self, Object};
use crate::space::{Handle, Space};
use alloc::sync::Arc;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::ipc::poll::{Events, PollSource, block_on_events};
use coracle_core::lock::Mutex;
use coracle_fallible::prelude::*;
use coracle_hal::frame::{self, Watermark};
use coracle_sysv::{Message, Permission, Queue, READ, Registry, Selection, WRITE};

/// Bytes of a message at most (MSGMAX).
pub const MAX_MESSAGE: usize = 8192;
/// Bytes that a new queue takes; more needs CAP_SYS_RESOURCE (MSGMNB).
pub const DEFAULT_CAPACITY: usize = 16_384;
/// Queues at most (MSGMNI).
pub const MAX_QUEUES: usize = 32_000;

/// A queue with what is known of its use.
pub struct MessageQueue {
    state: Mutex<State>,
    /// IN: a message came; OUT: there is room; both: the queue is removed.
    changed: PollSource,
}

/// What the lock of a queue guards.
pub struct State {
    /// Owner and mode.
    pub permission: Permission,
    /// The messages.
    pub queue: Queue,
    /// Times of the last send, receive and change, in seconds; 0: never.
    pub sent_s: u64,
    /// See `sent_s`.
    pub received_s: u64,
    /// See `sent_s`.
    pub changed_s: u64,
    /// Processes of the last send and receive.
    pub sender: i32,
    /// See `sender`.
    pub receiver: i32,
    removed: bool,
}

/// What a receiver gets of a message that does not fit its buffer, or one that it does not take.
#[derive(Clone, Copy, Debug)]
pub struct Receive {
    /// Which message.
    pub selection: Selection,
    /// Bytes that fit.
    pub room: usize,
    /// A longer one is cut (MSG_NOERROR); else E2BIG.
    pub cuts: bool,
    /// The message stays (MSG_COPY).
    pub copies: bool,
    /// Without one the call fails (ENOMSG).
    pub no_wait: bool,
}

impl Object for MessageQueue {
    const LIMIT: usize = MAX_QUEUES;
    fn all(space: &Space) -> &Mutex<Registry<Arc<Self>>> {
        &space.queues
    }
    fn permission(&self) -> Permission {
        self.state.lock().permission
    }
}

/// msgget(2).
pub fn find_or_make(key: i32, flags: u32) -> SysResult {
    object::find_or_make(
        key,
        flags,
        |_: &MessageQueue| Ok(()),
        |permission| {
            let state = State {
                permission,
                queue: Queue::new(DEFAULT_CAPACITY),
                sent_s: 0,
                received_s: 0,
                changed_s: object::now_s(),
                sender: 0,
                receiver: 0,
                removed: false,
            };
            Ok(MessageQueue { state: Mutex::new(state), changed: PollSource::new() })
        },
    )
}

/// A relative wait does not start anew after a handler (signal(7)).
fn not_started_again(error: Errno) -> Errno {
    if error == Errno::RESTARTSYS { Errno::RESTARTNOHAND } else { error }
}

impl MessageQueue {
    /// Looks at the queue or changes it. EIDRM.
    pub fn with<R>(&self, f: impl FnOnce(&mut State) -> Result<R, Errno>) -> Result<R, Errno> {
        let mut state = self.state.lock();
        if state.removed { Err(Errno::IDRM) } else { f(&mut state) }
    }

    /// More may fit now.
    pub fn grown(&self) {
        self.changed.notify(Events::OUT);
    }

    /// msgsnd(2). EACCES, EAGAIN, EIDRM, EINTR, ENOMEM.
    pub fn send(&self, message: Message, no_wait: bool) -> Result<(), Errno> {
        let pid = coracle_core::this::with(|thread| thread.process.pid);
        let mut message = Some(message);
        let attempt = || {
            self.with(|state| {
                object::check(&state.permission, WRITE)?;
                let bytes = message.as_ref().map_or(0, |message| message.bytes.len());
                if !state.queue.has_room_for(bytes) {
                    return Err(Errno::AGAIN);
                }
                if frame::is_below(Watermark::High) {
                    return Err(Errno::NOMEM);
                }
                if let Some(message) = message.take() {
                    state.queue.push(message)?;
                }
                state.sent_s = object::now_s();
                state.sender = pid;
                Ok(())
            })
        };
        block_on_events(&self.changed, Events::OUT, no_wait, None, attempt).map_err(not_started_again)?;
        self.changed.notify(Events::IN);
        Ok(())
    }

    /// msgrcv(2). EACCES, E2BIG, EIDRM, EINTR, ENOMEM, ENOMSG.
    pub fn receive(&self, wanted: &Receive) -> Result<Message, Errno> {
        let pid = coracle_core::this::with(|thread| thread.process.pid);
        let attempt = || {
            self.with(|state| {
                object::check(&state.permission, READ)?;
                let position = state.queue.find(wanted.selection).ok_or(Errno::AGAIN)?;
                let found = state.queue.get(position).ok_or(Errno::AGAIN)?;
                if found.bytes.len() > wanted.room && !wanted.cuts {
                    return Err(Errno::TOOBIG);
                }
                if wanted.copies {
                    return Ok(Message { kind: found.kind, bytes: found.bytes.try_to_vec()? });
                }
                let message = state.queue.take(position).ok_or(Errno::AGAIN)?;
                state.received_s = object::now_s();
                state.receiver = pid;
                Ok(message)
            })
        };
        let received = block_on_events(&self.changed, Events::IN, wanted.no_wait, None, attempt);
        let message = received.map_err(|error| match error {
            Errno::AGAIN => Errno::NOMSG,
            other => not_started_again(other),
        })?;
        self.changed.notify(Events::OUT);
        Ok(message)
    }
}

/// IPC_RMID: sleeping threads get EIDRM. EINVAL, EIDRM, EPERM.
pub fn remove(id: i32) -> Result<(), Errno> {
    let queue = {
        let handle = Handle::own();
        let mut queues = handle.space()?.queues.lock();
        object::check_control(&queues.get(id)?.permission())?;
        queues.remove(id)?
    };
    queue.state.lock().removed = true;
    queue.changed.notify(Events::IN | Events::OUT);
    Ok(())
}

/// Queues, messages and bytes in all (MSG_INFO).
pub fn totals() -> (usize, usize, usize) {
    let handle = Handle::own();
    let Some(space) = handle.used() else { return (0, 0, 0) };
    let queues = space.queues.lock();
    let (mut messages, mut bytes, mut from) = (0, 0, 0);
    while let Some((index, _, queue)) = queues.next_from(from) {
        let state = queue.state.lock();
        messages += state.queue.len();
        bytes += state.queue.bytes();
        from = index + 1;
    }
    (queues.len(), messages, bytes)
}
