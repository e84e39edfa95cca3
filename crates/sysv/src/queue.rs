//! A queue of messages (msgop(2)).
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use coracle_fallible::{NoMemory, TryDeque as _};

/// A message.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// Its type, above zero.
    pub kind: i64,
    /// Its text.
    pub bytes: Vec<u8>,
}

/// Which message a receiver wants (`msgtyp` and the flags of msgrcv(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// The first.
    First,
    /// The first of this type.
    Of(i64),
    /// The first of another type than this (MSG_EXCEPT).
    Except(i64),
    /// The first of the lowest type that is not above this.
    UpTo(i64),
    /// That at a position (MSG_COPY).
    At(usize),
}

/// The queue.
pub struct Queue {
    messages: VecDeque<Message>,
    bytes: usize,
    capacity: usize,
}

impl Queue {
    /// Without messages; `capacity` in bytes.
    pub const fn new(capacity: usize) -> Self {
        Queue { messages: VecDeque::new(), bytes: 0, capacity }
    }

    /// Number of messages.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// True without messages.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Bytes of all messages.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes that it takes, and messages: one without bytes counts, too.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Changes the capacity (IPC_SET). Queued messages stay.
    pub fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity;
    }

    /// Whether a message of that size fits now.
    pub fn has_room_for(&self, bytes: usize) -> bool {
        self.bytes + bytes <= self.capacity && self.messages.len() < self.capacity
    }

    /// Adds a message. The caller has seen that it fits.
    ///
    /// # Errors
    /// [`NoMemory`].
    pub fn push(&mut self, message: Message) -> Result<(), NoMemory> {
        let bytes = message.bytes.len();
        self.messages.make_room_for(self.messages.len() + 1)?;
        self.messages.push_back_reserved(message);
        self.bytes += bytes;
        Ok(())
    }

    /// The position of the message that is wanted.
    pub fn find(&self, selection: Selection) -> Option<usize> {
        let mut kinds = self.messages.iter().map(|message| message.kind);
        match selection {
            Selection::First => (!self.messages.is_empty()).then_some(0),
            Selection::Of(wanted) => kinds.position(|kind| kind == wanted),
            Selection::Except(unwanted) => kinds.position(|kind| kind != unwanted),
            Selection::UpTo(limit) => {
                let eligible = kinds.enumerate().filter(|&(_, kind)| kind <= limit);
                eligible.min_by_key(|&(_, kind)| kind).map(|(position, _)| position)
            }
            Selection::At(position) => (position < self.messages.len()).then_some(position),
        }
    }

    /// The message at a position.
    pub fn get(&self, position: usize) -> Option<&Message> {
        self.messages.get(position)
    }

    /// Takes the message at a position.
    pub fn take(&mut self, position: usize) -> Option<Message> {
        let message = self.messages.remove(position)?;
        self.bytes -= message.bytes.len();
        // A queue that was long once releases its memory.
        if self.messages.is_empty() {
            self.messages = VecDeque::new();
        }
        Some(message)
    }
}
