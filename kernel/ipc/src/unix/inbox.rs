//! What was sent to a socket and not received yet.
use super::in_flight::InFlight;
use super::socket::Kind;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::mm::memory::PAGE_SIZE;
use coracle_core::net::socket::UnixName;
use coracle_fallible::prelude::*;

/// What messages may count for that wait at a receiver, in bytes (Linux's net.core.wmem_default).
pub const DEFAULT_CAPACITY: usize = 212_992;
/// What Linux counts of a message beside its bytes: `struct sk_buff`, and `struct skb_shared_info` behind the bytes.
const BUFFER: usize = 256;
const SHARED_INFO: usize = 320;
/// The smallest piece of memory for bytes with what is behind them. Larger ones are powers of two.
const SMALLEST_PIECE: usize = 512;
/// Bytes of a message that Linux puts into one piece of memory; the others take pages. Of a stream they are what fits one
/// page (SKB_MAX_HEAD), of a packet what fits four (SKB_MAX_ALLOC).
const STREAM_PIECE: usize = PAGE_SIZE - SHARED_INFO;
const PACKET_PIECE: usize = 4 * PAGE_SIZE - SHARED_INFO;

/// Who sent: process, user and group id.
pub type Credentials = (i32, u32, u32);

/// One datagram, or a piece of a stream.
pub struct Message {
    /// The bytes; those before `start` were received already.
    pub bytes: Vec<u8>,
    /// Where what is left begins.
    pub start: usize,
    /// See [`Message::charge_of`].
    pub charge: usize,
    /// The sender's name.
    pub from: UnixName,
    /// Passed descriptors.
    pub rights: InFlight,
    /// The sender.
    pub credentials: Credentials,
}

impl Message {
    /// What it counts for in its inbox, in bytes: as much as on Linux (`skb->truesize`), so that as many fit.
    pub fn charge_of(kind: Kind, len: usize) -> usize {
        let piece = if kind == Kind::Stream { STREAM_PIECE } else { PACKET_PIECE };
        let pages = len.saturating_sub(piece).next_multiple_of(PAGE_SIZE);
        let head = len.saturating_sub(pages) + SHARED_INFO;
        BUFFER + head.next_power_of_two().max(SMALLEST_PIECE) + pages
    }
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
    /// What its messages count for together.
    charge: usize,
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
    /// What its messages count for together (SIOCOUTQ of their sender).
    pub fn charge(&self) -> usize {
        self.charge
    }
    /// Whether more may be sent, where messages may count for `capacity` bytes. The last may go beyond it.
    pub fn has_room(&self, capacity: usize) -> bool {
        self.charge < capacity
    }
    /// Makes room for a message. ENOBUFS.
    pub fn make_room(&mut self) -> Result<(), Errno> {
        self.messages.make_room_for(self.messages.len() + 1).map_err(|_| Errno::NOBUFS)
    }
    /// Appends a message, for which room was made.
    pub fn push(&mut self, message: Message) {
        self.bytes += message.rest().len();
        self.charge += message.charge;
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
    /// The descriptors of each message.
    pub fn rights_mut(&mut self) -> impl Iterator<Item = &mut InFlight> {
        self.messages.iter_mut().map(|message| &mut message.rights)
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
        if front.rest().is_empty() { self.pop() } else { None }
    }
    /// Moves all descriptors of its messages to `list`.
    pub fn take_rights(&mut self, list: &mut InFlight) {
        self.rights_mut().for_each(|rights| rights.move_to(list));
    }
    /// Takes the oldest out.
    pub fn pop(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.rest().len();
        self.charge -= message.charge;
        Some(message)
    }
}
