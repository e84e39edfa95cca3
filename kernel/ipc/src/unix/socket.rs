//! The socket itself, and what it is as a file. As a rule the lock of one socket is held at a time; connect(2) holds those of the
//! listener and of the socket that connects, in the order of their addresses, and a listener's is held while one looks at the
//! connections in its queue.
use super::address::{self, Key};
use super::collect;
use super::inbox::{Credentials, Inbox};
use super::options::Options;
use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::file::File;
use coracle_core::fs::stat;
use coracle_core::ipc::poll::{Events, PollSource};
use coracle_core::lock::Mutex;
use coracle_core::mm::user_buf::UserBuf;
use coracle_core::net::socket::{Control, Received, Socket, SocketAddress, UnixName};
use coracle_core::task::namespaces::own_network;
use coracle_core::task::pid_space;
use coracle_fallible::prelude::*;
use coracle_fallible::{NoMemory, Text, try_arc_cyclic};
use coracle_hal::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use core::any::Any;
use linux_raw_sys::general::{S_IFSOCK, stat as Stat};
use linux_raw_sys::ioctl::{FIONREAD, TIOCOUTQ};
use linux_raw_sys::net as n;

/// The three kinds (unix(7)).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Stream,
    Datagram,
    SeqPacket,
}

/// Permission bits of a new socket, and all that there are.
const MODE: u32 = 0o777;
const PERMISSIONS: u32 = 0o7777;

/// An AF_UNIX socket.
pub struct UnixSocket {
    pub(super) kind: Kind,
    pub(super) inode: u64,
    /// Permission bits (fchmod(2)), which a node that it is bound to has, but for those of the umask (unix(7)).
    pub(super) mode: AtomicU32,
    /// Number of its network namespace.
    pub(super) net: u32,
    pub(super) state: Mutex<State>,
    /// Changes of this socket's readiness.
    pub(super) source: PollSource,
    /// There may be room again: in the inbox for who sends here, or in the queue for who connects.
    pub(super) room: PollSource,
    /// Datagram sockets that were found unable to send here, and are told when there is room again.
    full_for: Mutex<Vec<Weak<UnixSocket>>>,
    /// It is in the list of its peer.
    awaits_room: AtomicBool,
    pub(super) this: Weak<UnixSocket>,
    /// Messages refer to it (`collect`).
    pub(super) in_flight: AtomicBool,
}

pub(super) struct State {
    pub(super) inbox: Inbox,
    pub(super) name: Option<UnixName>,
    pub(super) key: Option<Key>,
    pub(super) role: Role,
    /// Of the peer when it connected, or of who listens.
    pub(super) peer_credentials: Option<Credentials>,
    pub(super) peer_name: UnixName,
    pub(super) options: Options,
    /// SHUT_RD here, or the peer sends no more.
    pub(super) read_closed: bool,
    /// SHUT_WR here, or the peer reads no more.
    pub(super) write_closed: bool,
    /// The peer went away with bytes unread: told once.
    pub(super) error: Option<Errno>,
    pub(super) closed: bool,
    /// The listener in whose queue it waits for accept(2).
    pub(super) listener: Option<collect::Key>,
}

pub(super) enum Role {
    None,
    Listening {
        queue: VecDeque<Arc<UnixSocket>>,
        backlog: usize,
    },
    /// A stream's or packet's peer; a datagram socket's default destination.
    Connected(Weak<UnixSocket>),
    /// A datagram socket of the kernel's, which counts as closed for reading.
    Kernel(Taker),
}

/// Takes a datagram that was sent to the kernel, with the process that sent it. May wait.
pub type Taker = fn(&[u8], i32) -> Result<(), Errno>;

impl Role {
    /// Why a socket of this role can't connect (connect(2)).
    pub(super) fn refusal(&self) -> Option<Errno> {
        match self {
            Role::None => None,
            Role::Listening { .. } => Some(Errno::INVAL),
            Role::Connected(_) => Some(Errno::ISCONN),
            Role::Kernel(_) => Some(Errno::INVAL),
        }
    }
}

/// An AF_UNIX socket as a list shows it.
pub struct Listed {
    /// SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET.
    pub kind: u32,
    /// It has a peer, or had one.
    pub is_connected: bool,
    /// The peer's number; 0: none.
    pub peer: u64,
    /// Of a listener: how many connections may wait.
    pub backlog: Option<usize>,
    /// Bytes that the peer has not received.
    pub to_send: usize,
    /// Bytes that it has not received; of a listener: connections that wait.
    pub to_read: usize,
}

impl State {
    /// Writes the name as /proc has it: an abstract one begins with `@`.
    fn write_name(&self, text: &mut Text) -> Result<(), NoMemory> {
        let name = self.name.as_deref().unwrap_or_default();
        match name.strip_prefix(&[0]) {
            Some(rest) => text.push(b"@").and_then(|()| text.push(rest)),
            None => text.push(name),
        }
    }

    /// The socket has a peer from now on.
    pub(super) fn join(&mut self, peer: &Arc<UnixSocket>, credentials: Credentials, name: UnixName) {
        self.role = Role::Connected(Arc::downgrade(peer));
        self.peer_credentials = Some(credentials);
        self.peer_name = name;
    }
}

/// A new socket: `kind` is SOCK_STREAM, SOCK_DGRAM, SOCK_RAW or SOCK_SEQPACKET.
pub fn new(kind: u32) -> Result<Arc<dyn File>, Errno> {
    Ok(UnixSocket::new(kind_of(kind)?)?)
}

/// Two connected sockets.
pub type Pair = (Arc<dyn File>, Arc<dyn File>);

/// socketpair(2).
pub fn pair(kind: u32) -> Result<Pair, Errno> {
    let kind = kind_of(kind)?;
    let (a, b) = (UnixSocket::new(kind)?, UnixSocket::new(kind)?);
    let me = credentials();
    a.join(&b, me, UnixName::new());
    b.join(&a, me, UnixName::new());
    Ok((a, b))
}

/// The AF_UNIX socket that a file is.
pub fn of(file: &Arc<dyn File>) -> Option<Arc<UnixSocket>> {
    file.as_any().downcast_ref::<UnixSocket>()?.this().ok()
}

fn kind_of(kind: u32) -> Result<Kind, Errno> {
    match kind {
        n::SOCK_STREAM => Ok(Kind::Stream),
        // Linux takes the one for the other (`unix_create`).
        n::SOCK_DGRAM | n::SOCK_RAW => Ok(Kind::Datagram),
        n::SOCK_SEQPACKET => Ok(Kind::SeqPacket),
        _ => Err(Errno::SOCKTNOSUPPORT),
    }
}

/// Indices of the real and the effective id.
pub(super) const REAL: usize = 0;
const EFFECTIVE: usize = 1;

/// Credentials of the running process: those that a socket has of its peer (SO_PEERCRED).
pub(super) fn credentials() -> Credentials {
    credentials_by(EFFECTIVE)
}
/// The same with other ids: messages tell the real ones (unix(7), SCM_CREDENTIALS).
pub(super) fn credentials_by(which: usize) -> Credentials {
    coracle_core::this::with(|thread| {
        let ids = thread.process.credentials.lock();
        (thread.process.pid, ids.uid[which], ids.gid[which])
    })
}

impl UnixSocket {
    pub(super) fn new(kind: Kind) -> Result<Arc<UnixSocket>, Errno> {
        let socket = try_arc_cyclic(|this| UnixSocket {
            kind,
            inode: stat::next_inode(),
            mode: AtomicU32::new(MODE),
            net: own_network(),
            state: Mutex::new(State {
                inbox: Inbox::default(),
                name: None,
                key: None,
                role: Role::None,
                peer_credentials: None,
                peer_name: UnixName::new(),
                options: Options::default(),
                read_closed: false,
                write_closed: false,
                error: None,
                closed: false,
                listener: None,
            }),
            source: PollSource::new(),
            room: PollSource::new(),
            full_for: Mutex::new(Vec::new()),
            awaits_room: AtomicBool::new(false),
            this: this.clone(),
            in_flight: AtomicBool::new(false),
        });
        socket.map_err(|_| Errno::NOBUFS)
    }

    /// fchmod(2).
    pub fn set_mode(&self, mode: u32) {
        self.mode.store(mode & PERMISSIONS, Ordering::Relaxed);
    }
    pub(super) fn join(&self, peer: &Arc<UnixSocket>, credentials: Credentials, name: UnixName) {
        self.state.lock().join(peer, credentials, name);
    }
    /// Its name for `collect`.
    pub(super) fn key(&self) -> collect::Key {
        core::ptr::from_ref(self).addr()
    }
    /// A call that used the socket ends, and maybe the last reference to it that is not a message's.
    #[inline]
    pub(super) fn used(&self) {
        if self.in_flight.load(Ordering::Relaxed) {
            collect::look_after_call(self.key());
        }
    }
    /// From now on nothing is sent here, and nothing finds it. Apart from what closes it, whose frame would be larger by the name.
    #[inline(never)]
    fn end(&self) {
        let key = {
            let mut state = self.state.lock();
            state.closed = true;
            state.read_closed = true;
            state.write_closed = true;
            state.key.take()
        };
        if let Some(key) = key {
            address::release(&key);
        }
    }
    pub(super) fn this(&self) -> Result<Arc<UnixSocket>, Errno> {
        self.this.upgrade().ok_or(Errno::BADF)
    }
    /// The peer, with the lock released.
    pub(super) fn peer(&self) -> Option<Arc<UnixSocket>> {
        match &self.state.lock().role {
            Role::Connected(peer) => peer.upgrade(),
            _ => None,
        }
    }
    /// Has `peer` tell this socket when it has room again. Returns whether the peer may have some now. Without memory for
    /// the list, poll(2) looks again only when something else happens.
    fn await_room_of(&self, peer: &UnixSocket) -> bool {
        if !self.awaits_room.swap(true, Ordering::AcqRel)
            && peer.full_for.lock().try_push(self.this.clone()).is_err()
        {
            self.awaits_room.store(false, Ordering::Release);
        }
        true
    }
    /// Leaves the list of a peer that is one no longer.
    pub(super) fn stop_awaiting(&self, peer: &UnixSocket) {
        if self.awaits_room.swap(false, Ordering::AcqRel) {
            peer.full_for.lock().retain(|sender| !Weak::ptr_eq(sender, &self.this));
        }
    }
    /// There is room in the inbox, or nothing more is taken: wakes what waits to send here.
    pub(super) fn tell_of_room(&self) {
        self.room.notify(Events::OUT | Events::HUP);
        if self.kind != Kind::Datagram {
            return;
        }
        let told = core::mem::take(&mut *self.full_for.lock());
        for sender in told.iter().filter_map(Weak::upgrade) {
            sender.awaits_room.store(false, Ordering::Release);
            sender.source.notify(Events::OUT);
        }
    }
    pub(super) fn name(&self) -> UnixName {
        self.state.lock().name.clone().unwrap_or_default()
    }
    /// Number of its network namespace.
    pub fn network(&self) -> u32 {
        self.net
    }
    /// Its number, in `socket:[…]` and st_ino.
    pub fn inode(&self) -> u64 {
        self.inode
    }
    /// How it stands, with its name appended to `name` as /proc has it. ENOMEM.
    pub fn listed(&self, name: &mut Text) -> Result<Listed, NoMemory> {
        let peer = self.peer();
        // The lock of one socket at a time.
        let to_send = peer.as_ref().map_or(0, |peer| peer.state.lock().inbox.bytes());
        let state = self.state.lock();
        let (backlog, waiting) = match &state.role {
            Role::Listening { queue, backlog } => (Some(*backlog), queue.len()),
            _ => (None, state.inbox.bytes()),
        };
        state.write_name(name)?;
        let is_connected = matches!(state.role, Role::Connected(_));
        let peer = peer.map_or(0, |peer| peer.inode);
        Ok(Listed { kind: self.number(), is_connected, peer, backlog, to_send, to_read: waiting })
    }
    /// Writes a line of /proc/net/unix. ENOMEM.
    pub fn describe(&self, text: &mut Text) -> Result<(), NoMemory> {
        let state = self.state.lock();
        let (flags, status) = match state.role {
            Role::Listening { .. } => (0x1_0000, 1),
            Role::Connected(_) => (0, 3),
            Role::None | Role::Kernel(_) => (0, 1),
        };
        let kind = self.number();
        write!(
            text,
            "0000000000000000: 00000002 00000000 {flags:08X} {kind:04X} {status:02X} {:>5}",
            self.inode,
        )?;
        if state.name.as_ref().is_some_and(|name| !name.is_empty()) {
            text.push(b" ")?;
            state.write_name(text)?;
        }
        text.push(b"\n")
    }
    fn number(&self) -> u32 {
        match self.kind {
            Kind::Stream => n::SOCK_STREAM,
            Kind::Datagram => n::SOCK_DGRAM,
            Kind::SeqPacket => n::SOCK_SEQPACKET,
        }
    }
}

/// What poll reports of a socket that takes data (Linux's `unix_poll`).
const WRITABLE: Events = Events::OUT.union(Events::WRNORM).union(Events::WRBAND);

impl File for UnixSocket {
    fn read(&self, dst: &mut UserBuf, _offset: u64, nonblock: bool) -> SysResult {
        // As for all sockets read(2) of no bytes takes nothing (Linux's `sock_read_iter`).
        if dst.remaining() == 0 {
            return Ok(0);
        }
        let flags = if nonblock { n::MSG_DONTWAIT } else { 0 };
        Ok(self.receive(dst, flags)?.len)
    }
    fn write(&self, src: &mut UserBuf, _offset: u64, nonblock: bool) -> SysResult {
        let flags = if nonblock { n::MSG_DONTWAIT } else { 0 };
        self.send(src, None, flags, None)
    }
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(stat::nameless(S_IFSOCK | self.mode.load(Ordering::Relaxed), self.inode))
    }
    fn readiness(&self) -> Events {
        let mut events = Events::empty();
        let (peer, capacity) = {
            let state = self.state.lock();
            let readable = match &state.role {
                Role::Listening { queue, .. } => !queue.is_empty() || state.read_closed,
                _ => !state.inbox.is_empty() || state.read_closed,
            };
            events.set(Events::IN, readable);
            events.set(Events::RDHUP, state.read_closed);
            events.set(Events::HUP, state.read_closed && state.write_closed);
            events.set(Events::ERR, state.error.is_some());
            match &state.role {
                Role::Listening { .. } => return events,
                Role::None if self.kind != Kind::Datagram => return events | WRITABLE | Events::HUP,
                Role::None => return events | WRITABLE,
                Role::Kernel(_) => return events | WRITABLE,
                Role::Connected(_) if state.write_closed => return events | WRITABLE,
                Role::Connected(peer) => (peer.upgrade(), state.options.capacity),
            }
        };
        let has_room = |peer: &UnixSocket| {
            let state = peer.state.lock();
            state.closed || state.inbox.has_room(capacity)
        };
        let writable = peer.is_none_or(|peer| {
            // Its place in the list is taken before the second look, so that one of the two sees the room.
            has_room(&peer) || (self.kind == Kind::Datagram && self.await_room_of(&peer) && has_room(&peer))
        });
        events.set(WRITABLE, writable);
        events
    }
    fn poll_source(&self) -> Option<&PollSource> {
        Some(&self.source)
    }
    fn ioctl(&self, command: u32, argument: usize) -> SysResult {
        let waiting = match command {
            FIONREAD => {
                let state = self.state.lock();
                if self.kind == Kind::Stream { state.inbox.bytes() } else { state.inbox.front_len() }
            }
            TIOCOUTQ => self.peer().map_or(0, |peer| peer.state.lock().inbox.charge()),
            // Any socket tells of the interfaces: if_nametoindex(3) asks one of this family.
            _ => return coracle_net::interface_ioctl::ioctl(command, argument),
        };
        coracle_core::mm::user::write_u32(argument, waiting as u32)?;
        Ok(0)
    }
    fn as_socket(&self) -> Option<&dyn Socket> {
        Some(self)
    }
    fn path(&self, text: &mut Text) -> Result<(), NoMemory> {
        write!(text, "socket:[{}]", self.inode)
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn closed(&self) {
        self.end();
        let (inbox, role) = {
            let mut state = self.state.lock();
            let role = core::mem::replace(&mut state.role, Role::None);
            (core::mem::take(&mut state.inbox), role)
        };
        match role {
            Role::Connected(peer) if self.kind != Kind::Datagram => {
                if let Some(peer) = peer.upgrade() {
                    peer.hang_up(!inbox.is_empty());
                }
            }
            Role::Connected(peer) => {
                if let Some(peer) = peer.upgrade() {
                    self.stop_awaiting(&peer);
                }
            }
            // Connections that wait to be accepted are reset (Linux's unix_release_sock()).
            Role::Listening { queue, .. } => queue.iter().for_each(|waiting| {
                if let Some(peer) = waiting.peer() {
                    peer.state.lock().error = Some(Errno::CONNRESET);
                }
                waiting.closed();
            }),
            _ => {}
        }
        self.tell_of_room();
        self.source.notify(Events::HUP);
        // Descriptors that were on their way are closed with the messages.
        drop(inbox);
    }
}

impl Socket for UnixSocket {
    fn bind(&self, address: &SocketAddress) -> Result<(), Errno> {
        self.take_name(address)
    }
    fn connect(&self, address: &SocketAddress, nonblock: bool) -> Result<(), Errno> {
        let result = self.connect_to(address, nonblock);
        self.used();
        result
    }
    fn listen(&self, backlog: usize) -> Result<(), Errno> {
        self.start_listening(backlog)
    }
    fn accept(&self, nonblock: bool) -> Result<(Arc<dyn File>, SocketAddress), Errno> {
        let result = self.take_connection(nonblock);
        self.used();
        result
    }
    fn local_address(&self) -> Result<SocketAddress, Errno> {
        Ok(SocketAddress::Unix(self.name()))
    }
    fn peer_address(&self) -> Result<SocketAddress, Errno> {
        let state = self.state.lock();
        match state.role {
            Role::Connected(_) => Ok(SocketAddress::Unix(state.peer_name.clone())),
            _ => Err(Errno::NOTCONN),
        }
    }

    fn send(
        &self,
        src: &mut UserBuf,
        to: Option<&SocketAddress>,
        flags: u32,
        control: Option<&mut Control>,
    ) -> SysResult {
        let result = self.send_from(src, to, flags, control);
        self.used();
        result
    }
    fn receive(&self, dst: &mut UserBuf, flags: u32) -> Result<Received, Errno> {
        let result = self.receive_into(dst, flags);
        self.used();
        result
    }
    fn shutdown(&self, how: u32) -> Result<(), Errno> {
        self.shut(how)
    }
    fn set_option(&self, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        if level != n::SOL_SOCKET as i32 {
            return Err(Errno::OPNOTSUPP);
        }
        self.state.lock().options.set(name, value)
    }
    fn option(&self, level: i32, name: i32) -> Result<Vec<u8>, Errno> {
        if level != n::SOL_SOCKET as i32 {
            return Err(Errno::OPNOTSUPP);
        }
        let mut state = self.state.lock();
        let value = match name as u32 {
            n::SO_PEERCRED => {
                /// An id that is nobody's, for a socket without a peer.
                const NOBODY: u32 = u32::MAX;
                let (pid, uid, gid) = state.peer_credentials.unwrap_or((0, NOBODY, NOBODY));
                return Ok([pid_space::seen(pid).to_le_bytes(), uid.to_le_bytes(), gid.to_le_bytes()]
                    .as_flattened()
                    .try_to_vec()?);
            }
            n::SO_ERROR => state.error.take().map_or(0, |error| i32::from(error.number())),
            n::SO_ACCEPTCONN => i32::from(matches!(state.role, Role::Listening { .. })),
            n::SO_TYPE => self.number() as i32,
            n::SO_DOMAIN => n::AF_UNIX as i32,
            n::SO_PROTOCOL => 0,
            _ => return state.options.get(name),
        };
        Ok(value.to_le_bytes().try_to_vec()?)
    }
    fn kind(&self) -> (i32, i32, i32) {
        (n::AF_UNIX as i32, self.number() as i32, 0)
    }
}
