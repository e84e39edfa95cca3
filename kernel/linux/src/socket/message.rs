//! Messages: their headers, and sending and receiving them.
use super::address::read_destination;
use super::object::{effective, file, socket_of, with_sigpipe};
use crate::call::Call;
use crate::file::vector;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::file::OpenFile;
use coracle_core::mm::user;
use coracle_core::mm::user_buf::{KeptPieces, MAX_PIECES, Pieces, UserBuf};
use coracle_core::net::socket::{Socket, SocketAddress};
use coracle_core::task::long_call;
use linux_raw_sys::net as n;

/// `struct msghdr`: its size, and offsets of what recvmsg(2) writes.
const MSGHDR_WORDS: usize = 7;
const MSG_NAMELEN_AT: usize = 8;
const MSG_CONTROLLEN_AT: usize = 40;
const MSG_FLAGS_AT: usize = 48;
/// recvmmsg(2): don't wait after the first message.
const MSG_WAITFORONE: u32 = 0x10000;
/// `struct mmsghdr`: a `msghdr` and the length.
const MMSGHDR_BYTES: usize = 64;
const MMSG_LEN_AT: usize = 56;

/// A `struct msghdr` as the program gave it, and where.
pub(super) struct Message {
    at: usize,
    words: [[u8; 8]; MSGHDR_WORDS],
}

impl Message {
    /// The header at `at`, not read yet: it is filled where it lies.
    #[inline(always)]
    fn at(at: usize) -> Message {
        Message { at, words: const { [[0; 8]; MSGHDR_WORDS] } }
    }

    /// Reads it: EMSGSIZE if its vector is too long; EFAULT.
    #[inline(never)]
    fn read(&mut self) -> Result<(), Errno> {
        self.read_inline()
    }

    /// [`Message::read`] for what every request does.
    #[inline(always)]
    fn read_inline(&mut self) -> Result<(), Errno> {
        user::read_inline(self.words.as_flattened_mut(), self.at)?;
        if self.vector().1 > MAX_PIECES { Err(Errno::MSGSIZE) } else { Ok(()) }
    }

    #[inline(always)]
    fn word(&self, n: usize) -> usize {
        usize::from_le_bytes(self.words[n])
    }

    /// Address and length of a socket's address.
    #[inline(always)]
    fn name(&self) -> (usize, i32) {
        (self.word(0), self.word(1) as i32)
    }

    /// Address and length of the iovec array.
    #[inline(always)]
    fn vector(&self) -> (usize, usize) {
        (self.word(2), self.word(3))
    }

    /// Address and length of control data.
    #[inline(always)]
    pub(super) fn control(&self) -> (usize, usize) {
        (self.word(4), self.word(5))
    }

    /// Sends the message whose header is at `at`.
    #[inline(never)]
    fn send(call: &Call, file: &OpenFile, at: usize, flags: u32) -> SysResult {
        let mut message = Message::at(at);
        message.read_inline()?;
        let socket = socket_of(file)?;
        let flags = effective(file, flags);
        let ((_, name_len), (_, control_len)) = (message.name(), message.control());
        if name_len != 0 || control_len != 0 {
            return message.send_with_more(call, socket, flags);
        }
        let (vector, count) = message.vector();
        let mut pieces = Pieces::new();
        let mut src = pieces.read(vector, count)?;
        with_sigpipe(socket.send(&mut src, None, flags, None), flags)
    }

    /// Sends a message that has an address or control data.
    #[cold]
    #[inline(never)]
    fn send_with_more(&self, call: &Call, socket: &dyn Socket, flags: u32) -> SysResult {
        let to = match self.name() {
            (0, _) | (_, 0) => None,
            (addr, len) => read_destination(socket, addr, len)?,
        };
        let mut control = self.given_control(call, socket)?;
        let (at, count) = self.vector();
        let mut pieces = Pieces::new();
        let mut src = vector(&mut pieces, at, count)?;
        with_sigpipe(socket.send(&mut src, to.as_ref(), flags, Some(&mut control)), flags)
    }

    fn receive(&self, call: &Call, file: &OpenFile, flags: u32) -> SysResult {
        let (vector, count) = self.vector();
        let mut pieces = Pieces::new();
        let mut dst = pieces.read(vector, count)?;
        self.receive_into(call, file, effective(file, flags), &mut dst)
    }

    fn receive_into(&self, call: &Call, file: &OpenFile, flags: u32, dst: &mut UserBuf) -> SysResult {
        let received = socket_of(file)?.receive(dst, flags)?;
        let (name_at, name_len) = self.name();
        let len = received.len;
        if name_at != 0 {
            let name = received.from.as_ref().map(SocketAddress::encode).unwrap_or_default();
            let room = usize::try_from(name_len).map_err(|_| Errno::INVAL)?;
            user::write(name_at, &name[..name.len().min(room)])?;
            user::write_u32(self.at.wrapping_add(MSG_NAMELEN_AT), name.len() as u32)?;
        }
        let (control_len, flags) = self.give_control(call, received, flags)?;
        user::write_u64(self.at.wrapping_add(MSG_CONTROLLEN_AT), control_len as u64)?;
        user::write_u32(self.at.wrapping_add(MSG_FLAGS_AT), flags)?;
        Ok(len)
    }
}

/// A `struct msghdr` with its vector, for calls that use it when the program may have changed it.
pub(crate) struct KeptMessage<'a> {
    message: Message,
    pieces: &'a KeptPieces,
}

impl KeptMessage<'_> {
    /// The words of the header at `at`, and its vector. EFAULT, EINVAL, EMSGSIZE, ENOMEM.
    pub(crate) fn read(at: usize) -> Result<([u64; MSGHDR_WORDS], KeptPieces), Errno> {
        let mut message = Message::at(at);
        message.read()?;
        let (addr, count) = message.vector();
        Ok((message.words.map(u64::from_le_bytes), KeptPieces::read(addr, count)?))
    }

    /// The one whose header was at `at`.
    pub(crate) fn new(at: usize, words: [u64; MSGHDR_WORDS], pieces: &KeptPieces) -> KeptMessage<'_> {
        KeptMessage { message: Message { at, words: words.map(u64::to_le_bytes) }, pieces }
    }

    /// Its vector.
    pub(crate) fn pieces(&self) -> &KeptPieces {
        self.pieces
    }

    /// Sends it. No SIGPIPE.
    pub(crate) fn send(&self, call: &Call, file: &OpenFile, flags: u32) -> SysResult {
        let socket = socket_of(file)?;
        let to = match self.message.name() {
            (0, _) | (_, 0) => None,
            (addr, len) => read_destination(socket, addr, len)?,
        };
        let mut control = self.message.given_control(call, socket)?;
        socket.send(&mut self.pieces.buffer(), to.as_ref(), flags, Some(&mut control))
    }

    /// Receives a message into `len` bytes at `address`: a `struct io_uring_recvmsg_out`, the sender's address and control data in as
    /// much room as the header has, and then the payload. Returns how many bytes that are, and those of the payload. EFAULT where
    /// there is no room.
    pub(crate) fn receive_whole(
        &self,
        call: &Call,
        file: &OpenFile,
        flags: u32,
        address: usize,
        len: usize,
    ) -> Result<(usize, usize), Errno> {
        /// Bytes of the structure, and the place of the address of control data in a header.
        const HEAD: usize = 16;
        const CONTROL_WORD: usize = MSG_CONTROLLEN_AT / 8 - 1;
        let (_, name_room) = self.message.name();
        let name_room = usize::try_from(name_room).map_err(|_| Errno::INVAL)?;
        let (_, control_room) = self.message.control();
        let start = HEAD.checked_add(name_room).and_then(|at| at.checked_add(control_room));
        let start = start.filter(|start| *start <= len).ok_or(Errno::FAULT)?;
        let mut dst = UserBuf::user(address + start, len - start);
        let received = socket_of(file)?.receive(&mut dst, flags)?;
        let payload = received.len;
        let from = received.from.as_ref().filter(|_| name_room > 0);
        let name = from.map(SocketAddress::encode).unwrap_or_default();
        let mut words = self.message.words;
        words[CONTROL_WORD] = (address + HEAD + name_room).to_le_bytes();
        let (control, flags) = Message { at: 0, words }.give_control(call, received, flags)?;
        let head = [name.len() as u32, control as u32, payload as u32, flags];
        user::write(address, head.map(u32::to_le_bytes).as_flattened())?;
        user::write(address + HEAD, &name[..name.len().min(name_room)])?;
        Ok((start + payload.min(len - start), payload))
    }

    /// Receives a message into `dst`, and writes what else there is of it where the header says.
    pub(crate) fn receive(&self, call: &Call, file: &OpenFile, flags: u32, dst: &mut UserBuf) -> SysResult {
        self.message.receive_into(call, file, flags, dst)
    }
}

/// sendmsg(2)
#[inline]
pub fn sendmsg(call: &Call) -> SysResult {
    let file = file(call, call.i32(0))?;
    Message::send(call, &file, call.usize(1), call.u32(2))
}

/// recvmsg(2)
#[inline]
pub fn recvmsg(call: &Call) -> SysResult {
    let file = file(call, call.i32(0))?;
    let mut message = Message::at(call.usize(1));
    message.read()?;
    message.receive(call, &file, call.u32(2))
}

/// sendmmsg(2)
pub fn sendmmsg(call: &Call) -> SysResult {
    let file = file(call, call.i32(0))?;
    let flags = call.u32(3);
    each_message(call, |at| Message::send(call, &file, at, flags))
}

/// recvmmsg(2). As on Linux, the time-out is looked at after each datagram.
pub fn recvmmsg(call: &Call) -> SysResult {
    let file = file(call, call.i32(0))?;
    let mut flags = call.u32(3);
    let wait_for_one = flags & MSG_WAITFORONE != 0;
    flags &= !MSG_WAITFORONE;
    let deadline = match call.usize(4) {
        0 => None,
        at => {
            let [seconds, nanos]: [u64; 2] = user::read_words(at)?;
            if nanos >= 1_000_000_000 {
                return Err(Errno::INVAL);
            }
            let ns = seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
            Some(coracle_hal::time::now_ns().saturating_add(ns))
        }
    };
    each_message(call, |at| {
        if deadline.is_some_and(|at| at <= coracle_hal::time::now_ns()) {
            flags |= n::MSG_DONTWAIT;
        }
        let mut message = Message::at(at);
        message.read()?;
        let len = message.receive(call, &file, flags)?;
        if wait_for_one {
            flags |= n::MSG_DONTWAIT;
        }
        Ok(len)
    })
}

/// Calls `f` for the place of each message of an `mmsghdr` array until one fails; gives how many succeeded, or the first's error.
fn each_message(call: &Call, mut f: impl FnMut(usize) -> SysResult) -> SysResult {
    let (base, count) = (call.usize(1), (call.u32(2) as usize).min(MAX_PIECES));
    for index in 0..count {
        let at = base.wrapping_add(index * MMSGHDR_BYTES);
        let done = f(at).and_then(|len| user::write_u32(at.wrapping_add(MMSG_LEN_AT), len as u32));
        match done {
            Ok(()) => {}
            Err(error) if index == 0 => return Err(error),
            Err(_) => return Ok(index),
        }
        if index + 1 < count && long_call::pause_unless_killed().is_err() {
            return Ok(index + 1);
        }
    }
    Ok(count)
}
