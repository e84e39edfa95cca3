//! Which socket has which local port.

use super::settings::UdpListed;
use crate::address::Link;
use crate::device::Device;
use crate::error::Result;
use crate::events::Events;
use crate::ip::{Bound, Endpoint};
use crate::ports::Ports;
use crate::stack::{Stack, Udp};
use crate::tcp::Tuple;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_fallible::prelude::*;
use coracle_sorted_map::SortedMap;
use spin::RwLock;

/// A socket with a port.
pub(super) struct Entry<D: Device, E: Events> {
    pub bound: Bound,
    pub peer: Option<Endpoint>,
    socket: Udp<D, E>,
}

/// A port, and its sockets.
type OnPort<D, E> = (u16, Vec<Udp<D, E>>);

/// Sockets by local port.
pub struct UdpTable<D: Device, E: Events> {
    ports: RwLock<SortedMap<u16, Vec<Entry<D, E>>>>,
}

impl<D: Device, E: Events> UdpTable<D, E> {
    /// No sockets.
    pub fn new() -> Self {
        UdpTable { ports: RwLock::new(SortedMap::default()) }
    }

    /// The sockets that want a datagram: the best match, of equals (`SO_REUSEPORT`) the one the hash chooses.
    pub(super) fn find(
        &self,
        tuple: &Tuple,
        link: Option<Link>,
        spread: impl FnOnce() -> u64,
    ) -> Option<Udp<D, E>> {
        let ports = self.ports.read();
        let there = ports.get(&tuple.local_port)?;
        let remote = Endpoint::new(tuple.remote, tuple.remote_port);
        let score = |entry: &Entry<D, E>| {
            /// More than any address and device count.
            const PEER: u8 = 8;
            match (entry.bound.meets(tuple.local, link), entry.peer) {
                (0, _) => 0,
                (address, None) => address,
                (address, Some(peer)) if peer == remote => address + PEER,
                _ => 0,
            }
        };
        if let [only] = &there[..] {
            return (score(only) > 0).then(|| only.socket.clone());
        }
        let best = there.iter().map(score).max().filter(|best| *best > 0)?;
        let count = there.iter().filter(|entry| score(entry) == best).count();
        let choice = if count > 1 { spread() as usize % count } else { 0 };
        there.iter().filter(|entry| score(entry) == best).nth(choice).map(|entry| entry.socket.clone())
    }

    /// All sockets that a broadcast or multicast datagram is for.
    pub(super) fn all(&self, tuple: &Tuple, link: Link) -> Result<Vec<Udp<D, E>>> {
        let ports = self.ports.read();
        let remote = Endpoint::new(tuple.remote, tuple.remote_port);
        let wants = |b: &&Entry<D, E>| {
            b.bound.meets(tuple.local, Some(link)) > 0 && b.peer.is_none_or(|peer| peer == remote)
        };
        let there = ports.get(&tuple.local_port).map_or(&[][..], |there| there);
        Ok(there.iter().filter(wants).map(|b| b.socket.clone()).try_collect_vec()?)
    }

    /// The sockets of the first port from `port` on that has any.
    pub(super) fn next(&self, port: u64) -> Result<Option<OnPort<D, E>>> {
        let Ok(from) = u16::try_from(port) else { return Ok(None) };
        let ports = self.ports.read();
        let Some((port, there)) = ports.iter_from(&from).next() else { return Ok(None) };
        Ok(Some((*port, there.iter().map(|entry| entry.socket.clone()).try_collect_vec()?)))
    }

    /// Adds a socket.
    pub(super) fn insert(&self, port: u16, bound: Bound, socket: Udp<D, E>) -> Result<()> {
        let entry = Entry { bound, peer: None, socket };
        Ok(self.ports.write().get_or_insert_with(port, Vec::new)?.try_push(entry)?)
    }

    /// Changes what is known of a socket.
    pub(super) fn change(&self, port: u16, socket: &Udp<D, E>, change: impl FnOnce(&mut Entry<D, E>)) {
        if let Some(there) = self.ports.write().get_mut(&port)
            && let Some(entry) = there.iter_mut().find(|entry| Arc::ptr_eq(&entry.socket, socket))
        {
            change(entry);
        }
    }

    /// Removes a socket.
    pub(super) fn remove(&self, port: u16, socket: &Udp<D, E>) {
        let mut ports = self.ports.write();
        let mut gone = None;
        if let Some(there) = ports.get_mut(&port) {
            let index = there.iter().position(|entry| Arc::ptr_eq(&entry.socket, socket));
            gone = index.map(|index| there.remove(index));
            if there.is_empty() {
                ports.remove(&port);
            }
        }
        drop(ports);
        drop(gone);
    }
}

impl<D: Device, E: Events> Stack<D, E> {
    /// The sockets and ports of UDP, or of UDP-Lite.
    #[inline]
    pub(super) fn udp_space(&self, is_lite: bool) -> (&UdpTable<D, E>, &Ports) {
        if is_lite { (&self.udp_lite, &self.udp_lite_ports) } else { (&self.udp, &self.udp_ports) }
    }

    /// Lists the sockets of UDP, or of UDP-Lite, that have a port, from a position on: 0, or one that was returned. Returns where the next piece begins;
    /// `None` at the end.
    ///
    /// # Errors
    /// [`Error::NoBuffers`](crate::Error::NoBuffers).
    pub fn udp_list(
        &self,
        is_lite: bool,
        from: u64,
        each: &mut dyn FnMut(&UdpListed, &E),
    ) -> Result<Option<u64>> {
        let Some((port, sockets)) = self.udp_space(is_lite).0.next(from)? else { return Ok(None) };
        sockets.iter().for_each(|socket| each(&socket.listed(), socket.events()));
        Ok(Some(u64::from(port) + 1))
    }
}
