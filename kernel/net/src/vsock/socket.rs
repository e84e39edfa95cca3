//! The socket itself, and what it is as a file. The lock of one socket is held at a time, but for that of a listener with the lock of a new
//! connection in its queue. The table's lock and those of the links are taken with a socket's held, never the other way round.
use super::inbox::Inbox;
use super::link::{Link, write_header};
use super::options::{BUFFER_SIZE, CONNECT_TIMEOUT_NS, Sizes};
use super::{Address, CID_ANY, PORT_ANY, table};
use crate::address::Family;
use crate::common::{Common, ioctl_answer};
use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::file::File;
use coracle_core::fs::stat;
use coracle_core::ipc::poll::{Events, PollSource};
use coracle_core::lock::Mutex;
use coracle_core::mm::user_buf::UserBuf;
use coracle_core::net::socket::{Control, Received, Socket, SocketAddress};
use coracle_core::time::timer::{Timed, Timer};
use coracle_devices::virtio::vsock::Packet;
use coracle_fallible::{NoMemory, Text, try_arc_cyclic};
use coracle_hal::io::dma::PacketBuffer;
use coracle_hal::sync::atomic::{AtomicBool, Ordering};
use coracle_virtio::device::vsock::{Credit, HEADER_BYTES, Header, kind, operation, shutdown};
use core::any::Any;
use linux_raw_sys::general::stat as Stat;
use linux_raw_sys::ioctl::FIONREAD;
use linux_raw_sys::net as n;

/// An AF_VSOCK socket.
pub struct VsockSocket {
    /// It is a SOCK_SEQPACKET.
    pub(super) has_packets: bool,
    pub(super) state: Mutex<State>,
    /// Changes of its readiness.
    pub(super) source: PollSource,
    pub(super) common: Common,
    /// It is in the list of those that wait for room in the device.
    awaits_room: AtomicBool,
    pub(super) this: Weak<VsockSocket>,
}

/// How far a socket has come.
#[derive(Default)]
pub(super) enum Phase {
    #[default]
    Idle,
    Listening {
        queue: VecDeque<Arc<VsockSocket>>,
        backlog: usize,
    },
    Connecting,
    Connected,
    /// It was connected, and there is no peer any more.
    Over,
}

pub(super) struct State {
    pub(super) phase: Phase,
    pub(super) local: Option<Address>,
    /// The address is its own, and not that of the listener that accepted it.
    pub(super) is_bound: bool,
    pub(super) remote: Address,
    pub(super) link: Link,
    /// shutdown(2) was called: to Linux that is no connected socket any more.
    pub(super) was_shut: bool,
    /// SHUT_RD and SHUT_WR here, as bits of [`shutdown`], and those of the peer.
    pub(super) shut: u32,
    pub(super) peer_shut: u32,
    pub(super) credit: Credit,
    /// The peer was asked for its credit, and has not answered.
    pub(super) has_asked: bool,
    pub(super) inbox: Inbox,
    pub(super) error: Option<Errno>,
    pub(super) sizes: Sizes,
    pub(super) connect_timeout_ns: u64,
    /// When a connection that is being made, or one that was closed, is given up, in nanoseconds since boot.
    pub(super) deadline_ns: u64,
    pub(super) timer: Option<Timer>,
    /// The program has closed it, and it waits for its peer to end the connection, too.
    pub(super) lingers: Option<Arc<VsockSocket>>,
}

impl State {
    /// Whether there is something to receive.
    pub(super) fn has_data(&self, packets: bool) -> bool {
        if packets { self.inbox.message().is_some() } else { self.credit.waiting() > 0 }
    }
}

/// A new socket. EPROTONOSUPPORT, ESOCKTNOSUPPORT; ENODEV for datagrams, which no device carries.
pub fn new(kind: u32, protocol: i32) -> Result<Arc<dyn File>, Errno> {
    if protocol != 0 && protocol != n::AF_VSOCK as i32 {
        return Err(Errno::PROTONOSUPPORT);
    }
    match kind {
        n::SOCK_STREAM | n::SOCK_SEQPACKET => Ok(VsockSocket::new(kind == n::SOCK_SEQPACKET)?),
        n::SOCK_DGRAM => Err(Errno::NODEV),
        _ => Err(Errno::SOCKTNOSUPPORT),
    }
}

impl VsockSocket {
    pub(super) fn new(has_packets: bool) -> Result<Arc<VsockSocket>, NoMemory> {
        let common = Common::new(Family::V4, stat::next_inode());
        try_arc_cyclic(|this| VsockSocket {
            has_packets,
            state: Mutex::new(State {
                phase: Phase::Idle,
                local: None,
                is_bound: false,
                remote: Address { cid: CID_ANY, port: PORT_ANY },
                link: Link::Loopback,
                was_shut: false,
                shut: 0,
                peer_shut: 0,
                credit: Credit::new(BUFFER_SIZE as u32),
                has_asked: false,
                inbox: Inbox::default(),
                error: None,
                sizes: Sizes::default(),
                connect_timeout_ns: CONNECT_TIMEOUT_NS,
                deadline_ns: u64::MAX,
                timer: None,
                lingers: None,
            }),
            source: PollSource::new(),
            common,
            awaits_room: AtomicBool::new(false),
            this: this.clone(),
        })
    }

    /// The type that its packets have.
    pub(super) fn packet_type(&self) -> u16 {
        if self.has_packets { kind::SEQPACKET } else { kind::STREAM }
    }

    /// A packet for the peer of `len` bytes, which are behind the place for the header in `buffer`. To be sent before the lock is released.
    pub(super) fn packet(
        &self,
        state: &mut State,
        operation: u16,
        flags: u32,
        mut buffer: PacketBuffer,
        len: usize,
    ) -> Packet {
        let Address { cid, port } = state.local.unwrap_or_default();
        let mut header = Header {
            source: Address { cid: state.link.source(cid), port },
            destination: state.remote,
            len: len as u32,
            kind: self.packet_type(),
            operation,
            flags,
            ..Header::default()
        };
        state.credit.stamp(&mut header);
        write_header(&mut buffer, &header);
        (buffer, HEADER_BYTES + len)
    }

    /// Queues a packet without bytes. ENOMEM.
    pub(super) fn say(&self, state: &mut State, operation: u16, flags: u32) -> Result<(), Errno> {
        let buffer = PacketBuffer::alloc().ok_or(Errno::NOMEM)?;
        let packet = self.packet(state, operation, flags, buffer, 0);
        state.link.send(Some(packet).into_iter())
    }

    /// Has `enter` put this socket into the list of those that wait for room, unless it is there. Returns whether it is.
    pub(super) fn awaits_room(&self, enter: impl FnOnce(Weak<VsockSocket>) -> bool) -> bool {
        if !self.awaits_room.swap(true, Ordering::AcqRel) && !enter(self.this.clone()) {
            self.awaits_room.store(false, Ordering::Release);
            return false;
        }
        true
    }

    /// It has left that list.
    pub(super) fn has_room(&self) {
        self.awaits_room.store(false, Ordering::Release);
        self.source.notify(Events::OUT);
    }

    /// There is no peer any more: the connection is over. Returns what kept the socket, to be dropped without its lock.
    #[must_use]
    pub(super) fn end(&self, state: &mut State, phase: Phase) -> Option<Arc<VsockSocket>> {
        table::disconnect(state.local.unwrap_or_default().port, state.remote);
        state.phase = phase;
        if let Some(timer) = &mut state.timer {
            timer.cancel();
        }
        state.lingers.take()
    }

    /// The peer has gone, or the way to it.
    pub(super) fn lose_peer(&self, error: Option<Errno>) {
        let kept = {
            let mut state = self.state.lock();
            match state.phase {
                Phase::Connected => {
                    state.peer_shut = shutdown::BOTH;
                    state.error = error;
                    self.end(&mut state, Phase::Over)
                }
                Phase::Connecting => {
                    state.error = Some(error.unwrap_or(Errno::CONNRESET));
                    self.end(&mut state, Phase::Idle)
                }
                _ => None,
            }
        };
        self.source.notify(Events::all());
        drop(kept);
    }
}

impl Timed for VsockSocket {
    fn expired(&self, now_ns: u64) {
        let (link, kept) = {
            let mut state = self.state.lock();
            if state.deadline_ns > now_ns {
                return;
            }
            state.deadline_ns = u64::MAX;
            let kept = match state.phase {
                Phase::Connecting => {
                    state.error = Some(Errno::TIMEDOUT);
                    self.end(&mut state, Phase::Idle)
                }
                Phase::Connected if state.lingers.is_some() => {
                    // Without memory the peer learns it when it sends.
                    let _ = self.say(&mut state, operation::RST, 0);
                    self.end(&mut state, Phase::Over)
                }
                _ => return,
            };
            (state.link, kept)
        };
        link.kick();
        self.source.notify(Events::all());
        drop(kept);
    }
}

impl File for VsockSocket {
    fn read(&self, dst: &mut UserBuf, _offset: u64, nonblock: bool) -> SysResult {
        let flags = if nonblock { n::MSG_DONTWAIT } else { 0 };
        Ok(self.receive_into(dst, flags)?.len)
    }
    fn write(&self, src: &mut UserBuf, _offset: u64, nonblock: bool) -> SysResult {
        let flags = if nonblock { n::MSG_DONTWAIT } else { 0 };
        self.send_from(src, false, flags)
    }
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(self.common.stat())
    }
    fn readiness(&self) -> Events {
        let (mut events, link) = {
            let state = self.state.lock();
            let mut events = Events::empty();
            let readable = match &state.phase {
                Phase::Listening { queue, .. } => !queue.is_empty(),
                _ => state.has_data(self.has_packets) && state.shut & shutdown::RECEIVE == 0,
            };
            let ends = state.shut & shutdown::RECEIVE != 0 || state.peer_shut & shutdown::SEND != 0;
            let is_over = state.shut == shutdown::BOTH || state.shut & state.peer_shut & shutdown::SEND != 0;
            events.set(Events::IN, readable || ends);
            events.set(Events::RDHUP, ends);
            events.set(Events::HUP, is_over);
            events.set(Events::ERR, state.error.is_some());
            let may_send = state.shut & shutdown::SEND == 0;
            let writable = match state.phase {
                Phase::Connected => state.credit.room() > 0,
                Phase::Idle | Phase::Over => true,
                _ => false,
            };
            events.set(Events::OUT, may_send && writable);
            if !matches!(state.phase, Phase::Connected) {
                return events;
            }
            (events, state.link)
        };
        if events.contains(Events::OUT) && link.is_full(self) {
            events.remove(Events::OUT);
        }
        events
    }
    fn poll_source(&self) -> Option<&PollSource> {
        Some(&self.source)
    }
    fn ioctl(&self, command: u32, argument: usize) -> SysResult {
        match command {
            FIONREAD => ioctl_answer(argument, self.state.lock().credit.waiting()),
            _ => crate::interface_ioctl::ioctl(command, argument),
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
        self.close();
    }
}

impl Socket for VsockSocket {
    fn bind(&self, address: &SocketAddress) -> Result<(), Errno> {
        self.bind_to(address)
    }
    fn connect(&self, address: &SocketAddress, nonblock: bool) -> Result<(), Errno> {
        self.connect_to(address, nonblock)
    }
    fn listen(&self, backlog: usize) -> Result<(), Errno> {
        self.start_listening(backlog)
    }
    fn accept(&self, nonblock: bool) -> Result<(Arc<dyn File>, SocketAddress), Errno> {
        self.take_connection(nonblock)
    }
    fn local_address(&self) -> Result<SocketAddress, Errno> {
        let Address { cid, port } =
            self.state.lock().local.unwrap_or(Address { cid: CID_ANY, port: PORT_ANY });
        Ok(SocketAddress::Vsock { cid, port })
    }
    fn peer_address(&self) -> Result<SocketAddress, Errno> {
        let state = self.state.lock();
        match state.phase {
            Phase::Connected | Phase::Over if !state.was_shut => {
                Ok(SocketAddress::Vsock { cid: state.remote.cid, port: state.remote.port })
            }
            _ => Err(Errno::NOTCONN),
        }
    }
    fn send(
        &self,
        src: &mut UserBuf,
        to: Option<&SocketAddress>,
        flags: u32,
        _control: Option<&mut Control>,
    ) -> SysResult {
        self.send_from(src, to.is_some(), flags)
    }
    fn receive(&self, dst: &mut UserBuf, flags: u32) -> Result<Received, Errno> {
        self.receive_into(dst, flags)
    }
    fn shutdown(&self, how: u32) -> Result<(), Errno> {
        self.shut_down(how)
    }
    fn set_option(&self, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        self.change_option(level, name as u32, value)
    }
    fn option(&self, level: i32, name: i32) -> Result<Vec<u8>, Errno> {
        self.read_option(level, name as u32)
    }
    fn option_read(&self, level: i32, _name: i32, len: usize, room: usize) -> Result<(), Errno> {
        if level == n::AF_VSOCK as i32 && room < len { Err(Errno::INVAL) } else { Ok(()) }
    }
    fn kind(&self) -> (i32, i32, i32) {
        let kind = if self.has_packets { n::SOCK_SEQPACKET } else { n::SOCK_STREAM };
        (n::AF_VSOCK as i32, kind as i32, 0)
    }
}
