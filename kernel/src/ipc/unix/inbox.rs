//! What was sent to a socket and not received yet.
use super::in_flight::InFlight;
use crate::errno::Errno;
use crate::net::socket::UnixName;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use coracle_fallible::prelude::*;

/// Bytes that may wait at a receiver (Linux's net.core.wmem_default).
pub const DEFAULT_CAPACITY: usize = 212_992;
/// Datagrams that may wait, whatever their size.
const MAX_DATAGRAMS: usize = 512;

/// Who sent: process, user and group id.
pub type Credentials = (i32, u32, u32);

/// One datagram, or a piece of a stream.
pub struct Message {
    /// The bytes; those before `start` were received already.
    pub bytes: Vec<u8>,
    /// Where what is left begins.
    pub start: usize,
    /// The sender's name.
    pub from: UnixName,
    /// Passed descriptors.
    pub rights: InFlight,
    /// The sender.
    pub credentials: Credentials,
}

impl Message {
    /// What is left of it.
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

/// A queue of messages.
#[derive(Default)]
pub struct Inbox {
    messages: VecDeque<Message>,
    bytes: usize,
}

impl Inbox {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }
    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
    /// Whether more may be sent, where `capacity` bytes may wait.
    pub fn has_room(&self, capacity: usize) -> bool {
        self.bytes < capacity && self.messages.len() < MAX_DATAGRAMS.max(capacity / 128)
    }
    /// Makes room for a message. ENOBUFS.
    pub fn make_room(&mut self) -> Result<(), Errno> {
        self.messages.make_room_for(self.messages.len() + 1).map_err(|_| Errno::NOBUFS)
    }
    /// Appends a message, for which room was made.
    pub fn push(&mut self, message: Message) {
        self.bytes += message.rest().len();
        self.messages.push_back_reserved(message);
    }
    /// The oldest.
    pub fn front(&mut self) -> Option<&mut Message> {
        self.messages.front_mut()
    }
    /// Bytes of the oldest.
    pub fn front_len(&self) -> usize {
        self.messages.front().map_or(0, |message| message.rest().len())
    }
    /// The messages, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Message> {
        self.messages.iter()
    }
    /// `n` bytes of the oldest were received; gives it if nothing is left of it.
    pub fn consume(&mut self, n: usize) -> Option<Message> {
        let front = self.messages.front_mut()?;
        front.start += n;
        self.bytes -= n;
        if front.rest().is_empty() { self.messages.pop_front() } else { None }
    }
    /// Moves all descriptors of its messages to `list`.
    pub fn take_rights(&mut self, list: &mut InFlight) {
        self.messages.iter_mut().for_each(|message| message.rights.move_to(list));
    }
    /// Takes the oldest out.
    pub fn pop(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.rest().len();
        Some(message)
    }
}
