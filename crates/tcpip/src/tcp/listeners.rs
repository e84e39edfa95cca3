//! Which socket listens on which port. Used for segments without a connection.

use super::demux::Tuple;
use super::socket::TcpSocket;
use crate::address::Link;
use crate::device::Device;
use crate::events::Events;
use crate::hash::Key;
use crate::ip::Bound;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_fallible::NoMemory;
use coracle_fallible::prelude::*;
use coracle_sorted_map::SortedMap;
use spin::RwLock;

struct Listener<D: Device, E: Events> {
    bound: Bound,
    socket: Arc<TcpSocket<D, E>>,
}

/// A port, and the sockets that listen on it.
type OnPort<D, E> = (u16, Vec<Arc<TcpSocket<D, E>>>);

/// All listeners.
pub struct Listeners<D: Device, E: Events> {
    ports: RwLock<SortedMap<u16, Vec<Listener<D, E>>>>,
}

impl<D: Device, E: Events> Listeners<D, E> {
    /// None.
    pub fn new() -> Self {
        Listeners { ports: RwLock::new(SortedMap::default()) }
    }

    /// Adds a listener.
    ///
    /// # Errors
    /// [`NoMemory`].
    pub fn insert(&self, port: u16, bound: Bound, socket: Arc<TcpSocket<D, E>>) -> Result<(), NoMemory> {
        self.ports.write().get_or_insert_with(port, Vec::new)?.try_push(Listener { bound, socket })
    }

    /// The sockets that listen on the first port from `port` on where there are any. ENOMEM.
    pub fn next(&self, port: u64) -> Result<Option<OnPort<D, E>>, NoMemory> {
        let Ok(from) = u16::try_from(port) else { return Ok(None) };
        let ports = self.ports.read();
        let Some((port, there)) = ports.iter_from(&from).next() else { return Ok(None) };
        let sockets = there.iter().map(|listener| listener.socket.clone()).try_collect_vec()?;
        Ok(Some((*port, sockets)))
    }

    /// Has a listener take connections over one link alone, or over any.
    pub fn set_device(&self, port: u16, socket: &Arc<TcpSocket<D, E>>, device: Option<Link>) {
        let mut ports = self.ports.write();
        let there = ports.get_mut(&port).into_iter().flatten();
        there
            .filter(|listener| Arc::ptr_eq(&listener.socket, socket))
            .for_each(|listener| listener.bound.device = device);
    }

    /// Removes a listener.
    pub fn remove(&self, port: u16, socket: &Arc<TcpSocket<D, E>>) {
        let mut ports = self.ports.write();
        let mut gone = None;
        if let Some(there) = ports.get_mut(&port) {
            let index = there.iter().position(|listener| Arc::ptr_eq(&listener.socket, socket));
            gone = index.map(|index| there.remove(index));
            if there.is_empty() {
                ports.remove(&port);
            }
        }
        drop(ports);
        drop(gone);
    }

    /// The listener for a tuple of a segment that came over `link`: one bound to the very address rather than one bound to all, and one of the tuple's family
    /// rather than one of both; of several that share (`SO_REUSEPORT`), the one the tuple's hash chooses.
    pub fn find(&self, tuple: &Tuple, link: Link, key: Key) -> Option<Arc<TcpSocket<D, E>>> {
        let ports = self.ports.read();
        let there = ports.get(&tuple.local_port)?;
        let meets = |listener: &Listener<D, E>| listener.bound.meets(tuple.local, Some(link));
        let best = there.iter().map(meets).max().filter(|best| *best > 0)?;
        let mut all = there.iter().filter(|listener| meets(listener) == best);
        let count = all.clone().count();
        let choice = if count > 1 { (tuple.spread(key) >> 32) as usize % count } else { 0 };
        all.nth(choice).map(|listener| listener.socket.clone())
    }
}
