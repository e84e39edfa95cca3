//! The messages of a queue: those of the highest priority first, and of these the oldest (mq_receive(3)).
//!
//! A binary heap in one vector: adding and taking are logarithmic, and the vector's growth is the only allocation.
use alloc::vec::Vec;
use coracle_fallible::{NoMemory, TryVec as _};

/// The highest priority (MQ_PRIO_MAX - 1).
pub const MAX_PRIORITY: u32 = 32_767;

/// A message.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// Its priority.
    pub priority: u32,
    /// Its text.
    pub bytes: Vec<u8>,
}

struct Entry {
    message: Message,
    /// How many were added before.
    order: u64,
}

impl Entry {
    /// Whether it leaves the queue before `other`.
    fn precedes(&self, other: &Entry) -> bool {
        (self.message.priority, other.order) > (other.message.priority, self.order)
    }
}

/// The messages.
#[derive(Default)]
pub struct Queue {
    /// No entry precedes the one at half its index (rounded down, of indices counted from 1).
    heap: Vec<Entry>,
    added: u64,
    bytes: u64,
}

impl Queue {
    /// Without messages.
    pub const fn new() -> Self {
        Queue { heap: Vec::new(), added: 0, bytes: 0 }
    }

    /// Number of messages.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// True without messages.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// Bytes of all messages.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds a message.
    ///
    /// # Errors
    /// [`NoMemory`]; the message is dropped.
    pub fn push(&mut self, message: Message) -> Result<(), NoMemory> {
        let bytes = message.bytes.len() as u64;
        self.heap.try_push(Entry { message, order: self.added })?;
        self.added += 1;
        self.bytes += bytes;
        let mut at = self.heap.len() - 1;
        while at > 0 {
            let parent = (at - 1) / 2;
            if !self.heap[at].precedes(&self.heap[parent]) {
                break;
            }
            self.heap.swap(at, parent);
            at = parent;
        }
        Ok(())
    }

    /// Takes the first message.
    pub fn pop(&mut self) -> Option<Message> {
        if self.heap.is_empty() {
            return None;
        }
        let taken = self.heap.swap_remove(0).message;
        let mut at = 0;
        loop {
            let children = 2 * at + 1..self.heap.len().min(2 * at + 3);
            let first = children.reduce(|a, b| if self.heap[b].precedes(&self.heap[a]) { b } else { a });
            match first {
                Some(child) if self.heap[child].precedes(&self.heap[at]) => {
                    self.heap.swap(at, child);
                    at = child;
                }
                _ => break,
            }
        }
        self.bytes -= taken.bytes.len() as u64;
        // A queue that was long once gives its memory back.
        if self.heap.is_empty() {
            self.heap = Vec::new();
        }
        Some(taken)
    }
}
