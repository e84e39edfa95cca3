//! The guest's ports, for `ssh -L`.
//!
//! sshd connects where its client asks it to, on the machine that it runs on. So it runs in a network namespace (network_namespaces(7))
//! that has nothing but a loopback, and there this command listens on the ports at which the guest's programs listen. What connects
//! to one is connected to the guest's over the control channel. Nothing of the host can be reached that way.

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use coracle_control::{Request, SessionRequest};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType};

use super::server;
use crate::error::{Error, Result};
use crate::exec::Session;

/// How often the guest's ports are looked at.
const GLANCE: Duration = Duration::from_millis(300);
/// Bytes that are copied at a time.
const AT_ONCE: usize = 64 << 10;
/// The state of a socket that listens, in /proc/net/tcp.
const LISTENS: &str = "0A";
/// The files with the guest's TCP sockets.
const SOCKETS: [&str; 2] = ["/proc/1/net/tcp", "/proc/1/net/tcp6"];

/// unshare(1) for a network namespace: root needs no more, other users a user namespace that maps them to themselves.
fn unshare() -> Command {
    let mut command = Command::new("unshare");
    if !rustix::process::getuid().is_root() {
        command.args(["--map-current-user", "--keep-caps"]);
    }
    command.arg("--net");
    command
}

/// Whether the host lets this user have a network of its own.
pub fn is_possible() -> bool {
    let mut probe = unshare();
    let probe = probe.arg("true").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    probe.status().is_ok_and(|status| status.success())
}

/// Becomes this command in such a network.
pub fn apart(name: &str) -> Error {
    match std::env::current_exe() {
        Ok(own) => {
            let error = unshare().arg(own).args(["ssh-server", "--forward", name]).exec();
            Error::new("cannot start unshare").why(error)
        }
        Err(error) => Error::new("cannot find this command").why(error),
    }
}

/// Runs the server, and has the guest's ports beside it until it ends; returns its exit status.
///
/// # Errors
/// If it can't be started.
pub fn beside(name: &str, mut server: Command) -> Result<u8> {
    // Without a loopback nothing is forwarded, and all else works.
    if raise_loopback().is_ok() {
        let name = name.to_owned();
        thread::spawn(move || watch(&name));
    }
    let status = server.status().map_err(|error| server::cannot_start(&error))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
}

/// Brings the loopback up (rtnetlink(7), RTM_NEWLINK).
fn raise_loopback() -> rustix::io::Result<()> {
    const RTM_NEWLINK: u16 = 16;
    /// NLM_F_REQUEST and NLM_F_ACK.
    const FLAGS: u16 = 1 | 4;
    /// The loopback is the first interface.
    const INDEX: u32 = 1;
    const IFF_UP: u32 = 1;
    /// A `struct nlmsghdr` and a `struct ifinfomsg`.
    const LEN: usize = 32;
    let mut message = Vec::with_capacity(LEN);
    message.extend((LEN as u32).to_ne_bytes());
    message.extend([RTM_NEWLINK, FLAGS].map(u16::to_ne_bytes).as_flattened());
    // Sequence and port, then family and type; both flags and their mask are IFF_UP.
    message.extend([1, 0, 0, INDEX, IFF_UP, IFF_UP].map(u32::to_ne_bytes).as_flattened());
    // NETLINK_ROUTE is the protocol 0.
    let socket = rustix::net::socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
    rustix::net::sendto(&socket, &message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    // The answer has the error that its first word behind the header says.
    let mut answer = [0; 128];
    rustix::net::recv(&socket, &mut answer, RecvFlags::empty())?;
    let error = i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]);
    if error == 0 { Ok(()) } else { Err(rustix::io::Errno::from_raw_os_error(-error)) }
}

/// Listens wherever the guest does, as long as there is the guest. Never says anything: standard error is the client's.
fn watch(name: &str) {
    let Ok(session) = Session::connect(name).map(Arc::new) else { return };
    let mut known = HashSet::new();
    loop {
        for path in SOCKETS {
            let Ok(answer) = session.ask(Request::Read(path.as_bytes())) else { return };
            let text = answer.unwrap_or_default();
            for port in listening(&String::from_utf8_lossy(&text)) {
                if known.insert(port) {
                    serve(&session, port);
                }
            }
        }
        thread::sleep(GLANCE);
    }
}

/// The ports at which sockets listen, by the text of /proc/net/tcp or tcp6.
fn listening(text: &str) -> Vec<u16> {
    let port = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (local, state) = (words.get(1)?, words.get(3)?);
        let (_, port) = local.rsplit_once(':')?;
        if *state == LISTENS { u16::from_str_radix(port, 16).ok() } else { None }
    };
    text.lines().filter_map(port).collect()
}

/// Takes connections at a port of this network's loopback, of both families.
fn serve(session: &Arc<Session>, port: u16) {
    for address in [SocketAddr::from((Ipv4Addr::LOCALHOST, port)), (Ipv6Addr::LOCALHOST, port).into()] {
        let Ok(listener) = TcpListener::bind(address) else { continue };
        let session = Arc::clone(session);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let session = Arc::clone(&session);
                // What goes wrong ends the connection, which its client sees.
                thread::spawn(move || _ = relay(&session, port, &stream));
            }
        });
    }
}

/// Connects a stream with a port of the guest, until both directions have ended.
fn relay(session: &Arc<Session>, port: u16, stream: &TcpStream) -> Result<()> {
    let answer = session.call(SessionRequest::Connect { port })?.unwrap_or_default();
    let Some(handle) = answer.first_chunk().map(|handle| u32::from_le_bytes(*handle)) else {
        return Ok(());
    };
    let (own, Ok(mut from)) = (Arc::clone(session), stream.try_clone()) else { return Ok(()) };
    let sending = thread::spawn(move || {
        let mut buffer = vec![0; AT_ONCE];
        while let Ok(len @ 1..) = from.read(&mut buffer) {
            if !matches!(own.write(handle, 0, &buffer[..len]), Ok(Ok(()))) {
                return;
            }
        }
        let _ = own.call(SessionRequest::Close { handle, half: true });
    });
    let mut to = stream;
    while let Ok(bytes) = session.read(handle, 0, false)? {
        if bytes.is_empty() || to.write_all(&bytes).is_err() {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
    let _ = sending.join();
    session.call(SessionRequest::Close { handle, half: false }).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_that_listen() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                    0: 00000000:0050 00000000:0000 0A 00000000:00000009 00:00000000 00000000  1000        0 1004 1 0\n   \
                    1: 0F02000A:0050 0202000A:E104 06 00000000:00000000 03:00000C1C 00000000     0        0 0 3 0\n";
        assert_eq!(listening(text), [80]);
        assert!(listening("").is_empty() && listening("a b c\nx y z 0A").is_empty());
    }
}
