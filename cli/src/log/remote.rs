//! Connections to syslog daemons: datagrams, and streams in which each message has its length in front (RFC 6587, octet counting).

use std::fmt;
use std::io::{self, Write};
use std::net::{TcpStream, ToSocketAddrs as _, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::tls;

/// How long a server may take to accept a connection, or to take bytes.
const PATIENCE: Duration = Duration::from_secs(5);
/// The ports of syslog over UDP (RFC 5426) and TCP, and over TLS (RFC 5425).
const PORT: u16 = 514;
const TLS_PORT: u16 = 6514;
/// The bytes of the longest datagram: the longest line with its header fits.
pub const LONGEST_DATAGRAM: usize = 32 << 10;

/// Where a daemon listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A Unix socket, for datagrams or, if it takes none, a stream.
    Unix(PathBuf),
    /// Datagrams.
    Udp(String, u16),
    /// A stream.
    Tcp(String, u16),
    /// A stream over TLS.
    Tls(String, u16),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        let fail = || {
            format!(
                "`{text}` is no address: write udp://HOST:PORT, tcp://HOST:PORT, tls://HOST:PORT or unix://PATH"
            )
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(fail)?;
        if scheme == "unix" {
            return if rest.starts_with('/') { Ok(Address::Unix(rest.into())) } else { Err(fail()) };
        }
        let default = if scheme == "tls" { TLS_PORT } else { PORT };
        let (host, port) = match rest.rsplit_once(':') {
            // The colon may be one of an address of IPv6 in brackets.
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| fail())?),
            _ => (rest, default),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() || port == 0 {
            return Err(fail());
        }
        match scheme {
            "udp" => Ok(Address::Udp(host.to_owned(), port)),
            "tcp" => Ok(Address::Tcp(host.to_owned(), port)),
            "tls" => Ok(Address::Tls(host.to_owned(), port)),
            _ => Err(fail()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host, port) = match self {
            Address::Unix(path) => return write!(f, "unix://{}", path.display()),
            Address::Udp(host, port) => ("udp", host, port),
            Address::Tcp(host, port) => ("tcp", host, port),
            Address::Tls(host, port) => ("tls", host, port),
        };
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}

/// An open way to a daemon.
pub enum Connection {
    /// See [`Address::Udp`].
    Udp(UdpSocket),
    /// See [`Address::Unix`].
    Datagrams(UnixDatagram),
    /// A stream of the local kind, whose messages end with a zero, as syslog(3) has it.
    Local(UnixStream),
    /// See [`Address::Tcp`].
    Tcp(TcpStream),
    /// See [`Address::Tls`].
    Tls(Box<tls::Stream>),
}

impl Connection {
    /// Connects. `authorities`: certificates by which that of a server over TLS is checked, in place of the system's.
    ///
    /// # Errors
    /// If the daemon is not there.
    pub fn open(address: &Address, authorities: Option<&PathBuf>) -> io::Result<Connection> {
        Ok(match address {
            Address::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                match socket.connect(path) {
                    Ok(()) => {
                        socket.set_write_timeout(Some(PATIENCE))?;
                        Connection::Datagrams(socket)
                    }
                    Err(_) => {
                        let stream = UnixStream::connect(path)?;
                        stream.set_write_timeout(Some(PATIENCE))?;
                        Connection::Local(stream)
                    }
                }
            }
            Address::Udp(host, port) => {
                let to = (host.as_str(), *port).to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
                let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
                socket.connect(to)?;
                Connection::Udp(socket)
            }
            Address::Tcp(host, port) => Connection::Tcp(connect(host, *port)?),
            Address::Tls(host, port) => {
                Connection::Tls(Box::new(tls::connect(connect(host, *port)?, host, authorities)?))
            }
        })
    }

    /// Sends a message.
    ///
    /// # Errors
    /// If it was not sent. The connection can't be used further then.
    pub fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let datagram = &message[..message.len().min(LONGEST_DATAGRAM)];
        match self {
            Connection::Udp(socket) => socket.send(datagram).map(|_| ()),
            Connection::Datagrams(socket) => socket.send(datagram).map(|_| ()),
            Connection::Local(stream) => stream.write_all(&[message, &[0]].concat()),
            Connection::Tcp(stream) => {
                check_open(stream)?;
                stream.write_all(&counted(message))
            }
            Connection::Tls(stream) => {
                check_open(&stream.sock)?;
                stream.write_all(&counted(message)).and_then(|()| stream.flush())
            }
        }
    }
}

/// A message with its length in front (RFC 6587, section 3.4.1).
fn counted(message: &[u8]) -> Vec<u8> {
    [format!("{} ", message.len()).as_bytes(), message].concat()
}

/// A server that closed the connection would take the next write, and never see it. ECONNRESET if it did.
fn check_open(stream: &TcpStream) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    let peeked = stream.peek(&mut [0]);
    stream.set_nonblocking(false)?;
    match peeked {
        Ok(0) => Err(io::ErrorKind::ConnectionReset.into()),
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Ok(()),
    }
}

fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => {
                stream.set_write_timeout(Some(PATIENCE))?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_written() {
        for text in ["udp://log.example:514", "tcp://10.0.0.1:601", "tls://[::1]:6514", "unix:///dev/log"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!("tls://a".parse(), Ok(Address::Tls("a".to_owned(), TLS_PORT)));
        assert_eq!("udp://[::1]".parse(), Ok(Address::Udp("::1".to_owned(), PORT)));
        for wrong in
            ["", "log:514", "http://a:1", "udp://", "udp://:5", "tcp://a:0", "tcp://a:x", "unix://dev/log"]
        {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
        assert_eq!(counted(b"<1>1 -"), b"6 <1>1 -");
    }
}
