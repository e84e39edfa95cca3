//! The socket itself. A message goes straight into its receiver's inbox; only one socket's lock is held at a time.
use super::address::{self, Key};
use super::inbox::{Credentials, Inbox, Message};
use super::options::Options;
use crate::errno::{Errno, SysResult};
use crate::fs::file::File;
use crate::fs::stat;
use crate::ipc::poll::{Events, PollSource, block_on_events};
use crate::mm::user_buf::UserBuf;
use crate::net::socket::{Received, Rights, Socket, SocketAddress};
use crate::syscall::call::Call;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use coracle_hal::frame;
use core::any::Any;
use linux_raw_sys::general::{S_IFSOCK, stat as Stat};
use linux_raw_sys::ioctl::{FIONREAD, TIOCOUTQ};
use linux_raw_sys::net as n;
use spin::Mutex;

/// Largest piece of a stream that is one message.
const STREAM_PIECE: usize = 32 * 1024;
/// The longest queue of connections (net.core.somaxconn).
const MAX_BACKLOG: usize = 4096;

/// The three kinds (unix(7)).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Stream,
    Datagram,
    SeqPacket,
}

/// An AF_UNIX socket.
pub struct UnixSocket {
    kind: Kind,
    inode: u64,
    state: Mutex<State>,
    /// Changes of this socket's readiness.
    source: PollSource,
    /// There may be room again: in the inbox for who sends here, or in the queue for who connects.
    room: PollSource,
    this: Weak<UnixSocket>,
}

struct State {
    inbox: Inbox,
    name: Option<Vec<u8>>,
    key: Option<Key>,
    role: Role,
    /// Of the peer when it connected, or of who listens.
    peer_credentials: Option<Credentials>,
    peer_name: Vec<u8>,
    options: Options,
    /// SHUT_RD here, or the peer sends no more.
    read_closed: bool,
    /// SHUT_WR here, or the peer reads no more.
    write_closed: bool,
    /// The peer went away with bytes unread: told once.
    error: Option<Errno>,
    closed: bool,
}

enum Role {
    None,
    Listening {
        queue: VecDeque<Arc<UnixSocket>>,
        backlog: usize,
    },
    /// A stream's or packet's peer; a datagram socket's default destination.
    Connected(Weak<UnixSocket>),
}

/// A new socket: `kind` is SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET.
pub fn new(kind: u32) -> Result<Arc<dyn File>, Errno> {
    Ok(UnixSocket::new(kind_of(kind)?))
}

/// Two connected sockets.
pub type Pair = (Arc<dyn File>, Arc<dyn File>);

/// socketpair(2).
pub fn pair(kind: u32) -> Result<Pair, Errno> {
    let kind = kind_of(kind)?;
    let (a, b) = (UnixSocket::new(kind), UnixSocket::new(kind));
    let me = credentials();
    a.join(&b, me, Vec::new());
    b.join(&a, me, Vec::new());
    Ok((a, b))
}

fn kind_of(kind: u32) -> Result<Kind, Errno> {
    match kind {
        n::SOCK_STREAM => Ok(Kind::Stream),
        n::SOCK_DGRAM => Ok(Kind::Datagram),
        n::SOCK_SEQPACKET => Ok(Kind::SeqPacket),
        _ => Err(Errno::SOCKTNOSUPPORT),
    }
}

fn credentials() -> Credentials {
    /// Index of the effective id.
    const EFFECTIVE: usize = 1;
    crate::this::with(|thread| {
        let ids = thread.process.credentials.lock();
        (thread.process.pid, ids.uid[EFFECTIVE], ids.gid[EFFECTIVE])
    })
}

impl UnixSocket {
    fn new(kind: Kind) -> Arc<UnixSocket> {
        Arc::new_cyclic(|this| UnixSocket {
            kind,
            inode: stat::next_inode(),
            state: Mutex::new(State {
                inbox: Inbox::default(),
                name: None,
                key: None,
                role: Role::None,
                peer_credentials: None,
                peer_name: Vec::new(),
                options: Options::default(),
                read_closed: false,
                write_closed: false,
                error: None,
                closed: false,
            }),
            source: PollSource::new(),
            room: PollSource::new(),
            this: this.clone(),
        })
    }
    fn join(&self, peer: &Arc<UnixSocket>, credentials: Credentials, name: Vec<u8>) {
        let mut state = self.state.lock();
        state.role = Role::Connected(Arc::downgrade(peer));
        state.peer_credentials = Some(credentials);
        state.peer_name = name;
    }
    fn this(&self) -> Result<Arc<UnixSocket>, Errno> {
        self.this.upgrade().ok_or(Errno::BADF)
    }
    /// The peer, with the lock released.
    fn peer(&self) -> Option<Arc<UnixSocket>> {
        match &self.state.lock().role {
            Role::Connected(peer) => peer.upgrade(),
            _ => None,
        }
    }
    fn name(&self) -> Vec<u8> {
        self.state.lock().name.clone().unwrap_or_default()
    }
    /// A line of /proc/net/unix.
    pub(super) fn describe(&self) -> String {
        let state = self.state.lock();
        let (flags, status) = match state.role {
            Role::Listening { .. } => (0x1_0000, 1),
            Role::Connected(_) => (0, 3),
            Role::None => (0, 1),
        };
        let mut name = state.name.clone().unwrap_or_default();
        if let Some(first) = name.first_mut()
            && *first == 0
        {
            *first = b'@';
        }
        let kind = self.number();
        format!(
            "0000000000000000: 00000002 00000000 {flags:08X} {kind:04X} {status:02X} {:>5} {}\n",
            self.inode,
            String::from_utf8_lossy(&name)
        )
    }
    fn number(&self) -> u32 {
        match self.kind {
            Kind::Stream => n::SOCK_STREAM,
            Kind::Datagram => n::SOCK_DGRAM,
            Kind::SeqPacket => n::SOCK_SEQPACKET,
        }
    }

    /// Puts a message into this socket's inbox: EAGAIN if there is no room, EPIPE or ECONNREFUSED if it takes none.
    fn deliver(
        &self,
        message: &mut Option<Message>,
        capacity: usize,
        sender: &UnixSocket,
    ) -> Result<(), Errno> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(if self.kind == Kind::Datagram { Errno::CONNREFUSED } else { Errno::PIPE });
        }
        if state.read_closed {
            return Err(Errno::PIPE);
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
        if let Some(message) = message.take() {
            state.inbox.push(message);
        }
        Ok(())
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
        let sent = block_on_events(&to.room, Events::OUT, nonblock, deadline, || {
            to.deliver(&mut message, capacity, self)
        });
        match sent {
            Err(Errno::TIMEDOUT) => return Err(Errno::AGAIN),
            other => other?,
        }
        to.source.notify(Events::IN);
        Ok(())
    }

    /// Receives into `dst` what is there: EAGAIN if nothing is.
    fn try_receive(&self, dst: &mut UserBuf, flags: u32, found: &mut Received) -> Result<(), Errno> {
        let peek = flags & n::MSG_PEEK != 0;
        loop {
            let mut freed = Vec::new();
            let mut state = self.state.lock();
            if matches!(state.role, Role::Listening { .. }) {
                return Err(Errno::INVAL);
            }
            if state.inbox.is_empty() {
                if let Some(error) = state.error.take() {
                    return Err(error);
                }
                if self.kind != Kind::Datagram && matches!(state.role, Role::None) {
                    return Err(if self.kind == Kind::Stream { Errno::INVAL } else { Errno::NOTCONN });
                }
                return if state.read_closed { Ok(()) } else { Err(Errno::AGAIN) };
            }
            let pass = state.options.pass_credentials;
            let faulted = match self.kind {
                Kind::Stream if peek => peek_stream(&state.inbox, dst, found, pass),
                Kind::Stream => take_stream(&mut state.inbox, dst, found, pass, &mut freed),
                _ => take_packet(&mut state.inbox, dst, flags, found, pass, &mut freed),
            };
            drop(state);
            if !freed.is_empty() || found.len > 0 {
                self.room.notify(Events::OUT);
                if self.kind != Kind::Datagram
                    && let Some(peer) = self.peer()
                {
                    peer.source.notify(Events::OUT);
                }
            }
            drop(freed);
            if !faulted {
                return Ok(());
            }
            match dst.resolve() {
                Ok(()) => {}
                Err(_) if found.len > 0 => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn hang_up(&self, reset: bool) {
        {
            let mut state = self.state.lock();
            state.read_closed = true;
            state.write_closed = true;
            if reset {
                state.error = Some(Errno::CONNRESET);
            }
        }
        self.source.notify(Events::IN | Events::OUT | Events::HUP | Events::RDHUP);
        self.room.notify(Events::OUT | Events::HUP);
    }
}

fn note(found: &mut Received, message: &mut Message, pass: bool, peek: bool) {
    if found.from.is_none() && !message.from.is_empty() {
        found.from = Some(SocketAddress::Unix(message.from.clone()));
    }
    if pass {
        found.credentials = Some(message.credentials);
    }
    if peek {
        found.rights = message.rights.clone();
    } else if !message.rights.is_empty() {
        found.rights = core::mem::take(&mut message.rights);
    }
}

/// Takes bytes off the stream, over several messages as long as they come from one sender and pass no descriptors; true
/// if a page of the program wasn't there.
fn take_stream(
    inbox: &mut Inbox,
    dst: &mut UserBuf,
    found: &mut Received,
    pass: bool,
    freed: &mut Vec<Message>,
) -> bool {
    while dst.remaining() > 0 {
        let Some(message) = inbox.front() else { break };
        let begins_anew = !message.rights.is_empty()
            || (pass && found.credentials.is_some_and(|known| known != message.credentials));
        if begins_anew && found.len > 0 {
            break;
        }
        let want = message.rest().len().min(dst.remaining());
        let n = dst.put_nofault(&message.bytes[message.start..message.start + want]);
        if n > 0 {
            note(found, message, pass, false);
        }
        found.len += n;
        freed.extend(inbox.consume(n));
        if n < want {
            return true;
        }
    }
    false
}

fn peek_stream(inbox: &Inbox, dst: &mut UserBuf, found: &mut Received, pass: bool) -> bool {
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
        found.rights = message.rights.clone();
        if pass {
            found.credentials = Some(message.credentials);
        }
        if n < want {
            return true;
        }
        if dst.remaining() == 0 {
            break;
        }
    }
    false
}

fn take_packet(
    inbox: &mut Inbox,
    dst: &mut UserBuf,
    flags: u32,
    found: &mut Received,
    pass: bool,
    freed: &mut Vec<Message>,
) -> bool {
    let peek = flags & n::MSG_PEEK != 0;
    let Some(message) = inbox.front() else { return false };
    let whole = message.bytes.len();
    let from = found.len;
    let want = (whole - from).min(dst.remaining());
    let n = dst.put_nofault(&message.bytes[from..from + want]);
    found.len += n;
    if n < want {
        return true;
    }
    note(found, message, pass, peek);
    if found.len < whole {
        found.flags |= n::MSG_TRUNC;
    }
    if flags & n::MSG_TRUNC != 0 {
        found.len = whole;
    }
    if !peek {
        freed.extend(inbox.pop());
    }
    false
}

impl File for UnixSocket {
    fn read(&self, dst: &mut UserBuf, _offset: u64, nonblock: bool) -> SysResult {
        let flags = if nonblock { n::MSG_DONTWAIT } else { 0 };
        Ok(self.receive(dst, flags)?.len)
    }
    fn write(&self, src: &mut UserBuf, _offset: u64, nonblock: bool) -> SysResult {
        let flags = if nonblock { n::MSG_DONTWAIT } else { 0 };
        self.send(src, None, flags, None)
    }
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(stat::nameless(S_IFSOCK | 0o777, self.inode))
    }
    fn readiness(&self) -> Events {
        let mut events = Events::empty();
        let (peer, capacity) = {
            let state = self.state.lock();
            let readable = match &state.role {
                Role::Listening { queue, .. } => !queue.is_empty(),
                _ => !state.inbox.is_empty() || state.read_closed,
            };
            events.set(Events::IN, readable);
            events.set(Events::RDHUP, state.read_closed);
            events.set(Events::HUP, state.read_closed && state.write_closed);
            events.set(Events::ERR, state.error.is_some());
            match &state.role {
                Role::Listening { .. } => return events,
                Role::None if self.kind != Kind::Datagram => return events | Events::OUT | Events::HUP,
                Role::None => return events | Events::OUT,
                Role::Connected(_) if state.write_closed => return events | Events::OUT,
                Role::Connected(peer) => (peer.upgrade(), state.options.capacity),
            }
        };
        let writable = peer.is_none_or(|peer| peer.state.lock().inbox.has_room(capacity));
        events.set(Events::OUT, writable);
        events
    }
    fn poll_source(&self) -> Option<&PollSource> {
        Some(&self.source)
    }
    fn ioctl(&self, call: &mut Call, command: u32, argument: usize) -> SysResult {
        let _ = call;
        let waiting = match command {
            FIONREAD => {
                let state = self.state.lock();
                if self.kind == Kind::Stream { state.inbox.bytes() } else { state.inbox.front_len() }
            }
            TIOCOUTQ => self.peer().map_or(0, |peer| peer.state.lock().inbox.bytes()),
            // Any socket tells of the interfaces: if_nametoindex(3) asks one of this family.
            _ => return crate::net::interface_ioctl::ioctl(command, argument),
        };
        crate::mm::user::write_u32(argument, waiting as u32)?;
        Ok(0)
    }
    fn as_socket(&self) -> Option<&dyn Socket> {
        Some(self)
    }
    fn path(&self) -> String {
        format!("socket:[{}]", self.inode)
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn closed(&self) {
        let (inbox, role, key) = {
            let mut state = self.state.lock();
            state.closed = true;
            state.read_closed = true;
            state.write_closed = true;
            let role = core::mem::replace(&mut state.role, Role::None);
            (core::mem::take(&mut state.inbox), role, state.key.take())
        };
        if let Some(key) = key {
            address::release(&key);
        }
        match role {
            Role::Connected(peer) if self.kind != Kind::Datagram => {
                if let Some(peer) = peer.upgrade() {
                    peer.hang_up(!inbox.is_empty());
                }
            }
            Role::Listening { queue, .. } => queue.iter().for_each(|waiting| waiting.closed()),
            _ => {}
        }
        self.room.notify(Events::OUT | Events::HUP);
        self.source.notify(Events::HUP);
        // Descriptors that were on their way are closed with the messages.
        drop(inbox);
    }
}

impl Socket for UnixSocket {
    fn bind(&self, address: &SocketAddress) -> Result<(), Errno> {
        let SocketAddress::Unix(name) = address else { return Err(Errno::INVAL) };
        if self.state.lock().name.is_some() {
            return Err(Errno::INVAL);
        }
        let (name, key) = address::bind(&self.this()?, name)?;
        let mut state = self.state.lock();
        state.name = Some(name);
        state.key = Some(key);
        Ok(())
    }

    fn connect(&self, address: &SocketAddress, nonblock: bool) -> Result<(), Errno> {
        let name = match address {
            SocketAddress::Unix(name) => name,
            SocketAddress::Unspecified if self.kind == Kind::Datagram => {
                self.state.lock().role = Role::None;
                return Ok(());
            }
            _ => return Err(Errno::INVAL),
        };
        if self.kind != Kind::Datagram {
            match self.state.lock().role {
                Role::None => {}
                Role::Listening { .. } => return Err(Errno::INVAL),
                Role::Connected(_) => return Err(Errno::ISCONN),
            }
        }
        let target = address::find(name)?;
        if target.kind != self.kind {
            return Err(Errno::PROTOTYPE);
        }
        let me = credentials();
        if self.kind == Kind::Datagram {
            self.join(&target, me, name.clone());
            return Ok(());
        }
        let deadline = self.state.lock().options.send_deadline();
        let client = self.this()?;
        let server = UnixSocket::new(self.kind);
        server.join(&client, me, self.name());
        let queued = block_on_events(&target.room, Events::OUT, nonblock, deadline, || {
            let mut state = target.state.lock();
            let (name, peer) = (state.name.clone(), state.peer_credentials);
            match &mut state.role {
                Role::Listening { queue, backlog } => {
                    if queue.len() > *backlog {
                        return Err(Errno::AGAIN);
                    }
                    // Joined before it can be accepted, so that nobody finds it half connected.
                    server.state.lock().name = name.clone();
                    client.join(&server, peer.unwrap_or(me), name.unwrap_or_default());
                    queue.push_back(server.clone());
                    Ok(())
                }
                _ => Err(Errno::CONNREFUSED),
            }
        });
        match queued {
            Err(Errno::TIMEDOUT) => return Err(Errno::AGAIN),
            other => other?,
        }
        target.source.notify(Events::IN);
        self.source.notify(Events::OUT);
        Ok(())
    }

    fn listen(&self, backlog: usize) -> Result<(), Errno> {
        if self.kind == Kind::Datagram {
            return Err(Errno::OPNOTSUPP);
        }
        let me = credentials();
        let mut state = self.state.lock();
        if state.name.is_none() {
            return Err(Errno::INVAL);
        }
        let limit = backlog.min(MAX_BACKLOG);
        match &mut state.role {
            Role::None => state.role = Role::Listening { queue: VecDeque::new(), backlog: limit },
            Role::Listening { backlog, .. } => *backlog = limit,
            Role::Connected(_) => return Err(Errno::INVAL),
        }
        state.peer_credentials = Some(me);
        Ok(())
    }

    fn accept(&self, nonblock: bool) -> Result<(Arc<dyn File>, SocketAddress), Errno> {
        if self.kind == Kind::Datagram {
            return Err(Errno::OPNOTSUPP);
        }
        let deadline = self.state.lock().options.receive_deadline();
        let taken = block_on_events(&self.source, Events::IN, nonblock, deadline, || {
            let mut state = self.state.lock();
            match &mut state.role {
                Role::Listening { queue, .. } => queue.pop_front().ok_or(Errno::AGAIN),
                _ => Err(Errno::INVAL),
            }
        });
        let socket = match taken {
            Err(Errno::TIMEDOUT) => return Err(Errno::AGAIN),
            other => other?,
        };
        self.room.notify(Events::OUT);
        let name = socket.state.lock().peer_name.clone();
        Ok((socket, SocketAddress::Unix(name)))
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
        rights: Option<&mut Rights>,
    ) -> SysResult {
        if flags & n::MSG_OOB != 0 {
            return Err(Errno::OPNOTSUPP);
        }
        if frame::low() {
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
        if write_closed {
            return Err(Errno::PIPE);
        }
        let connected = peer.is_some();
        let target = match (self.kind, to) {
            (Kind::Datagram, Some(SocketAddress::Unix(name))) => address::find(name)?,
            (Kind::Datagram, Some(_)) => return Err(Errno::INVAL),
            (Kind::Stream, Some(_)) if connected => return Err(Errno::ISCONN),
            (Kind::Stream, Some(_)) => return Err(Errno::OPNOTSUPP),
            _ => match peer.flatten() {
                Some(peer) => peer,
                None if !connected => return Err(Errno::NOTCONN),
                None if self.kind == Kind::Datagram => return Err(Errno::CONNREFUSED),
                None => return Err(Errno::PIPE),
            },
        };
        if target.kind != self.kind {
            return Err(Errno::PROTOTYPE);
        }
        let credentials = credentials();
        let mut rights = rights.map(core::mem::take).unwrap_or_default();
        if self.kind != Kind::Stream {
            let from = self.name();
            if src.remaining() > capacity {
                return Err(Errno::MSGSIZE);
            }
            let mut bytes = alloc::vec![0; src.remaining()];
            let len = src.take(&mut bytes)?;
            bytes.truncate(len);
            self.send_message(
                &target,
                Message { bytes, start: 0, from, rights, credentials },
                nonblock,
                deadline,
            )?;
            return Ok(len);
        }
        let mut done = 0;
        while src.remaining() > 0 {
            // Looked at first, so that nothing is taken from the program that can't be sent.
            let room = block_on_events(&target.room, Events::OUT, nonblock, deadline, || {
                target.deliver(&mut None, capacity, self)
            });
            let piece = room.and_then(|()| {
                let mut bytes = alloc::vec![0; src.remaining().min(STREAM_PIECE)];
                let len = src.take(&mut bytes)?;
                bytes.truncate(len);
                Ok(bytes)
            });
            let result = piece.and_then(|bytes| {
                let len = bytes.len();
                let message = Message {
                    bytes,
                    start: 0,
                    from: Vec::new(),
                    rights: core::mem::take(&mut rights),
                    credentials,
                };
                self.send_message(&target, message, nonblock, deadline).map(|()| len)
            });
            match result {
                Ok(len) => done += len,
                Err(_) if done > 0 => break,
                Err(Errno::TIMEDOUT) => return Err(Errno::AGAIN),
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn receive(&self, dst: &mut UserBuf, flags: u32) -> Result<Received, Errno> {
        if flags & n::MSG_OOB != 0 {
            return Err(Errno::OPNOTSUPP);
        }
        let nonblock = flags & n::MSG_DONTWAIT != 0;
        let deadline = self.state.lock().options.receive_deadline();
        let all = flags & n::MSG_WAITALL != 0 && self.kind == Kind::Stream && flags & n::MSG_PEEK == 0;
        let mut found = Received { len: 0, from: None, flags: 0, rights: Vec::new(), credentials: None };
        if self.kind == Kind::Stream && dst.remaining() == 0 {
            return Ok(found);
        }
        loop {
            let before = found.len;
            let got = block_on_events(&self.source, Events::IN, nonblock, deadline, || {
                self.try_receive(dst, flags, &mut found)
            });
            match got {
                Ok(()) => {}
                Err(_) if found.len > 0 => break,
                Err(Errno::TIMEDOUT) => return Err(Errno::AGAIN),
                Err(error) => return Err(error),
            }
            if !all || dst.remaining() == 0 || found.len == before || !found.rights.is_empty() {
                break;
            }
        }
        Ok(found)
    }

    fn shutdown(&self, how: u32) -> Result<(), Errno> {
        let (reads, writes) = match how {
            n::SHUT_RD => (true, false),
            n::SHUT_WR => (false, true),
            n::SHUT_RDWR => (true, true),
            _ => return Err(Errno::INVAL),
        };
        {
            let mut state = self.state.lock();
            if matches!(state.role, Role::None) && self.kind != Kind::Datagram {
                return Err(Errno::NOTCONN);
            }
            state.read_closed |= reads;
            state.write_closed |= writes;
        }
        if self.kind != Kind::Datagram
            && let Some(peer) = self.peer()
        {
            {
                let mut state = peer.state.lock();
                state.read_closed |= writes;
                state.write_closed |= reads;
            }
            peer.source.notify(Events::IN | Events::OUT | Events::RDHUP | Events::HUP);
            peer.room.notify(Events::OUT);
        }
        self.source.notify(Events::IN | Events::OUT | Events::RDHUP | Events::HUP);
        self.room.notify(Events::OUT);
        Ok(())
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
                return Ok([pid.to_le_bytes(), uid.to_le_bytes(), gid.to_le_bytes()].concat());
            }
            n::SO_ERROR => state.error.take().map_or(0, |error| i32::from(error.number())),
            n::SO_ACCEPTCONN => i32::from(matches!(state.role, Role::Listening { .. })),
            n::SO_TYPE => self.number() as i32,
            n::SO_DOMAIN => n::AF_UNIX as i32,
            n::SO_PROTOCOL => 0,
            _ => return state.options.get(name),
        };
        Ok(value.to_le_bytes().to_vec())
    }
    fn kind(&self) -> (i32, i32, i32) {
        (n::AF_UNIX as i32, self.number() as i32, 0)
    }
}
