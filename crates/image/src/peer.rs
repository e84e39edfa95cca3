//! Servers that a guest turns to by itself.
use alloc::{borrow::ToOwned, string::String};
use core::fmt;

/// The port of NTP.
pub const NTP_PORT: u16 = 123;

/// A host by name or address, and a port of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The name or the address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Peer {
    /// Reads `HOST`, `HOST:PORT`, `[ADDRESS]` or `[ADDRESS]:PORT`. None if it is not of this form.
    pub fn parse(text: &str, default_port: u16) -> Option<Peer> {
        let (host, port) = match text.rsplit_once(':') {
            // A colon may be one of an address of IPv6.
            Some((host, port)) if !port.ends_with(']') && (host.ends_with(']') || !host.contains(':')) => {
                (host, port.parse().ok()?)
            }
            _ => (text, default_port),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let is_fine = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:%".contains(&byte))
            && !host.is_empty();
        (is_fine && port != 0).then(|| Peer { host: host.to_owned(), port })
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// A syslog server that a guest sends its lines to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyslogServer {
    /// By TCP, else by UDP.
    pub is_stream: bool,
    /// Where it listens.
    pub peer: Peer,
}

impl SyslogServer {
    /// The port of syslog (RFC 5426).
    const PORT: u16 = 514;

    /// Reads `udp://HOST[:PORT]` or `tcp://HOST[:PORT]`. None if it is not of this form.
    pub fn parse(text: &str) -> Option<SyslogServer> {
        let (scheme, rest) = text.split_once("://")?;
        let is_stream = match scheme {
            "tcp" => true,
            "udp" => false,
            _ => return None,
        };
        Some(SyslogServer { is_stream, peer: Peer::parse(rest, Self::PORT)? })
    }
}

impl fmt::Display for SyslogServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.is_stream { "tcp" } else { "udp" }, self.peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString as _;

    #[test]
    fn peers_are_read_as_written() {
        let read = |text: &str| Peer::parse(text, 123).map(|peer| peer.to_string());
        for (text, wanted) in [
            ("time.example", "time.example:123"),
            ("10.0.2.2:1123", "10.0.2.2:1123"),
            ("[fe80::1%2]", "[fe80::1%2]:123"),
            ("::1", "[::1]:123"),
            ("[::1]:9", "[::1]:9"),
        ] {
            assert_eq!(read(text).as_deref(), Some(wanted));
        }
        for wrong in ["", ":1", "a:", "a:0", "a:65536", "a b", "a,b", "http://a", "[]:1"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        for text in ["udp://a:1", "tcp://[::1]:601"] {
            assert_eq!(SyslogServer::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(SyslogServer::parse("udp://a").unwrap().peer.port, 514);
        for wrong in ["tls://a", "a:1", "udp://", "unix:///dev/log"] {
            assert_eq!(SyslogServer::parse(wrong), None);
        }
    }
}
