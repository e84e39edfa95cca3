//! Sockets as the kernel's own threads use them.
use alloc::sync::Arc;
use coracle_core::errno::Errno;
use coracle_core::fs::file::File;
use coracle_core::ipc::poll::{Events, PollSource, block_on_events};
use coracle_core::mm::user_buf::UserBuf;
use coracle_core::net::socket::{Socket, SocketAddress};
use coracle_core::task::later;
use coracle_hal::time::now_ns;
use coracle_system::socket::socket;
use core::net::{IpAddr, SocketAddrV4, SocketAddrV6};
use linux_raw_sys::net as n;

const MICROSECOND_NS: u64 = 1000;
const SECOND_US: u64 = 1_000_000;

/// A socket that is connected, and closed when it is dropped.
pub struct Connected(Arc<dyn File>);

impl Connected {
    /// Connects: `kind` is SOCK_DGRAM or SOCK_STREAM, and a stream may take until `until_ns` since boot. Errors of connect(2); EAGAIN, EINPROGRESS: too late.
    pub fn new(kind: u32, address: IpAddr, port: u16, until_ns: u64) -> Result<Connected, Errno> {
        let (family, address) = match address {
            IpAddr::V4(address) => (n::AF_INET, SocketAddress::Inet(SocketAddrV4::new(address, port))),
            IpAddr::V6(address) => {
                (n::AF_INET6, SocketAddress::Inet6(SocketAddrV6::new(address, port, 0, 0)))
            }
        };
        let connected = Connected(socket(family, kind, 0)?);
        connected.limit(n::SO_SNDTIMEO_OLD, until_ns)?;
        connected.socket()?.connect(&address, false)?;
        Ok(connected)
    }

    fn socket(&self) -> Result<&dyn Socket, Errno> {
        self.0.as_socket().ok_or(Errno::INVAL)
    }

    /// Has calls wait no longer than `until_ns`. EAGAIN if that is over.
    fn limit(&self, option: u32, until_ns: u64) -> Result<(), Errno> {
        let left = until_ns.saturating_sub(now_ns()) / MICROSECOND_NS;
        if left == 0 {
            return Err(Errno::AGAIN);
        }
        // A `struct timeval`.
        let value = [left / SECOND_US, left % SECOND_US].map(u64::to_le_bytes);
        self.socket()?.set_option(n::SOL_SOCKET as i32, option as i32, value.as_flattened())
    }

    /// Sends all of `bytes`. Errors of send(2); EAGAIN: it takes longer than until `until_ns`.
    pub fn send(&self, bytes: &[u8], until_ns: u64) -> Result<(), Errno> {
        let mut rest = bytes;
        while !rest.is_empty() {
            self.limit(n::SO_SNDTIMEO_OLD, until_ns)?;
            let sent = self.socket()?.send(&mut UserBuf::kernel_in(rest), None, 0, None)?;
            rest = &rest[sent..];
        }
        Ok(())
    }

    /// Receives what is there next. Errors of recv(2); EAGAIN: nothing came until `until_ns`.
    pub fn receive(&self, buffer: &mut [u8], until_ns: u64) -> Result<usize, Errno> {
        self.limit(n::SO_RCVTIMEO_OLD, until_ns)?;
        Ok(self.socket()?.receive(&mut UserBuf::kernel_out(buffer), 0)?.len)
    }
}

impl Connected {
    /// EPIPE if the other end has closed the stream; what it sends is of no interest.
    pub fn check_open(&self) -> Result<(), Errno> {
        let mut rest = [0; 64];
        match self.socket()?.receive(&mut UserBuf::kernel_out(&mut rest), n::MSG_DONTWAIT) {
            Ok(received) if received.len == 0 => Err(Errno::PIPE),
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Ends a stream, and waits until the other end has done so, too. EAGAIN: not until `until_ns`.
    pub fn end(&self, until_ns: u64) -> Result<(), Errno> {
        self.socket()?.shutdown(n::SHUT_WR)?;
        let mut rest = [0; 64];
        while self.receive(&mut rest, until_ns)? > 0 {}
        Ok(())
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.closed();
    }
}

/// Sleeps.
pub fn pause(ns: u64) {
    static NEVER: PollSource = PollSource::new();
    later::settle();
    let until_ns = Some(now_ns().saturating_add(ns));
    let _ = block_on_events(&NEVER, Events::IN, false, until_ns, || Err::<(), _>(Errno::AGAIN));
}
