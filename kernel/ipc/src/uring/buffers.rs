//! Buffers that a program provides, of which a read or a receive takes one (io_uring_buf_ring_setup(3), IORING_OP_PROVIDE_BUFFERS).
use alloc::collections::VecDeque;
use coracle_core::errno::Errno;
use coracle_core::mm::user;
use coracle_fallible::prelude::*;

/// Bytes of an entry of a ring of buffers (`struct io_uring_buf`), and where the program's index is in the first.
const ENTRY_BYTES: usize = 16;
const TAIL_AT: usize = 14;

/// Buffers that one group may list at most.
const MOST_BUFFERS: usize = 65_536;

/// A buffer that was chosen.
#[derive(Clone, Copy)]
pub struct Chosen {
    /// Where it is.
    pub address: usize,
    /// Its bytes.
    pub len: u32,
    /// Its number, which the completion tells.
    pub id: u16,
}

/// A group of buffers.
pub enum Group {
    /// A list, which requests fill.
    List(VecDeque<Chosen>),
    /// A ring in the program's memory.
    Ring {
        /// Where it is.
        address: usize,
        /// Its entries, a power of two.
        entries: u32,
        /// The next to be taken.
        head: u16,
        /// Those before it that were taken and not used: they are the first to be taken.
        returned: VecDeque<Chosen>,
    },
}

impl Group {
    /// Takes `count` buffers, `len` bytes each, one after the other in memory, with rising numbers from `id` on. ENOMEM, E2BIG.
    pub fn provide(&mut self, address: usize, len: u32, id: u16, count: u32) -> Result<(), Errno> {
        let Group::List(list) = self else { return Err(Errno::INVAL) };
        let most = list.len() + count as usize;
        if most > MOST_BUFFERS {
            return Err(Errno::TOOBIG);
        }
        list.make_room_for(most)?;
        for n in 0..count {
            let address = address + n as usize * len as usize;
            list.push_back_reserved(Chosen { address, len, id: id.wrapping_add(n as u16) });
        }
        Ok(())
    }

    /// Forgets up to `count` buffers; returns how many. EINVAL for a ring.
    pub fn remove(&mut self, count: u32) -> Result<usize, Errno> {
        let Group::List(list) = self else { return Err(Errno::INVAL) };
        let count = list.len().min(count as usize);
        drop(list.drain(..count));
        Ok(count)
    }

    /// A buffer was not used after all. ENOMEM.
    pub fn put_back(&mut self, buffer: Chosen) -> Result<(), Errno> {
        let (Group::List(list) | Group::Ring { returned: list, .. }) = self;
        let len = list.len();
        list.make_room_for(len + 1)?;
        list.push_front_reserved(buffer);
        Ok(())
    }

    /// The next buffer of a list, or one that was returned to a ring; `None`: the ring's next is to be looked at. ENOBUFS.
    pub fn take_listed(&mut self) -> Option<Result<Chosen, Errno>> {
        match self {
            Group::List(list) => Some(list.pop_front().ok_or(Errno::NOBUFS)),
            Group::Ring { returned, .. } => returned.pop_front().map(Ok),
        }
    }

    /// Takes the buffer at `index` of the ring at `at`, which the caller has looked at. False: another request has taken it.
    pub fn take_next(&mut self, at: usize, index: u16) -> bool {
        match self {
            Group::Ring { address, head, .. } if *address == at && *head == index => {
                *head = head.wrapping_add(1);
                true
            }
            _ => false,
        }
    }
}

/// The buffer at `head` of a ring in the program's memory. ENOBUFS, EFAULT.
pub fn peek(address: usize, entries: u32, head: u16) -> Result<Chosen, Errno> {
    let mut tail = [0; 2];
    user::read(&mut tail, address + TAIL_AT)?;
    if u16::from_le_bytes(tail) == head {
        return Err(Errno::NOBUFS);
    }
    let index = usize::from(head) & (entries as usize - 1);
    let [buffer, what] = user::read_words(address + index * ENTRY_BYTES)?;
    Ok(Chosen { address: buffer as usize, len: what as u32, id: (what >> 32) as u16 })
}
