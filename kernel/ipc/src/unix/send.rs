//! Sending: a message goes straight into its receiver's inbox.
use super::address;
use super::collect::{self, Moving};
use super::in_flight::InFlight;
use super::inbox::Message;
use super::kernel;
use super::socket::{Kind, REAL, Role, UnixSocket, credentials_by};
use alloc::sync::Arc;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::ipc::poll::{Events, block_on_events};
use coracle_core::mm::user_buf::UserBuf;
use coracle_core::net::socket::{Control, SocketAddress, UnixName};
use coracle_fallible::filled;
use coracle_hal::frame::{self, Watermark};
use linux_raw_sys::net as n;

/// Largest piece of a stream that is one message.
const STREAM_PIECE: usize = 32 * 1024;

impl UnixSocket {
    /// Puts a message into this socket's inbox: EAGAIN if there is no room, EPIPE or ECONNREFUSED if it takes none.
    fn deliver(
        &self,
        message: &mut Option<Message>,
        capacity: usize,
        sender: &UnixSocket,
    ) -> Result<(), Errno> {
        let mut moving =
            message.as_ref().is_some_and(|message| !message.rights.is_empty()).then(Moving::begin);
        let mut state = self.state.lock();
        if state.closed {
            return Err(if self.kind == Kind::Datagram { Errno::CONNREFUSED } else { Errno::PIPE });
        }
        if state.read_closed {
            return kernel::deliver(state, message);
        }
        // A connected datagram socket hears its peer alone.
        if self.kind == Kind::Datagram
            && let Role::Connected(peer) = &state.role
            && !core::ptr::eq(peer.as_ptr(), sender)
        {
            return Err(Errno::PERM);
        }
        if !state.inbox.has_room(capacity) {
            return Err(Errno::AGAIN);
        }
        if message.is_some() {
            state.inbox.make_room()?;
        }
        if let (Some(moving), Some(message)) = (&mut moving, message.as_mut()) {
            let holder = state.listener.unwrap_or_else(|| self.key());
            let suspect = message.rights.enter(moving, holder)?;
            suspect.into_iter().for_each(collect::look_after_call);
        }
        if let Some(message) = message.take() {
            state.inbox.push(message);
        }
        Ok(())
    }

    /// ECONNRESET, once, or EPIPE if the socket sends no more: what a call learns that waits for room.
    fn can_send(&self) -> Result<(), Errno> {
        let mut state = self.state.lock();
        match state.error.take() {
            Some(error) => Err(error),
            None if state.write_closed => Err(Errno::PIPE),
            None => Ok(()),
        }
    }

    /// Sends one message, waiting for room unless `nonblock`.
    fn send_message(
        &self,
        to: &Arc<UnixSocket>,
        message: Message,
        nonblock: bool,
        deadline: Option<u64>,
    ) -> Result<(), Errno> {
        let capacity = self.state.lock().options.capacity;
        let mut message = Some(message);
        block_on_events(&to.room, Events::OUT, nonblock, deadline, || {
            self.can_send()?;
            to.deliver(&mut message, capacity, self)
        })?;
        to.source.notify(Events::IN);
        Ok(())
    }

    /// sendmsg(2).
    pub(super) fn send_from(
        &self,
        src: &mut UserBuf,
        to: Option<&SocketAddress>,
        flags: u32,
        control: Option<&mut Control>,
    ) -> SysResult {
        if flags & n::MSG_OOB != 0 {
            return Err(Errno::OPNOTSUPP);
        }
        if frame::is_below(Watermark::High) {
            return Err(Errno::NOBUFS);
        }
        let nonblock = flags & n::MSG_DONTWAIT != 0;
        let (deadline, write_closed, capacity, peer) = {
            let state = self.state.lock();
            let peer = match &state.role {
                Role::Connected(peer) => Some(peer.upgrade()),
                _ => None,
            };
            (state.options.send_deadline(), state.write_closed, state.options.capacity, peer)
        };
        let connected = peer.is_some();
        if write_closed && (connected || self.kind == Kind::Datagram) {
            return Err(Errno::PIPE);
        }
        let target = match (self.kind, to) {
            (Kind::Datagram, Some(SocketAddress::Unix(name))) => address::find(self.net, name)?,
            (Kind::Datagram, Some(_)) => return Err(Errno::INVAL),
            (Kind::Stream, Some(_)) if connected => return Err(Errno::ISCONN),
            (Kind::Stream, Some(_)) => return Err(Errno::OPNOTSUPP),
            _ => match peer.flatten() {
                Some(peer) => peer,
                None if !connected => return Err(Errno::NOTCONN),
                None if self.kind == Kind::Datagram => {
                    self.forget_peer();
                    return Err(Errno::CONNREFUSED);
                }
                None => return Err(Errno::PIPE),
            },
        };
        if target.kind != self.kind {
            return Err(Errno::PROTOTYPE);
        }
        let told = control.as_ref().and_then(|control| control.credentials);
        let credentials = told.unwrap_or_else(|| credentials_by(REAL));
        let rights = control.map(|control| core::mem::take(&mut control.rights)).unwrap_or_default();
        let mut rights = InFlight::new(rights)?;
        if self.kind != Kind::Stream {
            let from = self.name();
            if src.remaining() > capacity {
                return Err(Errno::MSGSIZE);
            }
            let mut bytes = filled(0, src.remaining()).map_err(|_| Errno::NOBUFS)?;
            let len = bytes.len();
            // A packet goes whole, or not at all.
            if src.take(&mut bytes)? < len {
                return Err(Errno::FAULT);
            }
            self.send_message(
                &target,
                Message {
                    charge: Message::charge_of(self.kind, len),
                    bytes,
                    start: 0,
                    from,
                    rights,
                    credentials,
                },
                nonblock,
                deadline,
            )?;
            return Ok(len);
        }
        let mut done = 0;
        while src.remaining() > 0 {
            // Looked at first, so that nothing is taken from the program that can't be sent.
            let room = block_on_events(&target.room, Events::OUT, nonblock, deadline, || {
                self.can_send()?;
                target.deliver(&mut None, capacity, self)
            });
            let piece = room.and_then(|()| {
                let piece = src.remaining().min(STREAM_PIECE);
                let mut bytes = filled(0, piece).map_err(|_| Errno::NOBUFS)?;
                let len = src.take(&mut bytes)?;
                bytes.truncate(len);
                Ok(bytes)
            });
            let result = piece.and_then(|bytes| {
                let len = bytes.len();
                let message = Message {
                    bytes,
                    start: 0,
                    charge: Message::charge_of(self.kind, len),
                    from: UnixName::new(),
                    rights: core::mem::take(&mut rights),
                    credentials,
                };
                self.send_message(&target, message, nonblock, deadline).map(|()| len)
            });
            match result {
                Ok(len) => done += len,
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }
}
