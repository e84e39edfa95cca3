//! Sending: the credit is taken first, then the bytes from the program, and then packets are queued.
use super::socket::{Phase, State, VsockSocket};
use alloc::vec::Vec;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::ipc::poll::{Events, block_on_events};
use coracle_core::mm::user_buf::UserBuf;
use coracle_devices::virtio::vsock::Packet;
use coracle_fallible::prelude::*;
use coracle_hal::frame::{self, Watermark};
use coracle_hal::io::dma::PacketBuffer;
use coracle_virtio::device::vsock::{HEADER_BYTES, message, operation, shutdown};
use linux_raw_sys::net as n;

/// Bytes that a buffer has room for behind the header.
const PAYLOAD: usize = PacketBuffer::SIZE - HEADER_BYTES;
/// Bytes of a stream that are sent at a time.
const PIECE: usize = 16 * PAYLOAD;

/// Whether a socket may send: ENOTCONN, EPIPE, or the error that it has.
fn may_send(state: &State) -> Result<(), Errno> {
    if state.shut & shutdown::SEND != 0 || state.peer_shut & shutdown::RECEIVE != 0 {
        return Err(Errno::PIPE);
    }
    match (state.error, &state.phase) {
        (_, Phase::Idle | Phase::Listening { .. } | Phase::Connecting) => Err(Errno::NOTCONN),
        (Some(error), _) => Err(error),
        _ => Ok(()),
    }
}

impl VsockSocket {
    /// sendmsg(2). `has_address`: the program named a receiver.
    pub(super) fn send_from(&self, src: &mut UserBuf, has_address: bool, flags: u32) -> SysResult {
        if flags & n::MSG_OOB != 0 {
            return Err(Errno::OPNOTSUPP);
        }
        {
            let state = self.state.lock();
            if has_address {
                let is_connected = matches!(state.phase, Phase::Connected);
                return Err(if is_connected { Errno::ISCONN } else { Errno::OPNOTSUPP });
            }
            may_send(&state)?;
        }
        if frame::is_below(Watermark::High) {
            return Err(Errno::NOBUFS);
        }
        let nonblock = flags & n::MSG_DONTWAIT != 0;
        let deadline = self.common.send_deadline();
        let mut done = 0;
        while src.remaining() > 0 {
            let wanted = if self.has_packets { src.remaining() } else { src.remaining().min(PIECE) };
            let room =
                block_on_events(&self.source, Events::OUT, nonblock, deadline, || self.take_credit(wanted));
            match room.and_then(|len| self.send_bytes(src, len, flags)) {
                Ok(len) => done += len,
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// Takes credit for `wanted` bytes, or for fewer of a stream. EAGAIN without any: the peer was asked for more.
    fn take_credit(&self, wanted: usize) -> Result<usize, Errno> {
        let link = {
            let mut state = self.state.lock();
            may_send(&state)?;
            if self.has_packets && wanted > state.credit.longest_message() as usize {
                return Err(Errno::MSGSIZE);
            }
            let room = state.credit.room() as usize;
            let least = if self.has_packets { wanted } else { 1 };
            if room >= least {
                if state.link.is_full(self) {
                    return Err(Errno::AGAIN);
                }
                let len = room.min(wanted);
                state.credit.send(len as u32);
                return Ok(len);
            }
            if core::mem::replace(&mut state.has_asked, true) {
                return Err(Errno::AGAIN);
            }
            self.say(&mut state, operation::CREDIT_REQUEST, 0)?;
            state.link
        };
        link.kick();
        Err(Errno::AGAIN)
    }

    /// Sends up to `len` bytes, for which there is credit. EFAULT, ENOBUFS, and what keeps the socket from sending by now.
    fn send_bytes(&self, src: &mut UserBuf, len: usize, flags: u32) -> Result<usize, Errno> {
        let pieces = pieces(src, len, self.has_packets);
        let mut state = self.state.lock();
        let link = state.link;
        let sent = pieces.and_then(|pieces| {
            may_send(&state)?;
            let end = if flags & n::MSG_EOR != 0 { message::END | message::RECORD } else { message::END };
            let mut left = pieces.len();
            let total = pieces.iter().map(|(_, len)| len).sum();
            let packets = pieces.into_iter().map(|(buffer, len)| {
                left -= 1;
                let flags = if left == 0 && self.has_packets { end } else { 0 };
                self.packet(&mut state, operation::RW, flags, buffer, len)
            });
            link.send(packets)?;
            Ok(total)
        });
        state.credit.take_back((len - sent.unwrap_or(0)) as u32);
        drop(state);
        link.kick();
        sent
    }
}

/// The next `len` bytes of a program, each piece behind the place for a header; fewer if the program has no more. EFAULT if it has
/// none, or not all of a `message`; ENOBUFS.
fn pieces(src: &mut UserBuf, len: usize, message: bool) -> Result<Vec<Packet>, Errno> {
    let mut pieces = Vec::new();
    let mut left = len;
    while left > 0 {
        let mut buffer = PacketBuffer::alloc().ok_or(Errno::NOBUFS)?;
        let place = &mut buffer.as_mut_slice()[HEADER_BYTES..][..left.min(PAYLOAD)];
        let wanted = place.len();
        let taken = match src.take(place) {
            Ok(taken) if taken == wanted || !message => taken,
            Err(_) if left < len && !message => 0,
            Ok(_) => return Err(Errno::FAULT),
            Err(error) => return Err(error),
        };
        left -= taken;
        if taken > 0 {
            pieces.try_push((buffer, taken)).map_err(|_| Errno::NOBUFS)?;
        }
        if taken < wanted {
            break;
        }
    }
    Ok(pieces)
}
