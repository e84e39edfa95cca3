//! Sockets as files.
use super::socket::{COUNT, OVERHEAD, RawFile, SOCKETS, Waiting};
use crate::ancillary::error_message;
use crate::common::{errno, ioctl_answer};
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::file::File;
use coracle_core::ipc::poll::{Events, PollSource, block_on_events};
use coracle_core::mm::user_buf::UserBuf;
use coracle_core::net::socket::{Control, Received, Socket, SocketAddress};
use coracle_fallible::prelude::*;
use coracle_fallible::{NoMemory, Text};
use coracle_hal::sync::atomic::Ordering;
use coracle_tcpip::{Endpoint, RawWay};
use core::any::Any;
use linux_raw_sys::general::stat as Stat;
use linux_raw_sys::net as n;

impl RawFile {
    fn receive_report(&self, dst: &mut UserBuf) -> Result<Received, Errno> {
        let mut state = self.state.lock();
        let report = state.reports.pop_front().ok_or(Errno::AGAIN)?;
        state.error = state.reports.front().map(|next| errno(next.blame.error));
        drop(state);
        let copied = dst.put(&report.payload)?;
        error_message(self.common.family, &self.wanted, &report, copied)
    }
}

impl File for RawFile {
    fn read(&self, dst: &mut UserBuf, _offset: u64, nonblock: bool) -> SysResult {
        if dst.remaining() == 0 {
            return Ok(0);
        }
        self.receive(dst, if nonblock { n::MSG_DONTWAIT } else { 0 }).map(|received| received.len)
    }

    fn write(&self, src: &mut UserBuf, _offset: u64, _nonblock: bool) -> SysResult {
        self.send_bytes(src, None, 0, None)
    }

    fn stat(&self) -> Result<Stat, Errno> {
        Ok(self.common.stat())
    }

    fn readiness(&self) -> Events {
        let state = self.state.lock();
        let mut events = Events::OUT | Events::WRNORM | Events::WRBAND;
        if !state.queue.is_empty() || state.receive_shut {
            events |= Events::IN | Events::RDNORM;
        }
        if state.error.is_some() || !state.reports.is_empty() {
            events |= Events::ERR;
        }
        events
    }

    fn poll_source(&self) -> Option<&PollSource> {
        Some(&self.watch.source)
    }

    fn ioctl(&self, command: u32, argument: usize) -> SysResult {
        match command {
            linux_raw_sys::ioctl::FIONREAD => {
                let next = self.state.lock().queue.front().map_or(0, |waiting| waiting.bytes.len());
                ioctl_answer(argument, next as u32)
            }
            linux_raw_sys::ioctl::TIOCOUTQ => ioctl_answer(argument, 0),
            _ => crate::interface_ioctl::ioctl_of_inet(self.is_v4(), command, argument),
        }
    }

    fn as_socket(&self) -> Option<&dyn Socket> {
        Some(self)
    }

    fn path(&self, text: &mut Text) -> Result<(), NoMemory> {
        self.common.path(text)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn closed(&self) {
        if !self.common.close() {
            return;
        }
        let mut sockets = SOCKETS.lock();
        let place = sockets.iter().position(|socket| core::ptr::eq(&**socket, self));
        let gone = place.map(|place| sockets.remove(place));
        COUNT.store(sockets.len(), Ordering::Relaxed);
        drop(sockets);
        drop(gone);
    }
}

impl Socket for RawFile {
    fn bind(&self, address: &SocketAddress) -> Result<(), Errno> {
        let local = self.common.to_bind(address)?;
        if !self.common.home.raw_can_be_bound(local.address) {
            return Err(Errno::ADDRNOTAVAIL);
        }
        if self.is_ping() {
            if self.state.lock().ident != 0 {
                return Err(Errno::INVAL);
            }
            self.take_ident(local.port)?;
        }
        self.state.lock().local = local.address;
        Ok(())
    }

    fn connect(&self, address: &SocketAddress, _nonblock: bool) -> Result<(), Errno> {
        if matches!(address, SocketAddress::Unspecified(_)) {
            self.state.lock().peer = None;
            return Ok(());
        }
        let to = self.common.to_reach(address)?.address.or_localhost();
        let mut state = self.state.lock();
        let way = RawWay {
            to,
            from: None,
            link: state.group_link,
            protocol: self.protocol as u8,
            ttl: None,
            tos: 0,
            is_whole: false,
            checksum_at: None,
            may_broadcast: state.may_broadcast,
        };
        let source = self.common.home.raw_source(&way).map_err(errno)?;
        if state.local.is_unspecified() {
            state.local = source;
        }
        state.peer = Some(to);
        drop(state);
        if self.is_ping() && self.state.lock().ident == 0 {
            self.take_ident(0)?;
        }
        Ok(())
    }

    fn listen(&self, _backlog: usize) -> Result<(), Errno> {
        Err(Errno::OPNOTSUPP)
    }

    fn accept(&self, _nonblock: bool) -> Result<(Arc<dyn File>, SocketAddress), Errno> {
        Err(Errno::OPNOTSUPP)
    }

    fn local_address(&self) -> Result<SocketAddress, Errno> {
        let state = self.state.lock();
        // What Linux keeps where others have their port.
        let port = if self.is_ping() || !self.is_v4() { state.ident } else { self.protocol as u16 };
        Ok(self.common.raise(Endpoint::new(state.local, port)))
    }

    fn peer_address(&self) -> Result<SocketAddress, Errno> {
        let peer = self.state.lock().peer.ok_or(Errno::NOTCONN)?;
        Ok(self.common.raise(Endpoint::new(peer, 0)))
    }

    fn send(
        &self,
        src: &mut UserBuf,
        to: Option<&SocketAddress>,
        flags: u32,
        control: Option<&mut Control>,
    ) -> SysResult {
        self.send_bytes(src, to, flags, control.as_deref())
    }

    fn receive(&self, dst: &mut UserBuf, flags: u32) -> Result<Received, Errno> {
        if flags & n::MSG_OOB != 0 {
            return Err(Errno::OPNOTSUPP);
        }
        if flags & n::MSG_ERRQUEUE != 0 {
            return self.receive_report(dst);
        }
        let (nonblock, peek) = (flags & n::MSG_DONTWAIT != 0, flags & n::MSG_PEEK != 0);
        let deadline = self.common.receive_deadline();
        let next = block_on_events(&self.watch.source, Events::IN, nonblock, deadline, || {
            let mut state = self.state.lock();
            if let Some(error) = state.error.take() {
                return Err(error);
            }
            let Some(waiting) = state.queue.front() else {
                return if state.receive_shut { Ok(None) } else { Err(Errno::AGAIN) };
            };
            if peek {
                let (from, about) = (waiting.from, waiting.about);
                return Ok(Some(Waiting { bytes: waiting.bytes.try_to_vec()?, from, about }));
            }
            let waiting = state.queue.pop_front();
            state.held -= waiting.as_ref().map_or(0, |waiting| waiting.bytes.len() + OVERHEAD);
            Ok(waiting)
        })?;
        let Some(Waiting { bytes, from, about }) = next else { return Ok(Received::bytes(0)) };
        let copied = dst.put(&bytes)?;
        Ok(Received {
            from: Some(self.common.raise(Endpoint::new(from, 0))),
            flags: if copied < bytes.len() { n::MSG_TRUNC } else { 0 },
            info: if self.wanted.any() { self.wanted.info(&about) } else { None },
            ..Received::bytes(if flags & n::MSG_TRUNC != 0 { bytes.len() } else { copied })
        })
    }

    fn shutdown(&self, how: u32) -> Result<(), Errno> {
        let how = crate::common::shutdown_of(how)?;
        let mut state = self.state.lock();
        state.receive_shut |= how != coracle_tcpip::Shutdown::Write;
        let is_connected = state.peer.is_some();
        drop(state);
        self.watch.source.notify(Events::IN | Events::RDHUP | Events::HUP);
        if is_connected { Ok(()) } else { Err(Errno::NOTCONN) }
    }

    fn set_option(&self, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        self.set(level, name, value)
    }

    fn option(&self, level: i32, name: i32) -> Result<Vec<u8>, Errno> {
        self.get(level, name)
    }

    fn kind(&self) -> (i32, i32, i32) {
        (self.common.family.number(), self.kind as i32, self.protocol)
    }
}
