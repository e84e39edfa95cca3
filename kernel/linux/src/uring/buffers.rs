//! Registered and provided buffers.
use alloc::collections::VecDeque;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::mm::user;
use coracle_ipc::uring::{Chosen, Group, Request, given, peek};
use linux_raw_sys::io_uring::{self as abi, io_uring_op as op};

/// Whether an operation may take a provided buffer.
pub fn may_select(operation: op) -> bool {
    matches!(operation, op::IORING_OP_READ | op::IORING_OP_RECV | op::IORING_OP_READV | op::IORING_OP_RECVMSG)
}

/// Where a request reads to or writes from.
pub struct Taken {
    /// The first byte.
    pub address: usize,
    /// How many.
    pub len: u32,
    /// The provided buffer that this is.
    chosen: Option<Chosen>,
}

/// The buffer of a request: a provided one if it asks for that, else `len` bytes at `address`. ENOBUFS.
pub fn take(request: &Request, address: u64, len: u32) -> Result<Taken, Errno> {
    if request.entry.flags & given::BUFFER_SELECT == 0 {
        return Ok(Taken { address: address as usize, len, chosen: None });
    }
    loop {
        let (ring, entries, next) = {
            let mut registered = request.ring.registered.lock();
            let group = registered.groups.get_mut(&request.entry.buffer).ok_or(Errno::NOBUFS)?;
            if let Some(taken) = group.take_listed() {
                return taken.map(|chosen| Taken::provided(chosen, len));
            }
            let Group::Ring { address, entries, head, .. } = group else { return Err(Errno::NOBUFS) };
            (*address, *entries, *head)
        };
        // No lock is held, because the program's memory is looked at. Other threads take buffers meanwhile.
        let chosen = peek(ring, entries, next)?;
        let mut registered = request.ring.registered.lock();
        let group = registered.groups.get_mut(&request.entry.buffer).ok_or(Errno::NOBUFS)?;
        if group.take_next(ring, next) {
            return Ok(Taken::provided(chosen, len));
        }
    }
}

impl Taken {
    fn provided(chosen: Chosen, len: u32) -> Taken {
        let len = if len == 0 { chosen.len } else { len.min(chosen.len) };
        Taken { address: chosen.address, len, chosen: Some(chosen) }
    }

    /// Whether it is one that the program provided for any request.
    pub fn is_provided(&self) -> bool {
        self.chosen.is_some()
    }

    /// It was used: the flags of the completion that tell which it is.
    pub fn use_up(self) -> u32 {
        let of =
            |chosen: Chosen| abi::IORING_CQE_F_BUFFER | u32::from(chosen.id) << abi::IORING_CQE_BUFFER_SHIFT;
        self.chosen.map_or(0, of)
    }

    /// It was not used.
    pub fn put_back(self, request: &Request) {
        let Some(chosen) = self.chosen else { return };
        let mut registered = request.ring.registered.lock();
        if let Some(group) = registered.groups.get_mut(&request.entry.buffer) {
            // Without memory it is lost to the program.
            let _ = group.put_back(chosen);
        }
    }
}

/// The part of a registered buffer that a request names. EFAULT.
pub fn registered(request: &Request) -> Result<(usize, usize), Errno> {
    let registered = request.ring.registered.lock();
    let &(start, len) = registered.buffers.get(usize::from(request.entry.buffer)).ok_or(Errno::FAULT)?;
    let (address, wanted) = (request.entry.address as usize, request.entry.len as usize);
    let is_within = address >= start && address.checked_add(wanted).is_some_and(|end| end <= start + len);
    if is_within { Ok((address, wanted)) } else { Err(Errno::FAULT) }
}

/// Adds buffers to a group (IORING_OP_PROVIDE_BUFFERS).
pub fn provide(request: &Request) -> SysResult {
    let entry = &request.entry;
    let count =
        u32::try_from(entry.fd).ok().filter(|count| (1..=0x1_0000).contains(count)).ok_or(Errno::TOOBIG)?;
    let id = u16::try_from(entry.offset).map_err(|_| Errno::INVAL)?;
    if entry.len == 0 || entry.what_flags != 0 || entry.file_index != 0 {
        return Err(Errno::INVAL);
    }
    let bytes = (entry.len as usize).checked_mul(count as usize).ok_or(Errno::OVERFLOW)?;
    user::check_range(entry.address as usize, bytes)?;
    let mut registered = request.ring.registered.lock();
    let group = registered.groups.get_or_insert_with(entry.buffer, || Group::List(VecDeque::new()))?;
    group.provide(entry.address as usize, entry.len, id, count).map(|()| 0)
}

/// Takes buffers out of a group (IORING_OP_REMOVE_BUFFERS).
pub fn remove(request: &Request) -> SysResult {
    let entry = &request.entry;
    let count = u32::try_from(entry.fd).map_err(|_| Errno::INVAL)?;
    if count == 0 || entry.len != 0 || entry.address != 0 || entry.offset != 0 || entry.what_flags != 0 {
        return Err(Errno::INVAL);
    }
    let mut registered = request.ring.registered.lock();
    registered.groups.get_mut(&entry.buffer).ok_or(Errno::NOENT)?.remove(count)
}
