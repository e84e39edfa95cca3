//! TCP ports of this machine for guests and servers that are about to start.
//!
//! A port that was free a moment ago may be another's by the time it is wanted: of a connection of another test, or of a server that asked for
//! any port. So each port is kept by a socket that is bound to it with `SO_REUSEADDR` and never listens (socket(7)): a server that sets the
//! option too, as QEMU and every library of servers does, can have the port, and the kernel picks it for no other socket.
use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{AddressFamily, SocketAddrV4, SocketFlags, SocketType, bind, getsockname, socket_with};
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::Mutex;

/// A TCP port on the loopback for one server of this test runner, which keeps it until it ends.
///
/// # Errors
/// If there is none.
pub fn free() -> Result<u16, String> {
    static KEPT: Mutex<Vec<OwnedFd>> = Mutex::new(Vec::new());
    let (port, keeper) = keep().map_err(|e| format!("no port is free: {e}"))?;
    KEPT.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(keeper);
    Ok(port)
}

fn keep() -> rustix::io::Result<(u16, OwnedFd)> {
    // No program that is started meanwhile gets it.
    let keeper = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // Before the option is set: a port that others share would do.
    bind(&keeper, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    set_socket_reuseaddr(&keeper, true)?;
    let address: SocketAddrV4 = getsockname(&keeper)?.try_into()?;
    Ok((address.port(), keeper))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::socket;
    use std::net::TcpListener;

    #[test]
    fn a_server_can_have_it_and_no_other_gets_it() {
        let port = free().expect("a port is free");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("servers set SO_REUSEADDR");
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err());
        drop(listener);
        let keeper = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        let taken = bind(&keeper, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
        assert_eq!(taken, Err(rustix::io::Errno::ADDRINUSE));
    }
}
