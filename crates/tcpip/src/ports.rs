//! Local ports: which socket is bound to which port, and the choice of an ephemeral port (RFC 6056). TCP and UDP have a table
//! each, with one lock.
//!
//! A connection holds its port by a counted claim, so that any number of connections of a server cost one entry.

use crate::error::{Error, Result};
use crate::ip::{Bound, Endpoint};
use alloc::vec::Vec;
use coracle_fallible::prelude::*;
use coracle_sorted_map::SortedMap;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use spin::Mutex;

/// The range for automatic choice (Linux: `ip_local_port_range`).
const FIRST_EPHEMERAL: u16 = 32768;
const LAST_EPHEMERAL: u16 = 60999;
const EPHEMERALS: u32 = (LAST_EPHEMERAL - FIRST_EPHEMERAL) as u32 + 1;

/// A socket's claim to a port.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// The socket (its place in memory names it).
    pub owner: usize,
    /// Its addresses.
    pub bound: Bound,
    /// `SO_REUSEADDR`.
    pub reuse_address: bool,
    /// `SO_REUSEPORT`.
    pub reuse_port: bool,
    /// Whether it listens (TCP): then another may not, whatever `SO_REUSEADDR` says.
    pub listening: bool,
}

impl Claim {
    fn conflicts(&self, other: &Claim) -> bool {
        let overlap = self.bound.overlaps(&other.bound);
        let shared = (self.reuse_port && other.reuse_port)
            || (self.reuse_address && other.reuse_address && !self.listening && !other.listening);
        self.owner != other.owner && overlap && !shared
    }
}

/// What of its local address a program has chosen, and not the stack for it: it stays when the socket is disconnected (Linux's
/// SOCK_BINDADDR_LOCK and SOCK_BINDPORT_LOCK).
#[derive(Clone, Copy, Debug, Default)]
pub struct Chosen {
    /// The address.
    pub address: bool,
    /// The port.
    pub port: bool,
}

impl Chosen {
    /// What `local` leaves to the stack is not chosen.
    pub fn of(local: Endpoint) -> Chosen {
        Chosen { address: !local.address.is_unspecified(), port: local.port != 0 }
    }
}

/// The owner of all claims that connections make. No socket lies at address 0.
const CONNECTIONS: usize = 0;

/// A claim, and how many make it: one socket, or any number of connections.
struct Held {
    claim: Claim,
    count: usize,
}

impl Held {
    fn by_socket(claim: Claim) -> Held {
        Held { claim, count: 1 }
    }

    fn is_same(&self, claim: &Claim) -> bool {
        let own = &self.claim;
        own.owner == claim.owner
            && own.bound == claim.bound
            && own.reuse_address == claim.reuse_address
            && own.reuse_port == claim.reuse_port
    }
}

/// A connection's share of a port; released by [`Ports::let_go`].
#[derive(Clone, Debug)]
pub struct Hold {
    port: u16,
    claim: Claim,
}

impl Hold {
    /// Whether its socket was made for the addresses of IPv6.
    pub fn is_v6(&self) -> bool {
        !self.claim.bound.address.is_v4()
    }
}

/// The claims of one protocol.
#[derive(Default)]
pub struct Ports {
    claims: Mutex<SortedMap<u16, Vec<Held>>>,
    counter: AtomicU32,
}

impl Ports {
    /// Claims a port; 0 chooses one. Returns the port.
    pub fn bind(&self, port: u16, claim: Claim, random: u64) -> Result<u16> {
        let mut claims = self.claims.lock();
        if port != 0 {
            if claims.get(&port).is_some_and(|there| there.iter().any(|other| claim.conflicts(&other.claim)))
            {
                return Err(Error::AddressInUse);
            }
            add(&mut claims, port, Held::by_socket(claim))?;
            return Ok(port);
        }
        let port =
            self.candidates(random).find(|port| !claims.contains_key(port)).ok_or(Error::AddressInUse)?;
        add(&mut claims, port, Held::by_socket(claim))?;
        Ok(port)
    }

    /// The socket begins to listen on its port.
    pub fn listen(&self, port: u16, claim: Claim) -> Result<()> {
        let mut claims = self.claims.lock();
        let there = claims.get_mut(&port);
        // Only another listener is in the way: sockets that are merely bound may share by SO_REUSEADDR.
        if there.is_some_and(|there| {
            there.iter().any(|other| other.claim.listening && claim.conflicts(&other.claim))
        }) {
            return Err(Error::AddressInUse);
        }
        let own = claims
            .get_mut(&port)
            .and_then(|there| there.iter_mut().find(|other| other.claim.owner == claim.owner));
        match own {
            Some(own) => *own = Held::by_socket(claim),
            None => add(&mut claims, port, Held::by_socket(claim))?,
        }
        Ok(())
    }

    /// The socket listens no more, and keeps its port.
    pub fn stop_listening(&self, port: u16, owner: usize) {
        let mut claims = self.claims.lock();
        let there = claims.get_mut(&port);
        if let Some(own) = there.and_then(|there| there.iter_mut().find(|held| held.claim.owner == owner)) {
            own.claim.listening = false;
        }
    }

    /// Releases a port.
    pub fn release(&self, port: u16, owner: usize) {
        let mut claims = self.claims.lock();
        if let Some(there) = claims.get_mut(&port) {
            there.retain(|held| held.claim.owner != owner);
            if there.is_empty() {
                claims.remove(&port);
            }
        }
    }

    /// A connection from `bound` begins on a port, or is remembered as having ended (TIME_WAIT): as on Linux, its port can
    /// be bound meanwhile only by a socket that shares it. `None`: out of memory, and the port is not held.
    pub fn hold(&self, port: u16, bound: Bound, reuse_address: bool, reuse_port: bool) -> Option<Hold> {
        let claim = Claim { owner: CONNECTIONS, bound, reuse_address, reuse_port, listening: false };
        let mut claims = self.claims.lock();
        let there = claims.get_mut(&port);
        match there.and_then(|there| there.iter_mut().find(|held| held.is_same(&claim))) {
            Some(held) => held.count += 1,
            None => add(&mut claims, port, Held { claim, count: 1 }).ok()?,
        }
        Some(Hold { port, claim })
    }

    /// The connection is over and forgotten.
    pub fn let_go(&self, hold: Hold) {
        let mut claims = self.claims.lock();
        if let Some(there) = claims.get_mut(&hold.port)
            && let Some(index) = there.iter().position(|held| held.is_same(&hold.claim))
        {
            there[index].count -= 1;
            if there[index].count == 0 {
                there.swap_remove(index);
            }
            if there.is_empty() {
                claims.remove(&hold.port);
            }
        }
    }

    /// Whether a socket is bound to the port. Connections to other peers may share it.
    pub fn is_claimed(&self, port: u16) -> bool {
        let claims = self.claims.lock();
        claims.get(&port).is_some_and(|there| there.iter().any(|held| held.claim.owner != CONNECTIONS))
    }

    /// Ports to try, from an unpredictable start (RFC 6056, 3.3.3: `random` is a keyed hash of the destination).
    pub fn candidates(&self, random: u64) -> impl Iterator<Item = u16> + use<> {
        let start = (random as u32).wrapping_add(self.counter.fetch_add(1, Relaxed));
        (0..EPHEMERALS).map(move |i| FIRST_EPHEMERAL + (start.wrapping_add(i) % EPHEMERALS) as u16)
    }
}

/// Adds a claim to those of a port.
fn add(claims: &mut SortedMap<u16, Vec<Held>>, port: u16, held: Held) -> Result<()> {
    let added = claims.get_or_insert_with(port, Vec::new)?.try_push(held);
    if added.is_err() && claims.get(&port).is_some_and(Vec::is_empty) {
        claims.remove(&port);
    }
    Ok(added?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(address: u32) -> Bound {
        Bound::new(crate::ip::Address::v4(address), crate::ip::Family::V4, None)
    }

    fn claim(owner: usize, address: u32) -> Claim {
        Claim { owner, bound: v4(address), reuse_address: false, reuse_port: false, listening: false }
    }

    #[test]
    fn conflicts_as_on_linux() {
        let ports = Ports::default();
        assert_eq!(ports.bind(80, claim(1, 0), 0), Ok(80));
        assert_eq!(ports.bind(80, claim(2, 5), 0), Err(Error::AddressInUse));
        ports.release(80, 1);
        assert_eq!(ports.bind(80, claim(2, 5), 0), Ok(80));
        assert_eq!(ports.bind(80, claim(3, 6), 0), Ok(80));
        let reuse = |owner| Claim { reuse_address: true, ..claim(owner, 0) };
        assert_eq!(ports.bind(81, reuse(4), 0), Ok(81));
        assert_eq!(ports.bind(81, reuse(5), 0), Ok(81));
        assert_eq!(ports.listen(81, Claim { listening: true, ..reuse(4) }), Ok(()));
        assert_eq!(ports.listen(81, Claim { listening: true, ..reuse(5) }), Err(Error::AddressInUse));
        assert_eq!(ports.bind(81, reuse(6), 0), Err(Error::AddressInUse));
        ports.stop_listening(81, 4);
        assert_eq!(ports.bind(81, reuse(6), 0), Ok(81));
        assert_eq!(ports.listen(81, Claim { listening: true, ..reuse(5) }), Ok(()));
    }

    #[test]
    fn connections_keep_others_from_their_port() {
        let ports = Ports::default();
        let reuse = |owner| Claim { reuse_address: true, ..claim(owner, 0) };
        let holds = [ports.hold(80, v4(5), true, false), ports.hold(80, v4(5), true, false)];
        assert!(!ports.is_claimed(80));
        assert_eq!(ports.bind(80, claim(1, 0), 0), Err(Error::AddressInUse));
        assert_eq!(ports.bind(80, claim(1, 6), 0), Ok(80));
        ports.release(80, 1);
        assert_eq!(ports.bind(80, reuse(2), 0), Ok(80));
        assert_eq!(ports.listen(80, Claim { listening: true, ..reuse(2) }), Ok(()));
        ports.release(80, 2);
        for hold in holds.into_iter().flatten() {
            assert_eq!(ports.bind(80, claim(3, 0), 0), Err(Error::AddressInUse));
            ports.let_go(hold);
        }
        assert_eq!(ports.bind(80, claim(3, 0), 0), Ok(80));
    }

    #[test]
    fn automatic_ports_are_distinct() {
        let ports = Ports::default();
        let mut seen = alloc::collections::BTreeSet::new();
        for owner in 0..EPHEMERALS as usize {
            let port = ports.bind(0, claim(owner, 0), 77).unwrap();
            assert!((FIRST_EPHEMERAL..=LAST_EPHEMERAL).contains(&port) && seen.insert(port));
        }
        assert_eq!(ports.bind(0, claim(99999, 0), 77), Err(Error::AddressInUse));
    }
}
