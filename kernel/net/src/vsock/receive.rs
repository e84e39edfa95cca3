//! Receiving: bytes of a stream, or one message.
use super::socket::{Phase, State, VsockSocket};
use coracle_core::errno::Errno;
use coracle_core::mm::user_buf::UserBuf;
use coracle_core::net::socket::{Received, receive_waiting};
use coracle_virtio::device::vsock::{operation, shutdown};
use linux_raw_sys::net as n;

impl VsockSocket {
    /// recvmsg(2).
    pub(super) fn receive_into(&self, dst: &mut UserBuf, flags: u32) -> Result<Received, Errno> {
        let deadline = self.common.receive_deadline();
        receive_waiting(&self.source, deadline, !self.has_packets, (dst, flags), |dst, found| {
            self.try_receive(dst, flags, found)
        })
    }

    /// Receives what is there: EAGAIN if nothing is.
    fn try_receive(&self, dst: &mut UserBuf, flags: u32, found: &mut Received) -> Result<(), Errno> {
        loop {
            let wanted = dst.remaining();
            let (link, is_stuck) = {
                let mut state = self.state.lock();
                match state.phase {
                    Phase::Connected | Phase::Over => {}
                    _ => return Err(Errno::NOTCONN),
                }
                if flags & n::MSG_OOB != 0 {
                    return Err(Errno::OPNOTSUPP);
                }
                if state.shut & shutdown::RECEIVE != 0 || wanted == 0 {
                    return Ok(());
                }
                if !state.has_data(self.has_packets) {
                    return match state.error {
                        Some(error) => Err(error),
                        None if state.peer_shut & shutdown::SEND != 0 => Ok(()),
                        None => Err(Errno::AGAIN),
                    };
                }
                let copy = if self.has_packets { copy_message } else { copy_stream };
                let is_stuck = copy(&mut state, dst, flags, found);
                if state.credit.must_tell(self.has_packets) && matches!(state.phase, Phase::Connected) {
                    // Without memory the peer asks, or hears of it with the next packet.
                    let _ = self.say(&mut state, operation::CREDIT_UPDATE, 0);
                }
                (state.link, is_stuck)
            };
            link.kick();
            if !is_stuck {
                return Ok(());
            }
            let left = dst.remaining();
            match dst.resolve() {
                Ok(()) if !self.has_packets || dst.remaining() == left => {}
                Err(_) if !self.has_packets && found.len > 0 => return Ok(()),
                Err(error) if !self.has_packets => return Err(error),
                // A message is lost that can't be delivered whole.
                _ => {
                    found.len = 0;
                    if flags & n::MSG_PEEK == 0 {
                        take_message(&mut self.state.lock());
                    }
                    return Err(Errno::FAULT);
                }
            }
        }
    }
}

/// Copies bytes of a stream. True: a page of the program is not there.
fn copy_stream(state: &mut State, dst: &mut UserBuf, flags: u32, found: &mut Received) -> bool {
    let is_peek = flags & n::MSG_PEEK != 0;
    // Bytes peeked at before a page fault are not copied twice.
    let skip = if is_peek { found.len } else { 0 };
    let wanted = (state.credit.waiting() as usize).saturating_sub(skip).min(dst.remaining());
    let copied = state.inbox.copy(skip, wanted, dst);
    found.len += copied;
    if !is_peek {
        state.inbox.take(copied);
        state.credit.take(copied as u32);
    }
    copied < wanted
}

/// Copies a message, as much of it as there is room for. True: a page of the program is not there.
fn copy_message(state: &mut State, dst: &mut UserBuf, flags: u32, found: &mut Received) -> bool {
    let Some(message) = state.inbox.message() else { return false };
    let wanted = message.len.saturating_sub(found.len).min(dst.remaining());
    let copied = state.inbox.copy(found.len, wanted, dst);
    found.len += copied;
    if copied < wanted {
        return true;
    }
    if found.len < message.len {
        found.flags |= n::MSG_TRUNC;
    }
    if message.is_record {
        found.flags |= n::MSG_EOR;
    }
    if flags & n::MSG_TRUNC != 0 {
        found.len = message.len;
    }
    if flags & n::MSG_PEEK == 0 {
        take_message(state);
    }
    false
}

/// Takes the first message out.
fn take_message(state: &mut State) {
    if let Some(message) = state.inbox.message() {
        state.inbox.take_message();
        state.credit.take(message.len as u32);
    }
}
