//! Receiving: bytes of a stream, over the borders of messages, or one packet.
use super::collect::Moving;
use super::inbox::{Inbox, Message};
use super::socket::{Kind, Role, State, UnixSocket};
use coracle_core::errno::Errno;
use coracle_core::ipc::poll::Events;
use coracle_core::mm::user_buf::UserBuf;
use coracle_core::net::socket::{Received, Rights, SocketAddress, receive_waiting};
use coracle_fallible::prelude::*;
use coracle_hal::sync::MutexGuard;
use linux_raw_sys::net as n;

impl UnixSocket {
    /// recvmsg(2).
    pub(super) fn receive_into(&self, dst: &mut UserBuf, flags: u32) -> Result<Received, Errno> {
        if flags & n::MSG_OOB != 0 {
            return Err(Errno::OPNOTSUPP);
        }
        let deadline = self.state.lock().options.receive_deadline();
        receive_waiting(&self.source, deadline, self.kind == Kind::Stream, (dst, flags), |dst, found| {
            self.try_receive(dst, flags, found)
        })
    }

    /// Locks the socket, with what it takes to receive descriptors if the next message has some.
    fn lock_inbox(&self) -> (Option<Moving>, MutexGuard<'_, State>) {
        let mut state = self.state.lock();
        if state.inbox.front().is_none_or(|message| message.rights.is_empty()) {
            return (None, state);
        }
        drop(state);
        let moving = Moving::begin();
        (Some(moving), self.state.lock())
    }

    /// Receives into `dst` what is there: EAGAIN if nothing is.
    fn try_receive(&self, dst: &mut UserBuf, flags: u32, found: &mut Received) -> Result<(), Errno> {
        let peek = flags & n::MSG_PEEK != 0;
        loop {
            let mut freed = false;
            let (mut moving, mut state) = self.lock_inbox();
            if matches!(state.role, Role::Listening { .. }) {
                return Err(if self.kind == Kind::Stream { Errno::INVAL } else { Errno::NOTCONN });
            }
            if state.inbox.is_empty() {
                if let Some(error) = state.error.take() {
                    return Err(error);
                }
                if self.kind != Kind::Datagram && matches!(state.role, Role::None) {
                    return Err(if self.kind == Kind::Stream { Errno::INVAL } else { Errno::NOTCONN });
                }
                // Of datagrams only a call that can wait learns that no more will come (Linux's `__skb_wait_for_more_packets`).
                let may_tell = self.kind != Kind::Datagram || flags & n::MSG_DONTWAIT == 0;
                return if state.read_closed && may_tell { Ok(()) } else { Err(Errno::AGAIN) };
            }
            let pass = state.options.pass_credentials;
            let faulted = match self.kind {
                Kind::Stream if peek => peek_stream(&state.inbox, dst, found, pass)?,
                Kind::Stream => take_stream(&mut state.inbox, dst, found, pass, &mut moving, &mut freed)?,
                _ => take_packet(&mut state.inbox, dst, flags, found, pass, &mut moving, &mut freed)?,
            };
            drop(state);
            drop(moving);
            if freed || found.len > 0 {
                self.tell_of_room();
                if self.kind != Kind::Datagram
                    && let Some(peer) = self.peer()
                {
                    peer.source.notify(Events::OUT);
                }
            }
            if !faulted {
                return Ok(());
            }
            let wanted = dst.remaining();
            match dst.resolve() {
                Ok(()) if self.kind == Kind::Stream || dst.remaining() == wanted => {}
                Err(_) if found.len > 0 && self.kind == Kind::Stream => return Ok(()),
                Err(error) if self.kind == Kind::Stream => return Err(error),
                // As on Linux, a packet is lost if it can't be delivered whole.
                _ => {
                    let lost = if peek { None } else { self.state.lock().inbox.pop() };
                    drop(lost);
                    found.len = 0;
                    return Err(Errno::FAULT);
                }
            }
        }
    }
}

/// Notes what comes with a message; its descriptors have arrived, if `moving` is given and they aren't peeked at only.
fn note(
    found: &mut Received,
    message: &mut Message,
    pass: bool,
    peek: bool,
    moving: &mut Option<Moving>,
) -> Result<(), Errno> {
    if found.from.is_none() && !message.from.is_empty() {
        found.from = Some(SocketAddress::Unix(message.from.clone()));
    }
    if pass {
        found.credentials = Some(message.credentials);
    }
    if peek {
        peek_rights(found, message)?;
    } else if let Some(moving) = moving
        && !message.rights.is_empty()
    {
        found.rights = message.rights.arrive(moving);
    }
    Ok(())
}

/// Notes the descriptors of a message that stays. They are noted once: letting go of some takes the lock that is held.
fn peek_rights(found: &mut Received, message: &Message) -> Result<(), Errno> {
    if found.rights.0.is_empty() {
        found.rights = Rights(message.rights.files().try_to_vec()?);
    }
    Ok(())
}

/// Takes bytes off the stream, over several messages as long as they come from one sender and pass no descriptors; true
/// if a page of the program wasn't there. A call for no bytes takes what comes with the next ones, as on Linux.
fn take_stream(
    inbox: &mut Inbox,
    dst: &mut UserBuf,
    found: &mut Received,
    pass: bool,
    moving: &mut Option<Moving>,
    freed: &mut bool,
) -> Result<bool, Errno> {
    while let Some(message) = inbox.front() {
        let begins_anew = !message.rights.is_empty()
            || (pass && found.credentials.is_some_and(|known| known != message.credentials));
        if begins_anew && found.len > 0 {
            break;
        }
        let want = message.rest().len().min(dst.remaining());
        let n = dst.put_nofault(&message.bytes[message.start..message.start + want]);
        if n > 0 || want == 0 {
            note(found, message, pass, false, moving)?;
        }
        found.len += n;
        // Its descriptors were taken out: dropping it closes nothing.
        *freed |= inbox.consume(n).is_some();
        if n < want {
            return Ok(true);
        }
        // As on Linux, bytes that come with descriptors are the last of a call.
        if dst.remaining() == 0 || !found.rights.0.is_empty() {
            break;
        }
    }
    Ok(false)
}

fn peek_stream(inbox: &Inbox, dst: &mut UserBuf, found: &mut Received, pass: bool) -> Result<bool, Errno> {
    // Bytes peeked before a page fault are not copied twice.
    let mut skip = found.len;
    for message in inbox.iter() {
        let rest = message.rest();
        if skip >= rest.len() {
            skip -= rest.len();
            continue;
        }
        if !message.rights.is_empty() && found.len > 0 {
            break;
        }
        let want = (rest.len() - skip).min(dst.remaining());
        let n = dst.put_nofault(&rest[skip..skip + want]);
        skip = 0;
        found.len += n;
        peek_rights(found, message)?;
        if pass {
            found.credentials = Some(message.credentials);
        }
        if n < want {
            return Ok(true);
        }
        if dst.remaining() == 0 || !found.rights.0.is_empty() {
            break;
        }
    }
    Ok(false)
}

fn take_packet(
    inbox: &mut Inbox,
    dst: &mut UserBuf,
    flags: u32,
    found: &mut Received,
    pass: bool,
    moving: &mut Option<Moving>,
    freed: &mut bool,
) -> Result<bool, Errno> {
    let peek = flags & n::MSG_PEEK != 0;
    let Some(message) = inbox.front() else { return Ok(false) };
    let whole = message.bytes.len();
    let from = found.len;
    let want = (whole - from).min(dst.remaining());
    let n = dst.put_nofault(&message.bytes[from..from + want]);
    found.len += n;
    if n < want {
        return Ok(true);
    }
    note(found, message, pass, peek, moving)?;
    if found.len < whole {
        found.flags |= n::MSG_TRUNC;
    }
    if flags & n::MSG_TRUNC != 0 {
        found.len = whole;
    }
    if !peek {
        *freed |= inbox.pop().is_some();
    }
    Ok(false)
}
