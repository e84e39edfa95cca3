//! How sockets get a name and a peer, and lose them: bind, listen, connect, accept, shutdown.
use super::address;
use super::collect::Moving;
use super::socket::{Kind, Role, State, UnixSocket, credentials};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use coracle_core::errno::Errno;
use coracle_core::fs::file::File;
use coracle_core::ipc::poll::{Events, block_on_events};
use coracle_core::net::socket::SocketAddress;
use coracle_fallible::prelude::*;
use coracle_hal::frame::{self, Watermark};
use coracle_hal::sync::MutexGuard;
use core::cmp::Ordering;
use linux_raw_sys::net as n;

/// The longest queue of connections (net.core.somaxconn).
const MAX_BACKLOG: usize = 4096;

/// Locks the states of two sockets, in the order of their addresses, so that no two callers wait for each other. `None` if both are
/// the same socket.
fn lock_both<'a>(
    a: &'a UnixSocket,
    b: &'a UnixSocket,
) -> Option<(MutexGuard<'a, State>, MutexGuard<'a, State>)> {
    match a.key().cmp(&b.key()) {
        Ordering::Less => {
            let first = a.state.lock();
            Some((first, b.state.lock()))
        }
        Ordering::Equal => None,
        Ordering::Greater => {
            let first = b.state.lock();
            Some((a.state.lock(), first))
        }
    }
}

impl UnixSocket {
    /// bind(2).
    pub(super) fn take_name(&self, address: &SocketAddress) -> Result<(), Errno> {
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

    /// connect(2): a datagram's default destination, or a place in a listener's queue.
    pub(super) fn connect_to(&self, address: &SocketAddress, nonblock: bool) -> Result<(), Errno> {
        let name = match address {
            SocketAddress::Unix(name) => name,
            SocketAddress::Unspecified(_) if self.kind == Kind::Datagram => {
                self.forget_peer();
                return Ok(());
            }
            _ => return Err(Errno::INVAL),
        };
        let target = address::find(self.net, name)?;
        if target.kind != self.kind {
            return Err(Errno::PROTOTYPE);
        }
        let me = credentials();
        if self.kind == Kind::Datagram {
            // One that has a peer hears that alone.
            if target.peer().is_some_and(|peer| !core::ptr::eq(Arc::as_ptr(&peer), self)) {
                return Err(Errno::PERM);
            }
            if let Some(old) = self.peer() {
                self.stop_awaiting(&old);
            }
            self.join(&target, me, name.clone());
            return Ok(());
        }
        // The server's end stays in the listener's queue when this socket is closed.
        if frame::is_below(Watermark::High) {
            return Err(Errno::NOMEM);
        }
        let deadline = self.state.lock().options.send_deadline();
        let client = self.this()?;
        let server = UnixSocket::new(self.kind)?;
        server.join(&client, me, self.name());
        block_on_events(&target.room, Events::OUT, nonblock, deadline, || {
            // A socket that listens and one that connects may be the same, or turn into the other at this moment.
            let Some((mut own, mut state)) = lock_both(&client, &target) else {
                return Err(client.state.lock().role.refusal().unwrap_or(Errno::CONNREFUSED));
            };
            let (name, peer) = (state.name.clone(), state.peer_credentials);
            let takes_more = !state.read_closed;
            match &mut state.role {
                Role::Listening { queue, backlog } if takes_more => {
                    if queue.len() > *backlog {
                        return Err(Errno::AGAIN);
                    }
                    if let Some(error) = own.role.refusal() {
                        return Err(error);
                    }
                    queue.make_room_for(queue.len() + 1)?;
                    // Joined before it can be accepted, so that nobody finds it half connected.
                    {
                        let mut state = server.state.lock();
                        state.name = name.clone();
                        state.listener = Some(target.key());
                    }
                    own.join(&server, peer.unwrap_or(me), name.unwrap_or_default());
                    queue.push_back_reserved(server.clone());
                    Ok(())
                }
                _ => Err(Errno::CONNREFUSED),
            }
        })?;
        target.source.notify(Events::IN);
        self.source.notify(Events::OUT);
        Ok(())
    }

    /// listen(2).
    pub(super) fn start_listening(&self, backlog: usize) -> Result<(), Errno> {
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
            Role::Connected(_) | Role::Kernel(_) => return Err(Errno::INVAL),
        }
        state.peer_credentials = Some(me);
        Ok(())
    }

    /// accept(2).
    pub(super) fn take_connection(&self, nonblock: bool) -> Result<(Arc<dyn File>, SocketAddress), Errno> {
        if self.kind == Kind::Datagram {
            return Err(Errno::OPNOTSUPP);
        }
        let deadline = self.state.lock().options.receive_deadline();
        let socket = block_on_events(&self.source, Events::IN, nonblock, deadline, || {
            let mut state = self.state.lock();
            // A call that can wait learns that no more will come (Linux's `unix_accept`).
            let none = if state.read_closed && !nonblock { Errno::INVAL } else { Errno::AGAIN };
            match &mut state.role {
                Role::Listening { queue, .. } => queue.pop_front().ok_or(none),
                _ => Err(Errno::INVAL),
            }
        })?;
        self.room.notify(Events::OUT);
        if let Err(error) = socket.leave_listener() {
            socket.closed();
            return Err(error);
        }
        let name = socket.state.lock().peer_name.clone();
        Ok((socket, SocketAddress::Unix(name)))
    }

    /// Takes what was sent before accept(2) over from the listener. ENOBUFS.
    fn leave_listener(&self) -> Result<(), Errno> {
        let mut moving = Moving::begin();
        let mut state = self.state.lock();
        state.listener = None;
        state.inbox.rights_mut().try_for_each(|rights| rights.move_into(&mut moving, self.key()))
    }

    /// Forgets a datagram socket's peer, and what was received from it (Linux's `unix_dgram_disconnected`): the peer, if it sends here,
    /// learns that something was lost.
    pub(super) fn forget_peer(&self) {
        let (old, lost) = {
            let mut state = self.state.lock();
            let Role::Connected(old) = core::mem::replace(&mut state.role, Role::None) else { return };
            (old.upgrade(), core::mem::take(&mut state.inbox))
        };
        if let Some(old) = &old {
            self.stop_awaiting(old);
        }
        if let Some(old) = old
            && !lost.is_empty()
            && old.peer().is_some_and(|peer| core::ptr::eq(Arc::as_ptr(&peer), self))
        {
            old.state.lock().error = Some(Errno::CONNRESET);
            old.source.notify(Events::ERR);
        }
        self.source.notify(Events::OUT);
        self.tell_of_room();
        drop(lost);
    }

    /// shutdown(2). A socket without a peer, or a listener, is shut down as well.
    pub(super) fn shut(&self, how: u32) -> Result<(), Errno> {
        let (reads, writes) = match how {
            n::SHUT_RD => (true, false),
            n::SHUT_WR => (false, true),
            n::SHUT_RDWR => (true, true),
            _ => return Err(Errno::INVAL),
        };
        {
            let mut state = self.state.lock();
            state.read_closed |= reads;
            state.write_closed |= writes;
        }
        if let Some(peer) = self.peer() {
            if self.kind != Kind::Datagram {
                {
                    let mut state = peer.state.lock();
                    state.read_closed |= writes;
                    state.write_closed |= reads;
                }
                peer.source.notify(Events::IN | Events::OUT | Events::RDHUP | Events::HUP);
            }
            // There wait the calls that send from here.
            peer.room.notify(Events::OUT);
        }
        self.source.notify(Events::IN | Events::OUT | Events::RDHUP | Events::HUP);
        self.tell_of_room();
        Ok(())
    }

    /// The peer is gone: `reset` if it left bytes unread.
    pub(super) fn hang_up(&self, reset: bool) {
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
