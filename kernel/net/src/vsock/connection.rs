//! How sockets get an address and a peer, and lose them: bind, connect, listen, accept, shutdown, close.
use super::link::Link;
use super::socket::{Phase, State, VsockSocket};
use super::{Address, CID_ANY, PORT_ANY, table};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use coracle_core::errno::Errno;
use coracle_core::fs::file::File;
use coracle_core::ipc::poll::{Events, block_on_events};
use coracle_core::net::socket::SocketAddress;
use coracle_core::time::timer::Timer;
use coracle_fallible::prelude::*;
use coracle_hal::time;
use coracle_virtio::device::vsock::{Credit, Header, operation, shutdown};
use linux_raw_sys::net as n;

/// The longest queue of connections (net.core.somaxconn).
const MAX_BACKLOG: usize = 4096;
/// How long a closed socket waits for its peer to end the connection, too (Linux's VSOCK_CLOSE_TIMEOUT).
const CLOSE_TIMEOUT_NS: u64 = 8_000_000_000;

/// The address of this family that a program gave. EINVAL.
fn address_of(address: &SocketAddress) -> Result<Address, Errno> {
    match *address {
        SocketAddress::Vsock { cid, port } => Ok(Address { cid, port }),
        _ => Err(Errno::INVAL),
    }
}

impl VsockSocket {
    /// bind(2).
    pub(super) fn bind_to(&self, address: &SocketAddress) -> Result<(), Errno> {
        let wanted = address_of(address)?;
        self.take_address(&mut self.state.lock(), wanted)
    }

    fn take_address(&self, state: &mut State, wanted: Address) -> Result<(), Errno> {
        if state.local.is_some() {
            return Err(Errno::INVAL);
        }
        state.local = Some(table::bind(&self.this, wanted)?);
        state.is_bound = true;
        Ok(())
    }

    /// connect(2).
    pub(super) fn connect_to(&self, address: &SocketAddress, nonblock: bool) -> Result<(), Errno> {
        let link = self.request(address, nonblock)?;
        link.kick();
        let deadline = {
            let state = self.state.lock();
            time::now_ns().saturating_add(state.connect_timeout_ns)
        };
        let result = block_on_events(&self.source, Events::OUT, nonblock, Some(deadline), || {
            let mut state = self.state.lock();
            match state.phase {
                Phase::Connecting => Err(Errno::AGAIN),
                // It may be over by now: until a call looks, it was connected.
                Phase::Connected | Phase::Over => Ok(()),
                _ => Err(state.error.take().unwrap_or(Errno::CONNRESET)),
            }
        });
        let error = match result {
            Err(Errno::AGAIN) if nonblock => return Err(Errno::INPROGRESS),
            Err(Errno::AGAIN) => Errno::TIMEDOUT,
            // Linux's `sock_intr_errno`: there is a time-out always.
            Err(Errno::RESTARTSYS) => Errno::INTR,
            result => return result,
        };
        let mut state = self.state.lock();
        if let Phase::Connecting = state.phase {
            // It does not linger: nothing kept it.
            let _ = self.end(&mut state, Phase::Idle);
        }
        Err(error)
    }

    /// Queues what asks the peer for a connection, unless one is being made.
    fn request(&self, address: &SocketAddress, nonblock: bool) -> Result<Link, Errno> {
        let mut state = self.state.lock();
        match state.phase {
            _ if state.was_shut => return Err(Errno::INVAL),
            Phase::Listening { .. } => return Err(Errno::INVAL),
            Phase::Connected | Phase::Over => return Err(Errno::ISCONN),
            Phase::Connecting if nonblock => return Err(Errno::ALREADY),
            Phase::Connecting => return Ok(state.link),
            Phase::Idle => {}
        }
        let remote = address_of(address)?;
        state.remote = remote;
        state.link = Link::to(remote.cid, self.has_packets)?;
        if state.local.is_none() {
            self.take_address(&mut state, Address { cid: CID_ANY, port: PORT_ANY })?;
        }
        if nonblock {
            let deadline_ns = time::now_ns().saturating_add(state.connect_timeout_ns);
            self.set_timer(&mut state, deadline_ns)?;
        }
        let port = state.local.unwrap_or_default().port;
        table::connect(&self.this, state.link, port, remote)?;
        state.credit = Credit::new(state.sizes.capacity());
        (state.error, state.has_asked) = (None, false);
        state.phase = Phase::Connecting;
        if let Err(error) = self.say(&mut state, operation::REQUEST, 0) {
            // As above.
            let _ = self.end(&mut state, Phase::Idle);
            return Err(error);
        }
        Ok(state.link)
    }

    fn set_timer(&self, state: &mut State, deadline_ns: u64) -> Result<(), Errno> {
        let timer = match &mut state.timer {
            Some(timer) => timer,
            none => none.insert(Timer::new()?),
        };
        timer.set(deadline_ns, &self.this);
        state.deadline_ns = deadline_ns;
        Ok(())
    }

    /// listen(2).
    pub(super) fn start_listening(&self, backlog: usize) -> Result<(), Errno> {
        let mut state = self.state.lock();
        let limit = backlog.min(MAX_BACKLOG);
        let has_address = state.local.is_some();
        match &mut state.phase {
            Phase::Idle if has_address => {
                state.phase = Phase::Listening { queue: VecDeque::new(), backlog: limit };
            }
            Phase::Listening { backlog, .. } => *backlog = limit,
            _ => return Err(Errno::INVAL),
        }
        Ok(())
    }

    /// A peer asks a socket that listens for a connection. An error: it is to be refused.
    pub(super) fn admit(&self, state: &mut State, link: Link, header: &Header) -> Result<(), Errno> {
        let (sizes, connect_timeout_ns) = (state.sizes, state.connect_timeout_ns);
        let Phase::Listening { queue, backlog } = &mut state.phase else { return Err(Errno::CONNREFUSED) };
        if queue.len() > *backlog {
            return Err(Errno::CONNREFUSED);
        }
        queue.make_room_for(queue.len() + 1)?;
        let socket = VsockSocket::new(self.has_packets)?;
        {
            let mut state = socket.state.lock();
            (state.sizes, state.connect_timeout_ns) = (sizes, connect_timeout_ns);
            (state.link, state.local, state.remote) = (link, Some(header.destination), header.source);
            state.credit = Credit::new(sizes.capacity());
            state.credit.hear(header);
            state.phase = Phase::Connected;
            table::connect(&socket.this, link, header.destination.port, header.source)?;
            if let Err(error) = socket.say(&mut state, operation::RESPONSE, 0) {
                // As above.
                let _ = socket.end(&mut state, Phase::Idle);
                return Err(error);
            }
        }
        queue.push_back_reserved(socket);
        Ok(())
    }

    /// accept(2).
    pub(super) fn take_connection(&self, nonblock: bool) -> Result<(Arc<dyn File>, SocketAddress), Errno> {
        let deadline = self.common.receive_deadline();
        let socket = block_on_events(&self.source, Events::IN, nonblock, deadline, || {
            match &mut self.state.lock().phase {
                Phase::Listening { queue, .. } => queue.pop_front().ok_or(Errno::AGAIN),
                _ => Err(Errno::INVAL),
            }
        })?;
        let Address { cid, port } = socket.state.lock().remote;
        Ok((socket, SocketAddress::Vsock { cid, port }))
    }

    /// shutdown(2).
    pub(super) fn shut_down(&self, how: u32) -> Result<(), Errno> {
        let flags = match how {
            n::SHUT_RD => shutdown::RECEIVE,
            n::SHUT_WR => shutdown::SEND,
            n::SHUT_RDWR => shutdown::BOTH,
            _ => return Err(Errno::INVAL),
        };
        let link = {
            let mut state = self.state.lock();
            match state.phase {
                Phase::Idle | Phase::Listening { .. } => return Err(Errno::NOTCONN),
                Phase::Connecting | Phase::Connected | Phase::Over => {}
            }
            state.was_shut = true;
            state.shut |= flags;
            if let Phase::Connected = state.phase {
                self.say(&mut state, operation::SHUTDOWN, flags)?;
            }
            state.link
        };
        link.kick();
        self.source.notify(Events::all());
        Ok(())
    }

    /// The program has no descriptor of it any more.
    pub(super) fn close(&self) {
        let (link, kept, queue) = {
            let mut state = self.state.lock();
            if let Some(local) = state.local.filter(|_| core::mem::take(&mut state.is_bound)) {
                table::release(local);
            }
            let (kept, queue) = match core::mem::take(&mut state.phase) {
                Phase::Listening { queue, .. } => (None, queue),
                Phase::Connecting => (self.end(&mut state, Phase::Idle), VecDeque::new()),
                Phase::Connected => (self.part(&mut state), VecDeque::new()),
                Phase::Idle | Phase::Over => (None, VecDeque::new()),
            };
            state.inbox = Default::default();
            (state.link, kept, queue)
        };
        queue.iter().for_each(|waiting| waiting.closed());
        link.kick();
        self.source.notify(Events::all());
        drop(kept);
    }

    /// Ends a connection from this side. The socket stays until the peer has answered, so that what was sent before is not lost.
    fn part(&self, state: &mut State) -> Option<Arc<VsockSocket>> {
        state.phase = Phase::Connected;
        let this = self.this.upgrade();
        let is_mutual = state.peer_shut == shutdown::BOTH;
        let was_shut = state.shut == shutdown::BOTH;
        state.shut = shutdown::BOTH;
        let lingers = !is_mutual
            && (was_shut || self.say(state, operation::SHUTDOWN, shutdown::BOTH).is_ok())
            && self.set_timer(state, time::now_ns() + CLOSE_TIMEOUT_NS).is_ok();
        if lingers {
            state.lingers = this;
            return None;
        }
        // Without memory the peer learns it when it sends.
        let _ = self.say(state, operation::RST, 0);
        self.end(state, Phase::Over).or(this)
    }
}
