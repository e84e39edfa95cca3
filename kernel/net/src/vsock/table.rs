//! The sockets by their addresses.
use super::link::{self, Link};
use super::socket::VsockSocket;
use super::{Address, CID_ANY, CID_LOCAL, LAST_RESERVED_PORT, PORT_ANY};
use alloc::sync::{Arc, Weak};
use coracle_core::errno::Errno;
use coracle_core::fs::access::{capability, check_capability};
use coracle_core::lock::Mutex;
use coracle_core::random;
use coracle_sorted_map::SortedMap;
use coracle_virtio::device::vsock::Header;

/// The local port and the peer of a connection.
type Pair = (u32, Address);

struct Table {
    /// By port and CID.
    bound: SortedMap<(u32, u32), Weak<VsockSocket>>,
    connected: SortedMap<Pair, (Link, Weak<VsockSocket>)>,
    /// The port that the next socket gets which does not ask for one; 0: not chosen yet.
    next_port: u32,
}

static TABLE: Mutex<Table> =
    Mutex::new(Table { bound: SortedMap::new(), connected: SortedMap::new(), next_port: 0 });

impl Table {
    /// Whether an address is taken (Linux's `__vsock_find_bound_socket`).
    fn is_taken(&self, cid: u32, port: u32) -> bool {
        match cid {
            CID_ANY => self.bound.iter_from(&(port, 0)).next().is_some_and(|((taken, _), _)| *taken == port),
            _ => self.bound.contains_key(&(port, cid)) || self.bound.contains_key(&(port, CID_ANY)),
        }
    }

    /// A port that is free.
    fn free_port(&mut self, cid: u32) -> Option<u32> {
        /// How many are looked at (Linux's MAX_PORT_RETRIES).
        const TRIES: usize = 24;
        (0..TRIES).find_map(|_| {
            if self.next_port <= LAST_RESERVED_PORT || self.next_port == PORT_ANY {
                self.next_port = LAST_RESERVED_PORT + 1;
            }
            let port = self.next_port;
            self.next_port += 1;
            (!self.is_taken(cid, port)).then_some(port)
        })
    }
}

/// Gives a socket an address; returns it. EADDRNOTAVAIL, EACCES, EADDRINUSE, ENOMEM.
pub fn bind(socket: &Weak<VsockSocket>, wanted: Address) -> Result<Address, Errno> {
    let Address { cid, mut port } = wanted;
    if !matches!(cid, CID_ANY | CID_LOCAL) && link::own_cid() != Some(cid) {
        return Err(Errno::ADDRNOTAVAIL);
    }
    if port <= LAST_RESERVED_PORT {
        check_capability(capability::NET_BIND_SERVICE).map_err(|_| Errno::ACCES)?;
    }
    let seed = random::u64() as u32;
    let mut table = TABLE.lock();
    if port == PORT_ANY {
        if table.next_port == 0 {
            table.next_port = seed;
        }
        port = table.free_port(cid).ok_or(Errno::ADDRNOTAVAIL)?;
    } else if table.is_taken(cid, port) {
        return Err(Errno::ADDRINUSE);
    }
    table.bound.insert((port, cid), socket.clone())?;
    Ok(Address { cid, port })
}

/// An address is free again.
pub fn release(address: Address) {
    let gone = TABLE.lock().bound.remove(&(address.port, address.cid));
    drop(gone);
}

/// From now on packets of that peer are for this socket. EADDRINUSE, ENOMEM.
pub fn connect(socket: &Weak<VsockSocket>, link: Link, port: u32, peer: Address) -> Result<(), Errno> {
    let mut table = TABLE.lock();
    if table.connected.contains_key(&(port, peer)) {
        return Err(Errno::ADDRINUSE);
    }
    table.connected.insert((port, peer), (link, socket.clone()))?;
    Ok(())
}

/// Or no more.
pub fn disconnect(port: u32, peer: Address) {
    let gone = TABLE.lock().connected.remove(&(port, peer));
    drop(gone);
}

/// The socket that a packet is for: one that has its sender as peer, or one that is bound to its address.
pub fn find(header: &Header) -> Option<Arc<VsockSocket>> {
    let Address { cid, port } = header.destination;
    let table = TABLE.lock();
    let connected = table.connected.get(&(port, header.source)).map(|(_, socket)| socket);
    let bound = || table.bound.get(&(port, cid)).or_else(|| table.bound.get(&(port, CID_ANY)));
    connected.or_else(bound)?.upgrade()
}

/// Takes a socket out that is connected by a link. `None` if there is none any more.
pub fn take_any(link: Link) -> Option<Arc<VsockSocket>> {
    let mut table = TABLE.lock();
    loop {
        let key = *table.connected.iter().find(|(_, (by, _))| *by == link)?.0;
        let (_, socket) = table.connected.remove(&key)?;
        if let Some(socket) = socket.upgrade() {
            return Some(socket);
        }
    }
}
