//! Whether a port of the guest answers, for the checks of its health that `coracle run` makes.
use super::answer::Answer;
use alloc::sync::Arc;
use coracle_core::errno::Errno;
use coracle_core::fs::file::File;
use coracle_core::lock::Mutex;
use coracle_core::mm::user_buf::UserBuf;
use coracle_core::net::socket::SocketAddress;
use coracle_fallible::Text;
use coracle_system::socket as open;
use core::net::{Ipv4Addr, SocketAddrV4};
use linux_raw_sys::net::{AF_INET, SOCK_STREAM};

/// Bytes of an answer that are of interest at a time: its first line has the status.
const MOST: usize = 64;

/// A connection that is tried.
struct Probe {
    socket: Arc<dyn File>,
    address: SocketAddress,
    /// What is sent once it is there; empty: nothing.
    request: Text,
    /// It is there.
    connected: bool,
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.socket.closed();
    }
}

static PROBE: Mutex<Option<Probe>> = Mutex::new(None);

/// Begins to connect, in place of what was tried before. EINVAL: the path has characters that no URL has; ENOMEM, ENOBUFS.
pub fn begin(port: u16, path: &[u8]) -> Result<(), Errno> {
    let before = PROBE.lock().take();
    drop(before);
    if port == 0 {
        return Ok(());
    }
    let mut request = Text::new();
    if !path.is_empty() {
        if !path.iter().all(u8::is_ascii_graphic) {
            return Err(Errno::INVAL);
        }
        request.push(b"GET ")?;
        request.push(path)?;
        request.push(b" HTTP/1.1\r\nHost: localhost\r\nUser-Agent: coracle\r\nConnection: close\r\n\r\n")?;
    }
    let socket = open::socket(AF_INET, SOCK_STREAM, 0)?;
    let address = SocketAddress::Inet(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
    *PROBE.lock() = Some(Probe { socket, address, request, connected: false });
    Ok(())
}

/// How it went.
pub fn result(answer: &mut Answer) -> Result<(), Errno> {
    let mut bytes = [0; MOST];
    let done = advance(&mut bytes)?;
    answer.push(&bytes[..done])
}

/// Does what can be done at once; returns how many bytes came.
fn advance(bytes: &mut [u8; MOST]) -> Result<usize, Errno> {
    // Out of the lock meanwhile: only the thread that answers is here.
    let mut probe = PROBE.lock().take().ok_or(Errno::NOTCONN)?;
    let result = probe.advance(bytes);
    *PROBE.lock() = Some(probe);
    result
}

impl Probe {
    fn advance(&mut self, bytes: &mut [u8; MOST]) -> Result<usize, Errno> {
        if !self.connected {
            match self.socket.as_socket().ok_or(Errno::NOTSOCK)?.connect(&self.address, true) {
                Ok(()) => self.connected = true,
                Err(Errno::INPROGRESS | Errno::ALREADY) => return Err(Errno::AGAIN),
                Err(error) => return Err(error),
            }
            // It is short, and a new connection has room for it.
            self.socket.write(&mut UserBuf::kernel_in(self.request.as_bytes()), 0, true)?;
        }
        if self.request.is_empty() {
            return Ok(0);
        }
        match self.socket.read(&mut UserBuf::kernel_out(bytes), 0, true)? {
            0 => Err(Errno::PIPE),
            done => Ok(done),
        }
    }
}
