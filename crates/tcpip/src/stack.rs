//! API (bodies follow).
#![allow(missing_docs, unused_variables, clippy::todo)]
use crate::*;
use alloc::sync::Arc;
use core::net::{Ipv4Addr, SocketAddrV4};

/// The TCP/IP stack of one device and the loopback. All methods take `&self`, from any CPU. `now` is monotonic, in ns.
pub struct Stack<D: Device, E: Events> {
    x: core::marker::PhantomData<(D, E)>,
}
/// A TCP socket. `readiness()` is one atomic load.
pub struct TcpSocket<D: Device, E: Events> {
    x: core::marker::PhantomData<(D, E)>,
}
/// A UDP socket. `readiness()` is one atomic load.
pub struct UdpSocket<D: Device, E: Events> {
    x: core::marker::PhantomData<(D, E)>,
}
pub type Tcp<D, E> = Arc<TcpSocket<D, E>>;
pub type Udp<D, E> = Arc<UdpSocket<D, E>>;

impl<D: Device, E: Events> TcpSocket<D, E> {
    pub fn readiness(&self) -> Readiness {
        todo!()
    }
    /// The user's data (none on a connection that was not accepted yet).
    pub fn events(&self) -> Option<&E> {
        todo!()
    }
    pub fn local(&self) -> SocketAddrV4 {
        todo!()
    }
    pub fn peer(&self) -> Option<SocketAddrV4> {
        todo!()
    }
    pub fn options(&self) -> TcpOptions {
        todo!()
    }
    /// Takes `SO_ERROR`.
    pub fn take_error(&self) -> Option<Error> {
        todo!()
    }
    pub fn info(&self) -> TcpInfo {
        todo!()
    }
}
impl<D: Device, E: Events> UdpSocket<D, E> {
    pub fn readiness(&self) -> Readiness {
        todo!()
    }
    pub fn events(&self) -> &E {
        todo!()
    }
    pub fn local(&self) -> SocketAddrV4 {
        todo!()
    }
    pub fn peer(&self) -> Option<SocketAddrV4> {
        todo!()
    }
    pub fn options(&self) -> UdpOptions {
        todo!()
    }
    pub fn set_options(&self, change: impl FnOnce(&mut UdpOptions)) {
        todo!()
    }
    pub fn take_error(&self) -> Option<Error> {
        todo!()
    }
    /// Length of the datagram that waits first (`FIONREAD`).
    pub fn next_len(&self) -> usize {
        todo!()
    }
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpOptions {
    pub broadcast: bool,
    pub reuse_address: bool,
    pub reuse_port: bool,
    pub receive_buffer: usize,
    pub ttl: u8,
    pub tos: u8,
}
/// What `udp_recv` took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    pub from: SocketAddrV4,
    pub to: Ipv4Addr,
    /** its whole length */
    pub len: usize,
    /** bytes the sink took */
    pub copied: usize,
}
/// What DHCP gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub config: Ipv4Config,
    pub dns: heapless::Vec<Ipv4Addr, 3>,
    pub seconds: u32,
}

impl<D: Device, E: Events> Stack<D, E> {
    pub fn new(device: D, config: Config) -> Self {
        todo!()
    }
    pub fn device(&self) -> &D {
        todo!()
    }
    /// Takes a frame from the device.
    pub fn receive(&self, now: u64, frame: RxFrame<D::Buf>) {
        todo!()
    }
    /// Does what is due: timers, deferred ACKs, frames that found the device full. Cheap when nothing is due.
    /// Call it once per batch after receive calls, when `next_deadline` has come, and when the device has room again.
    pub fn poll(&self, now: u64) {
        todo!()
    }
    /// When `poll` must be called next (ns), if ever. A lower bound; changes with any call.
    pub fn next_deadline(&self) -> Option<u64> {
        todo!()
    }
    pub fn set_ipv4(&self, now: u64, config: Option<Ipv4Config>) {
        todo!()
    }
    pub fn ipv4(&self) -> Option<Ipv4Config> {
        todo!()
    }
    /// Starts DHCP; configures the stack by itself. `lease()` tells.
    pub fn dhcp_start(&self, now: u64, hostname: Option<&str>) {
        todo!()
    }
    pub fn lease(&self) -> Option<Lease> {
        todo!()
    }

    pub fn tcp_socket(&self, events: E) -> Tcp<D, E> {
        todo!()
    }
    pub fn tcp_bind(&self, socket: &Tcp<D, E>, local: SocketAddrV4) -> Result<()> {
        todo!()
    }
    pub fn tcp_listen(&self, socket: &Tcp<D, E>, now: u64, backlog: usize) -> Result<()> {
        todo!()
    }
    /// Takes an established connection; `events` makes its user data. WouldBlock if there is none.
    pub fn tcp_accept(
        &self,
        listener: &Tcp<D, E>,
        now: u64,
        events: impl FnOnce() -> E,
    ) -> Result<Tcp<D, E>> {
        todo!()
    }
    /// Never waits: Err(InProgress) and later WRITABLE (then `take_error`).
    pub fn tcp_connect(&self, socket: &Tcp<D, E>, now: u64, peer: SocketAddrV4) -> Result<()> {
        todo!()
    }
    /// Queues up to `len` bytes and sends what may go. `fill` is called with pieces of packet memory, one after the other,
    /// and says how many bytes it wrote; fewer than asked ends the call. `more` = MSG_MORE. WouldBlock if no room.
    /// The closure runs with the connection's lock held: it must not call the engine nor wait.
    pub fn tcp_send(
        &self,
        socket: &Tcp<D, E>,
        now: u64,
        len: usize,
        more: bool,
        fill: impl FnMut(&mut [u8]) -> usize,
    ) -> Result<usize> {
        todo!()
    }
    /// Hands up to `len` received bytes to `sink`, piece by piece; it says how many it took (fewer ends the call).
    /// Ok(0) with len > 0 and a sink that was never called = end of the stream. WouldBlock if nothing has arrived.
    pub fn tcp_recv(
        &self,
        socket: &Tcp<D, E>,
        now: u64,
        len: usize,
        peek: bool,
        sink: impl FnMut(&[u8]) -> usize,
    ) -> Result<usize> {
        todo!()
    }
    pub fn tcp_shutdown(&self, socket: &Tcp<D, E>, now: u64, how: Shutdown) -> Result<()> {
        todo!()
    }
    /// The program's last reference is gone; the engine finishes the connection by itself.
    pub fn tcp_close(&self, socket: &Tcp<D, E>, now: u64) {
        todo!()
    }
    /// connect(AF_UNSPEC): back to an unconnected socket.
    pub fn tcp_disconnect(&self, socket: &Tcp<D, E>, now: u64) {
        todo!()
    }
    pub fn tcp_set_options(&self, socket: &Tcp<D, E>, now: u64, change: impl FnOnce(&mut TcpOptions)) {
        todo!()
    }

    pub fn udp_socket(&self, events: E) -> Udp<D, E> {
        todo!()
    }
    pub fn udp_bind(&self, socket: &Udp<D, E>, local: SocketAddrV4) -> Result<()> {
        todo!()
    }
    /// None disconnects.
    pub fn udp_connect(&self, socket: &Udp<D, E>, peer: Option<SocketAddrV4>) -> Result<()> {
        todo!()
    }
    pub fn udp_send(
        &self,
        socket: &Udp<D, E>,
        now: u64,
        to: Option<SocketAddrV4>,
        len: usize,
        fill: impl FnMut(&mut [u8]) -> usize,
    ) -> Result<usize> {
        todo!()
    }
    pub fn udp_recv(
        &self,
        socket: &Udp<D, E>,
        peek: bool,
        sink: impl FnMut(&[u8]) -> usize,
    ) -> Result<Datagram> {
        todo!()
    }
    pub fn udp_shutdown(&self, socket: &Udp<D, E>, how: Shutdown) -> Result<()> {
        todo!()
    }
    pub fn udp_close(&self, socket: &Udp<D, E>) {
        todo!()
    }
}
