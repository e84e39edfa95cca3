//! The stack: the state that its parts share, and what drives them: frames, timers and deferred work.

use crate::address::{Addresses, LoopbackState};
use crate::autoconf::Ipv6;
use crate::config::{Config, Ipv4Config};
use crate::counters::{Count, Counters, Traffic};
use crate::device::{Capabilities, Device, TxFrame};
use crate::dhcp::Client;
use crate::events::{Ends, Events, Observation};
use crate::groups::Groups;
use crate::hash::Key;
use crate::icmp::ErrorLimit;
use crate::loopback::Loopback;
use crate::neighbor::Neighbors;
use crate::ports::Ports;
use crate::reassembly::Reassembly;
use crate::tcp::{Cookies, Demux, Listeners, TcpSocket, Tuple, fast_open_setting};
use crate::timers::{NEVER, Timer, TimerHandle, Timers};
use crate::udp::{UdpSocket, UdpTable};
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_fallible::prelude::*;
use core::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicUsize, Ordering};
use spin::Mutex;

/// A TCP socket, shared.
pub type Tcp<D, E> = Arc<TcpSocket<D, E>>;
/// A UDP socket, shared.
pub type Udp<D, E> = Arc<UdpSocket<D, E>>;

/// Secrets, one for each use, so that none reveals another.
pub struct Keys {
    /// Hash tables and the choice among sockets that share a port.
    pub demux: Key,
    /// Initial sequence numbers, timestamps, local ports.
    pub sequence: Key,
    /// SYN cookies.
    pub cookie: Key,
    /// Cookies of TCP Fast Open.
    pub fast_open: Key,
}

impl Keys {
    fn new(secret: [u64; 4]) -> Self {
        let key = Key(secret[0], secret[1]);
        let derive = |n| Key(key.hash(secret[2], n), key.hash(secret[3], n));
        Keys { demux: derive(1), sequence: derive(2), cookie: derive(3), fast_open: derive(4) }
    }
}

/// Timers of the protocols' own chores.
pub struct Chores {
    /// Of the neighbour cache.
    pub neighbors: TimerHandle,
    /// Of reassembly.
    pub reassembly: TimerHandle,
    /// Of the DHCP client.
    pub dhcp: TimerHandle,
    /// Of IPv6 on the link.
    pub ipv6: TimerHandle,
    /// Of what looks at packets on the way.
    pub watchers: TimerHandle,
}

/// The TCP/IP stack of one device and the loopback.
///
/// All methods take `&self` and may be called from any CPU at once. `now` is a monotonic time in ns, the same clock
/// everywhere. No method waits; none may be called from [`Events::notify`] or from [`Device`].
pub struct Stack<D: Device, E: Events> {
    pub(crate) device: D,
    pub(crate) mac: [u8; 6],
    pub(crate) mtu: usize,
    pub(crate) capabilities: Capabilities,
    pub(crate) config: Config,
    pub(crate) keys: Keys,
    pub(crate) addresses: Addresses,
    pub(crate) v6: Ipv6,
    pub(crate) neighbors: Neighbors<D::Buf>,
    pub(crate) loopback: Loopback<D::Buf>,
    pub(crate) reassembly: Mutex<Reassembly<D::Buf>>,
    pub(crate) icmp_limit: ErrorLimit,
    pub(crate) timers: Timers<D, E>,
    pub(crate) chores: Chores,
    pub(crate) demux: Demux<D, E>,
    pub(crate) listeners: Listeners<D, E>,
    pub(crate) tcp_ports: Ports,
    pub(crate) time_waits: AtomicUsize,
    /// `net.ipv4.tcp_fastopen`.
    pub(crate) fast_open: AtomicU32,
    pub(crate) cookies: Cookies,
    pub(crate) udp: UdpTable<D, E>,
    pub(crate) udp_ports: Ports,
    pub(crate) udp_lite: UdpTable<D, E>,
    pub(crate) udp_lite_ports: Ports,
    pub(crate) groups: Groups,
    pub(crate) dhcp: Mutex<Option<Client>>,
    pub(crate) counters: Counters,
    ident: AtomicU16,
    deferred: Mutex<Vec<Tcp<D, E>>>,
    any_deferred: AtomicBool,
    blocked: Mutex<Vec<Tcp<D, E>>>,
    any_blocked: AtomicBool,
}

impl<D: Device, E: Events> Stack<D, E> {
    /// Counts a packet that is dropped, and tells of it.
    pub(crate) fn drop_packet(&self, ends: Ends, why: Count) {
        self.counters.add(why);
        E::observe(&Observation::Drop(ends, why));
    }

    /// Sends a frame that is lost if the device has no room for it.
    pub(crate) fn transmit_or_drop(&self, frame: TxFrame<'_, D::Buf>) {
        if self.device.transmit(frame).is_err() {
            self.counters.add(Count::OutDrops);
        }
    }

    /// A stack without an address: only the loopback works.
    ///
    /// # Errors
    /// [`Error::NoBuffers`](crate::Error::NoBuffers).
    pub fn new(device: D, config: Config) -> crate::error::Result<Self> {
        let keys = Keys::new(config.secret);
        let timers = Timers::new();
        let chores = Chores {
            neighbors: timers.insert(0, Timer::Neighbors)?,
            reassembly: timers.insert(0, Timer::Reassembly)?,
            dhcp: timers.insert(0, Timer::Dhcp)?,
            ipv6: timers.insert(0, Timer::Ipv6)?,
            watchers: timers.insert(0, Timer::Watchers)?,
        };
        Ok(Stack {
            mac: device.mac(),
            mtu: device.mtu(),
            capabilities: device.capabilities(),
            device,
            config,
            addresses: Addresses::default(),
            v6: Ipv6::default(),
            neighbors: Neighbors::default(),
            loopback: Loopback::default(),
            reassembly: Mutex::new(Reassembly::default()),
            icmp_limit: ErrorLimit::default(),
            timers,
            chores,
            demux: Demux::new(keys.demux),
            listeners: Listeners::new(),
            tcp_ports: Ports::default(),
            time_waits: AtomicUsize::new(0),
            fast_open: AtomicU32::new(fast_open_setting::CLIENT),
            cookies: Cookies::default(),
            udp: UdpTable::new(),
            udp_ports: Ports::default(),
            udp_lite: UdpTable::new(),
            udp_lite_ports: Ports::default(),
            groups: Groups::default(),
            dhcp: Mutex::new(None),
            counters: Counters::default(),
            ident: AtomicU16::new(keys.sequence.hash(0, 0) as u16),
            deferred: Mutex::new(Vec::new()),
            any_deferred: AtomicBool::new(false),
            blocked: Mutex::new(Vec::new()),
            any_blocked: AtomicBool::new(false),
            keys,
        })
    }

    /// The device.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// What the stack has counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Connections in TIME_WAIT.
    pub fn time_waits(&self) -> usize {
        self.time_waits.load(Ordering::Relaxed)
    }

    /// The loopback's state.
    pub fn loopback_state(&self) -> LoopbackState {
        self.addresses.loopback()
    }

    /// Changes that.
    pub fn set_loopback_state(&self, state: LoopbackState) {
        self.addresses.set_loopback(state);
    }

    /// What went over the loopback.
    pub fn looped(&self) -> Traffic {
        self.loopback.traffic()
    }

    /// Has [`Device::looped`] called for each packet that goes over the loopback from now on, or not any more.
    pub fn watch_loopback(&self, on: bool) {
        self.loopback.watch(on);
    }

    /// Has [`Device::tell_watchers`] called by the next [`poll`](Self::poll). May be called from [`Device`].
    pub fn tell_watchers_later(&self) {
        self.timers.set(self.chores.watchers, 0);
    }

    /// Configures the device's address, or takes it away. Tells the link.
    pub fn set_ipv4(&self, _now: u64, config: Option<Ipv4Config>) {
        self.addresses.set(config);
        self.neighbors.clear();
        self.arp_announce();
    }

    /// The device's address.
    pub fn ipv4(&self) -> Option<Ipv4Config> {
        self.addresses.get()
    }

    /// Does what is due: acknowledgements that no reply has carried, timers, packets to ourselves, segments that found
    /// the device full. Cheap when nothing is due.
    ///
    /// To be called once after a batch of `receive`, when [`next_deadline`](Self::next_deadline) has passed, and when a
    /// device that was full has room again.
    #[inline(always)]
    pub fn poll(&self, now: u64) {
        if self.any_deferred.load(Ordering::Relaxed) {
            self.run_deferred(now);
        }
        if self.any_blocked.load(Ordering::Relaxed) {
            self.run_blocked(now);
        }
        if self.timers.next() <= now {
            self.run_timers(now);
        }
        self.loopback_run(now);
    }

    /// When [`poll`](Self::poll) must be called next, if ever; 0 if something waits for the end of the batch. Any call
    /// may change it.
    pub fn next_deadline(&self) -> Option<u64> {
        if self.any_deferred.load(Ordering::Relaxed) || self.loopback.is_pending() {
            return Some(0);
        }
        match self.timers.next() {
            NEVER => None,
            next => Some(next),
        }
    }

    /// Makes `poll` return to a connection at the end of the batch.
    pub(crate) fn defer(&self, socket: Tcp<D, E>) {
        // Without memory for the list, the connection's own timers handle it later.
        let _ = self.deferred.lock().try_push(socket);
        self.any_deferred.store(true, Ordering::Relaxed);
    }

    /// Makes `poll` return to a connection that found the device full.
    pub(crate) fn wait_for_room(&self, socket: Tcp<D, E>) {
        // As in `defer`.
        let _ = self.blocked.lock().try_push(socket);
        self.any_blocked.store(true, Ordering::Relaxed);
    }

    /// Identification of a packet that may be fragmented (RFC 6864).
    pub(crate) fn next_ident(&self) -> u16 {
        self.ident.fetch_add(1, Ordering::Relaxed)
    }

    #[inline(never)]
    fn run_deferred(&self, now: u64) {
        self.any_deferred.store(false, Ordering::Relaxed);
        let mut batch = core::mem::take(&mut *self.deferred.lock());
        for socket in batch.drain(..) {
            self.resume(now, &socket);
        }
        // Keeps the memory of the list.
        let mut deferred = self.deferred.lock();
        if deferred.capacity() == 0 {
            *deferred = batch;
        }
    }

    #[inline(never)]
    fn run_blocked(&self, now: u64) {
        self.any_blocked.store(false, Ordering::Relaxed);
        let batch = core::mem::take(&mut *self.blocked.lock());
        for socket in batch {
            self.unblock(now, &socket);
        }
    }

    #[inline(never)]
    fn run_timers(&self, now: u64) {
        while let Some(timer) = self.timers.pop(now) {
            match timer {
                Timer::Connection(socket) => {
                    if let Some(socket) = socket.upgrade() {
                        self.connection_due(now, &socket);
                    }
                }
                Timer::Tuple(tuple) => self.tuple_due(now, &tuple),
                Timer::Neighbors => self.neighbors_due(now),
                Timer::Reassembly => self.reassembly_due(now),
                Timer::Dhcp => self.dhcp_due(now),
                Timer::Ipv6 => self.ipv6_due(now),
                Timer::Watchers => self.device.tell_watchers(),
            }
        }
    }

    fn tuple_due(&self, now: u64, tuple: &Tuple) {
        // Each does nothing if the record is of the other kind.
        self.leave_time_wait(tuple);
        self.request_due(now, tuple);
    }
}
