//! How a program gets a socket, a port and a peer, and gives them up.

use super::settings::{UdpOptions, Way};
use super::socket::{State, UdpSocket};
use crate::address::Link;
use crate::coverage::Coverage;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::events::{Events, Readiness};
use crate::ip::{Address, Bound, Endpoint, Family};
use crate::ports::{Chosen, Claim};
use crate::stack::{Stack, Udp};
use crate::tcp::Shutdown;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use coracle_fallible::try_arc;
use core::sync::atomic::AtomicU32;
use spin::Mutex;

impl<D: Device, E: Events> Stack<D, E> {
    /// Makes a socket of UDP, or of UDP-Lite.
    ///
    /// # Errors
    /// [`Error::NoBuffers`].
    pub fn udp_socket(&self, is_lite: bool, events: E) -> Result<Udp<D, E>> {
        let options = UdpOptions {
            broadcast: false,
            reuse_address: false,
            reuse_port: false,
            receive_buffer: self.config.limits.udp_receive,
            ttl: 64,
            tos: 0,
            multicast_ttl: 1,
            multicast_loop: true,
            multicast_all: true,
            multicast_link: None,
            multicast_source: Address::default(),
            family: Family::V4,
            device: None,
            hops: None,
            multicast_hops: 1,
            traffic_class: 0,
            reports: false,
            coverage: Coverage::default(),
            greatest_v6: None,
        };
        let state = State {
            local: Endpoint::default(),
            peer: None,
            claimed: false,
            chosen: Chosen::default(),
            options,
            groups: Vec::new(),
            queue: VecDeque::new(),
            held: 0,
            dropped: 0,
            error: None,
            reports: VecDeque::new(),
            receive_shut: false,
            send_shut: false,
        };
        let ready = AtomicU32::new(state.readiness().bits());
        Ok(try_arc(UdpSocket { ready, is_lite, events, state: Mutex::new(state) })?)
    }

    /// Binds a socket to a local address (0.0.0.0, `::`: all) and port (0: chosen). bind(2).
    pub fn udp_bind(&self, socket: &Udp<D, E>, local: impl Into<Endpoint>) -> Result<()> {
        let local = local.into();
        let address = local.address;
        let mut state = socket.state.lock();
        if state.claimed {
            return Err(Error::Invalid);
        }
        if !self.can_be_bound(address) {
            return Err(Error::AddressNotAvailable);
        }
        self.udp_claim(socket, &mut state, address, local.port)?;
        state.chosen = Chosen::of(local);
        Ok(())
    }

    fn udp_claim(
        &self,
        socket: &Udp<D, E>,
        state: &mut State<D::Buf>,
        address: Address,
        port: u16,
    ) -> Result<()> {
        let bound = Bound::new(address, state.options.family, state.options.device);
        let claim = Claim {
            owner: socket.id(),
            bound,
            reuse_address: state.options.reuse_address,
            reuse_port: state.options.reuse_port,
            listening: false,
        };
        // The port of a query must not be foreseeable (RFC 6056): the counter of the table is keyed and salted.
        let random = self.keys.cookie.hash(address.words().1, socket.id() as u64);
        let (table, ports) = self.udp_space(socket.is_lite);
        let port = ports.bind(port, claim, random)?;
        table.insert(port, bound, socket.clone()).inspect_err(|_| ports.release(port, socket.id()))?;
        state.claimed = true;
        state.local = Endpoint { address, port };
        Ok(())
    }

    /// Has a socket receive over one link alone, or over any (`SO_BINDTODEVICE`).
    pub fn udp_set_device(&self, socket: &Udp<D, E>, device: Option<Link>) {
        let mut state = socket.state.lock();
        state.options.device = device;
        if state.claimed {
            let (table, _) = self.udp_space(socket.is_lite);
            table.change(state.local.port, socket, |entry| entry.bound.device = device);
        }
    }

    /// Forgets the peer, and what of the local address the program has not chosen. What was shut down remains so. connect(2) to
    /// AF_UNSPEC.
    pub fn udp_disconnect(&self, socket: &Udp<D, E>) {
        let mut state = socket.state.lock();
        let (table, ports) = self.udp_space(socket.is_lite);
        let port = state.local.port;
        state.peer = None;
        if !state.chosen.address {
            state.local.address = state.options.family.any();
        }
        if state.chosen.port {
            let address = state.local.address;
            table.change(port, socket, |entry| {
                entry.peer = None;
                entry.bound.address = address;
            });
        } else if state.claimed {
            state.claimed = false;
            state.local.port = 0;
            table.remove(port, socket);
            ports.release(port, socket.id());
        }
    }

    /// Fixes the peer. connect(2).
    pub fn udp_connect(&self, socket: &Udp<D, E>, peer: impl Into<Endpoint>) -> Result<()> {
        let peer = peer.into();
        let mut state = socket.state.lock();
        let there = Endpoint::new(peer.address.or_localhost(), peer.port);
        let (route, _) = self.udp_route(&state, there.address, &Way::default())?;
        self.udp_claim_any(socket, &mut state)?;
        if state.local.address.is_unspecified() {
            state.local.address = route.source;
        }
        let here = state.local;
        state.peer = Some(there);
        self.udp_space(socket.is_lite).0.change(here.port, socket, |entry| {
            entry.peer = Some(there);
            entry.bound.address = here.address;
        });
        Ok(())
    }

    /// A socket without a port gets one.
    pub(super) fn udp_claim_any(&self, socket: &Udp<D, E>, state: &mut State<D::Buf>) -> Result<()> {
        if state.claimed {
            return Ok(());
        }
        let address = if state.chosen.address { state.local.address } else { state.options.family.any() };
        self.udp_claim(socket, state, address, 0)
    }
    /// Shuts a direction down for good, and wakes waiters. Datagrams that arrive later are received all the same by calls
    /// that find them there. Without a peer the error is `NotConnected`, but the direction is shut down as well: programs end
    /// their receiving thread so (Linux's `inet_shutdown`). shutdown(2).
    pub fn udp_shutdown(&self, socket: &Udp<D, E>, how: Shutdown) -> Result<()> {
        let mut state = socket.state.lock();
        state.receive_shut |= how != Shutdown::Write;
        state.send_shut |= how != Shutdown::Read;
        let connected = state.peer.is_some();
        socket.settle(state, Readiness::ALL);
        if connected { Ok(()) } else { Err(Error::NotConnected) }
    }

    /// The program has closed the socket. close(2).
    pub fn udp_close(&self, socket: &Udp<D, E>) {
        let mut state = socket.state.lock();
        let port = state.claimed.then_some(state.local.port);
        state.claimed = false;
        let queue = core::mem::take(&mut state.queue);
        let groups = core::mem::take(&mut state.groups);
        state.held = 0;
        drop(state);
        self.leave_all(groups);
        drop(queue);
        if let Some(port) = port {
            let (table, ports) = self.udp_space(socket.is_lite);
            table.remove(port, socket);
            ports.release(port, socket.id());
        }
    }
}
