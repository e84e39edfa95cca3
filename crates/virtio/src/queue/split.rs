//! The driver's side of a split queue: chains of buffers are added, and come back in any order.
//!
//! The driver reads nothing back from shared memory to base decisions on, except the used ring and the event index, and
//! these are checked. A device that breaks the rules breaks the queue for good: every later call returns an error, and the
//! buffers that it still holds are never handed out again, because it may yet write to them.
//!
//! The queue has no lock; its owner serialises calls. Adding and taking back a chain costs a number of steps that depends on
//! its pieces only. A doorbell and an interrupt are suppressed by the event index where it was negotiated.
use super::flags;
use super::layout::{DESCRIPTOR_BYTES, Layout, Rings};
use crate::memory::Memory;
use alloc::boxed::Box;
use core::fmt;
use core::sync::atomic::{Ordering, fence};

/// A piece of memory in a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Address as the device sees it.
    pub address: u64,
    /// Length in bytes.
    pub len: u32,
    /// The device writes it (else it reads it).
    pub writable: bool,
}

/// A chain that the device is done with.
#[derive(Debug, PartialEq, Eq)]
pub struct Used<T> {
    /// What was given with the chain.
    pub token: T,
    /// Bytes that the device reports as written, never more than the chain's writable pieces hold.
    pub len: u32,
    /// The slot that the chain had (see [`SplitQueue::next_slot`]).
    pub slot: u16,
}

/// Why a chain could not be added. The token is returned.
#[derive(Debug, PartialEq, Eq)]
pub enum AddError<T> {
    /// No descriptors are free now.
    Full(T),
    /// The chain is empty, longer than the queue, or has a readable piece after a writable one (section 2.7.4.2).
    BadChain(T),
    /// The device broke the rules earlier.
    Broken(T),
}

impl<T> AddError<T> {
    /// The token.
    pub fn into_token(self) -> T {
        match self {
            AddError::Full(token) | AddError::BadChain(token) | AddError::Broken(token) => token,
        }
    }
}

/// How the device broke the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueError {
    /// The used index went further than chains were out.
    UsedIndex {
        /// Chains that the device reports as returned since the last look.
        returned: u16,
        /// Chains that it had.
        outstanding: u16,
    },
    /// A used entry names a chain that the device doesn't have.
    UnknownChain(u32),
    /// A used entry reports more written bytes than there was room.
    TooLong {
        /// Bytes that the device reports as written.
        len: u32,
        /// Room there was.
        room: u32,
    },
    /// One of these was found earlier.
    Broken,
}

impl fmt::Display for QueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QueueError::UsedIndex { returned, outstanding } => {
                write!(f, "the device returned {returned} chains of {outstanding}")
            }
            QueueError::UnknownChain(id) => {
                write!(f, "the device returned chain {id}, which it did not have")
            }
            QueueError::TooLong { len, room } => {
                write!(f, "the device says it wrote {len} bytes where there was room for {room}")
            }
            QueueError::Broken => f.write_str("the device broke the queue's rules earlier"),
        }
    }
}

impl core::error::Error for QueueError {}

/// Marks the end of a list of indices.
const NONE: u16 = u16::MAX;

/// What the driver knows of descriptor `i`, and of the chain that starts there.
struct Slot<T> {
    /// Next descriptor, in a chain or in the list of free ones.
    next: u16,
    /// Of a chain: its last descriptor.
    last: u16,
    /// Of a chain: descriptors it takes in the main table.
    count: u16,
    /// Of a chain: its indirect table, or [`NONE`].
    table: u16,
    /// Of a chain: bytes the device may write.
    room: u32,
    /// Of a chain that the device has: what the driver gave with it.
    token: Option<T>,
}

/// A chain whose descriptors are written: the last one, how many it takes in the main table, its indirect table or
/// [`NONE`], the bytes that the device may write, and the free descriptor behind it.
struct Chain {
    last: u16,
    count: u16,
    table: u16,
    room: u32,
    behind: u16,
}

/// A split queue. `T` is kept for each chain while the device has it: the buffers themselves, usually.
pub struct SplitQueue<M, T> {
    memory: M,
    layout: Layout,
    rings: Rings,
    event_index: bool,
    slots: Box<[Slot<T>]>,
    /// First free descriptor.
    free: u16,
    free_count: u16,
    /// For each indirect table: the next free one.
    table_next: Box<[u16]>,
    free_table: u16,
    /// Index of the next available entry; those before `published` are visible to the device.
    available: u16,
    published: u16,
    /// Index of the next used entry to look at, and the device's index as last read (the same once it broke a rule).
    used: u16,
    used_seen: u16,
    broken: bool,
}

/// Chains longer than this take an indirect table, if there is one: a table costs one descriptor more, but keeps the
/// ring from filling up with the pieces of a few large chains.
const DIRECT_MAX: usize = 3;

impl<M: Memory, T> SplitQueue<M, T> {
    /// A queue in `memory`, which is zeroed and at least `layout.bytes` long (else `None`).
    /// `event_index`: VIRTIO_F_EVENT_IDX was negotiated. Indirect tables are used if the layout has any, so only give
    /// it some if VIRTIO_F_INDIRECT_DESC was.
    pub fn new(memory: M, layout: Layout, event_index: bool) -> Option<Self> {
        if memory.len() < layout.bytes {
            return None;
        }
        let slots = (0..layout.size)
            .map(|i| Slot {
                next: if i + 1 < layout.size { i + 1 } else { NONE },
                last: NONE,
                count: 0,
                table: NONE,
                room: 0,
                token: None,
            })
            .collect();
        let table_next =
            (0..layout.tables).map(|i| if i + 1 < layout.tables { i + 1 } else { NONE }).collect();
        let queue = SplitQueue {
            memory,
            layout,
            rings: layout.rings(),
            event_index,
            slots,
            free: 0,
            free_count: layout.size,
            table_next,
            free_table: if layout.tables > 0 { 0 } else { NONE },
            available: 0,
            published: 0,
            used: 0,
            used_seen: 0,
            broken: false,
        };
        queue.suppress_interrupts();
        Some(queue)
    }

    /// Device addresses of the descriptor table, the available ring and the used ring.
    pub fn addresses(&self) -> [u64; 3] {
        let base = self.memory.address();
        [base, base + self.layout.available as u64, base + self.layout.used as u64]
    }

    /// The queue's memory. What is behind the layout's bytes is the driver's own.
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// Calls `f` with the token of each chain that the device has, or had when it broke the rules.
    pub fn each_token(&self, f: impl FnMut(&T)) {
        self.slots.iter().filter_map(|slot| slot.token.as_ref()).for_each(f);
    }

    /// Number of descriptors.
    pub fn size(&self) -> u16 {
        self.layout.size
    }

    /// Chains that the device has.
    #[inline(always)]
    pub fn outstanding(&self) -> u16 {
        self.available.wrapping_sub(self.used)
    }

    /// Whether the device was shown chains that it has.
    pub fn is_at_work(&self) -> bool {
        self.published != self.used
    }

    /// Descriptors free now.
    #[inline(always)]
    pub fn room(&self) -> u16 {
        self.free_count
    }

    /// The slot (below `size`) that the next chain will have until it is returned, so that the driver can prepare
    /// memory of its own that belongs to the slot. `None` if the queue is full.
    #[inline(always)]
    pub fn next_slot(&self) -> Option<u16> {
        (self.free != NONE).then_some(self.free)
    }

    /// Whether a chain of `pieces` pieces fits now.
    #[inline(always)]
    pub fn fits(&self, pieces: usize) -> bool {
        pieces <= self.free_count as usize
            || (self.free_count > 0 && self.free_table != NONE && pieces <= self.layout.table_len as usize)
    }

    /// Adds a chain: pieces that the device reads, then those it writes. The device sees it after
    /// [`SplitQueue::publish`]. Returns the slot.
    pub fn add(
        &mut self,
        mut pieces: impl ExactSizeIterator<Item = Piece>,
        token: T,
    ) -> Result<u16, AddError<T>> {
        self.add_chain(pieces.len(), token, |_, _| pieces.next())
    }

    /// As [`SplitQueue::add`], for a chain whose pieces follow from the token: `piece` is called with their numbers in order, of which
    /// there are `count`.
    pub fn add_of(
        &mut self,
        count: usize,
        token: T,
        mut piece: impl FnMut(&T, usize) -> Piece,
    ) -> Result<u16, AddError<T>> {
        self.add_chain(count, token, |token, number| Some(piece(token, number)))
    }

    #[inline(always)]
    fn add_chain(
        &mut self,
        count: usize,
        token: T,
        mut piece: impl FnMut(&T, usize) -> Option<Piece>,
    ) -> Result<u16, AddError<T>> {
        if self.broken {
            return Err(AddError::Broken(token));
        }
        if count == 0 || count > self.layout.size.max(self.layout.table_len) as usize {
            return Err(AddError::BadChain(token));
        }
        let indirect = count > DIRECT_MAX.min(self.free_count as usize)
            && count <= self.layout.table_len as usize
            && self.free_table != NONE;
        let needed = if indirect { 1 } else { count };
        if needed > self.free_count as usize {
            return Err(AddError::Full(token));
        }
        let head = self.free;
        let table = if indirect { self.free_table } else { NONE };
        let mut room = 0u32;
        let mut writing = false;
        // The chain takes the free list in its order, so that the list needs no change but its start.
        let (mut last, mut at) = (head, head);
        for number in 0..count {
            let Some(piece) = piece(&token, number).filter(|piece| piece.writable || !writing) else {
                return Err(AddError::BadChain(token));
            };
            writing = piece.writable;
            room = room.saturating_add(if writing { piece.len } else { 0 });
            let more = number + 1 < count;
            if indirect {
                let offset = self.layout.table(table) + number * DESCRIPTOR_BYTES;
                self.descriptor(offset, piece, more, number as u16 + 1);
            } else {
                let next = self.slots[at as usize].next;
                self.descriptor(at as usize * DESCRIPTOR_BYTES, piece, more, next);
                (last, at) = (at, next);
            }
        }
        if indirect {
            let address = self.memory.address() + self.layout.table(table) as u64;
            let tail = (count * DESCRIPTOR_BYTES) as u64 | (flags::INDIRECT as u64) << 32;
            self.memory.write_pair(head as usize * DESCRIPTOR_BYTES, address, tail);
            self.free_table = self.table_next[table as usize];
            at = self.slots[head as usize].next;
        }
        self.hand_over(head, Chain { last, count: needed as u16, table, room, behind: at }, token);
        Ok(head)
    }

    /// As [`SplitQueue::add`], for a chain of one piece.
    #[inline(always)]
    pub fn add_one(&mut self, piece: Piece, token: T) -> Result<u16, AddError<T>> {
        if self.broken || self.free_count < 1 {
            return Err(self.refuse(token));
        }
        let head = self.free;
        let behind = self.slots[head as usize].next;
        self.descriptor(head as usize * DESCRIPTOR_BYTES, piece, false, 0);
        let room = if piece.writable { piece.len } else { 0 };
        self.hand_over(head, Chain { last: head, count: 1, table: NONE, room, behind }, token);
        Ok(head)
    }

    /// Why a chain of one piece is not added.
    #[cold]
    fn refuse(&self, token: T) -> AddError<T> {
        if self.broken { AddError::Broken(token) } else { AddError::Full(token) }
    }

    /// As [`SplitQueue::add`], for a chain of two pieces that the device reads.
    #[inline(always)]
    pub fn add_two(&mut self, first: Piece, second: Piece, token: T) -> Result<u16, AddError<T>> {
        if self.broken || self.free_count < 2 {
            return self.add_slice(&[first, second], token);
        }
        debug_assert!(!first.writable && !second.writable);
        let head = self.free;
        let last = self.slots[head as usize].next;
        let behind = self.slots[last as usize].next;
        self.descriptor(head as usize * DESCRIPTOR_BYTES, first, true, last);
        self.descriptor(last as usize * DESCRIPTOR_BYTES, second, false, 0);
        self.hand_over(head, Chain { last, count: 2, table: NONE, room: 0, behind }, token);
        Ok(head)
    }

    /// As [`SplitQueue::add`], for a chain of three pieces of which the device reads the first and writes the last.
    #[inline(always)]
    pub fn add_three(&mut self, pieces: [Piece; 3], token: T) -> Result<u16, AddError<T>> {
        if self.broken || self.free_count < 3 {
            return self.add_slice(&pieces, token);
        }
        let [first, second, third] = pieces;
        debug_assert!(!first.writable && third.writable);
        let head = self.free;
        let middle = self.slots[head as usize].next;
        let last = self.slots[middle as usize].next;
        let behind = self.slots[last as usize].next;
        self.descriptor(head as usize * DESCRIPTOR_BYTES, first, true, middle);
        self.descriptor(middle as usize * DESCRIPTOR_BYTES, second, true, last);
        self.descriptor(last as usize * DESCRIPTOR_BYTES, third, false, 0);
        let room = third.len.saturating_add(if second.writable { second.len } else { 0 });
        self.hand_over(head, Chain { last, count: 3, table: NONE, room, behind }, token);
        Ok(head)
    }

    /// As [`SplitQueue::add`]; not for where speed matters.
    #[cold]
    #[inline(never)]
    pub fn add_slice(&mut self, pieces: &[Piece], token: T) -> Result<u16, AddError<T>> {
        self.add(pieces.iter().copied(), token)
    }

    /// Takes the descriptors of a chain that was written off the free list, and enters it into the available ring.
    #[inline(always)]
    fn hand_over(&mut self, head: u16, chain: Chain, token: T) {
        self.free = chain.behind;
        self.free_count -= chain.count;
        let slot = &mut self.slots[head as usize];
        slot.last = chain.last;
        slot.count = chain.count;
        slot.table = chain.table;
        slot.room = chain.room;
        // The slot is free, so it holds no token: nothing is lost by not dropping it, but for the code to do so.
        core::mem::forget(slot.token.replace(token));
        let entry = (self.available & (self.layout.size - 1)) as usize;
        self.memory.write_u16(self.rings.available(entry), head);
        self.available = self.available.wrapping_add(1);
    }

    /// Writes one descriptor (section 2.7.5): address, then length, flags and next in one word.
    #[inline(always)]
    fn descriptor(&self, offset: usize, piece: Piece, more: bool, next: u16) {
        let mut flag = if piece.writable { flags::WRITE } else { 0 };
        let mut link = 0;
        if more {
            flag |= flags::NEXT;
            link = next;
        }
        let tail = piece.len as u64 | (flag as u64) << 32 | (link as u64) << 48;
        self.memory.write_pair(offset, piece.address, tail);
    }

    /// Shows the device the chains added since the last call. True if it must be notified (section 2.7.13).
    #[inline(always)]
    pub fn publish(&mut self) -> bool {
        if self.available == self.published {
            return false;
        }
        // The chains' contents must be in memory before the index that makes them the device's.
        fence(Ordering::Release);
        self.memory.write_u16(self.rings.available_index(), self.available);
        let old = core::mem::replace(&mut self.published, self.available);
        // The index must be out before the device's wish is read, or both sides could wait for each other.
        fence(Ordering::SeqCst);
        if self.event_index {
            // The available entry at which the device requests a notification (section 2.7.10), behind the used ring.
            let event = self.memory.read_u16(self.rings.used(self.layout.size as usize));
            passed(event, self.available, old)
        } else {
            self.memory.read_u16(self.rings.used_flags()) & flags::NO_NOTIFY == 0
        }
    }

    /// Whether the device has returned something that [`SplitQueue::pop`] would return. Never true of a broken queue, so that
    /// no caller polls for ever.
    #[inline(always)]
    pub fn has_used(&self) -> bool {
        !self.broken
            && (self.used != self.used_seen || self.memory.read_u16(self.rings.used_index()) != self.used)
    }

    /// The next chain that the device is done with.
    #[inline(always)]
    pub fn pop(&mut self) -> Result<Option<Used<T>>, QueueError> {
        if self.used == self.used_seen && !self.look()? {
            return Ok(None);
        }
        let entry = (self.used & (self.layout.size - 1)) as usize;
        let [id, len] = self.memory.read_u32_pair(self.rings.used(entry));
        let Some(slot) = self.slots.get_mut(id as usize) else {
            return Err(self.fail(QueueError::UnknownChain(id)));
        };
        let room = slot.room;
        if len > room {
            return Err(self.too_long(id, len));
        }
        let Some(token) = slot.token.take() else {
            return Err(self.fail(QueueError::UnknownChain(id)));
        };
        let (last, count, table) = (slot.last, slot.count, slot.table);
        if last as u32 == id {
            slot.next = self.free;
        } else {
            self.slots[last as usize].next = self.free;
        }
        self.free = id as u16;
        self.free_count += count;
        if table != NONE {
            self.table_next[table as usize] = self.free_table;
            self.free_table = table;
        }
        self.used = self.used.wrapping_add(1);
        Ok(Some(Used { token, len, slot: id as u16 }))
    }

    /// Reads the device's index; returns whether it has moved.
    #[inline(always)]
    fn look(&mut self) -> Result<bool, QueueError> {
        let seen = self.memory.read_u16(self.rings.used_index());
        if seen == self.used {
            return Ok(false);
        }
        if self.broken {
            return Err(QueueError::Broken);
        }
        let (returned, outstanding) = (seen.wrapping_sub(self.used), self.outstanding());
        if returned > outstanding {
            return Err(self.fail(QueueError::UsedIndex { returned, outstanding }));
        }
        self.used_seen = seen;
        // What the device wrote before it moved the index is read after the index.
        fence(Ordering::Acquire);
        Ok(true)
    }

    #[cold]
    fn too_long(&mut self, id: u32, len: u32) -> QueueError {
        let error = match &self.slots[id as usize] {
            Slot { token: Some(_), room, .. } => QueueError::TooLong { len, room: *room },
            Slot { token: None, .. } => QueueError::UnknownChain(id),
        };
        self.fail(error)
    }

    #[cold]
    fn fail(&mut self, error: QueueError) -> QueueError {
        self.broken = true;
        self.used_seen = self.used;
        error
    }

    /// Offset of `used_event`: the used entry at which the driver requests an interrupt (section 2.7.7), behind the
    /// available ring.
    #[inline(always)]
    fn used_event(&self) -> usize {
        self.rings.available(self.layout.size as usize)
    }

    /// Asks for an interrupt when the device returns the next chain. True if it has already returned some: then look
    /// again instead of waiting.
    #[inline(always)]
    pub fn request_interrupt(&self) -> bool {
        self.request_interrupt_after(0)
    }

    /// The same, once `more` chains beyond the next were returned (at once without the event index).
    #[inline(always)]
    pub fn request_interrupt_after(&self, more: u16) -> bool {
        if self.event_index {
            self.memory.write_u16(self.used_event(), self.used.wrapping_add(more));
        } else {
            self.memory.write_u16(self.rings.available_flags(), 0);
        }
        fence(Ordering::SeqCst);
        !self.broken
            && (self.used != self.used_seen
                || self.memory.read_u16(self.rings.used_index()).wrapping_sub(self.used) > more)
    }

    /// Suppresses interrupts (a hint: one may still arrive).
    #[inline(always)]
    pub fn suppress_interrupts(&self) {
        if self.event_index {
            // Just passed: the device reaches it again only after 65,535 entries.
            self.memory.write_u16(self.used_event(), self.used.wrapping_sub(1));
        } else {
            self.memory.write_u16(self.rings.available_flags(), flags::NO_INTERRUPT);
        }
    }
}

/// Whether an index that went from `old` to `new` passed `event` (section 2.7.10, `vring_need_event`).
#[inline(always)]
fn passed(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}
