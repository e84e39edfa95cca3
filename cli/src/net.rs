//! How the command line and `Coracle.toml` speak of ports and networks.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}

/// A port of this machine that leads to one of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The address of this machine that listens.
    pub address: Ipv4Addr,
    /// The port of this machine.
    pub host: u16,
    /// The port of the guest.
    pub guest: u16,
    /// The protocol.
    pub protocol: Protocol,
}

impl FromStr for Forward {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (ports, protocol) = match text.split_once('/') {
            None | Some((_, "tcp")) => (text.trim_end_matches("/tcp"), Protocol::Tcp),
            Some((ports, "udp")) => (ports, Protocol::Udp),
            Some((_, other)) => return Err(format!("`{other}` is neither `tcp` nor `udp`")),
        };
        let port = |word: &str| match word.parse::<u16>() {
            Ok(port) if port > 0 => Ok(port),
            _ => Err(format!("`{word}` is not a port (1 to 65535)")),
        };
        let address = |word: &str| word.parse().map_err(|_| format!("`{word}` is not an IPv4 address"));
        let (address, host, guest) = match *ports.split(':').collect::<Vec<_>>() {
            [host, guest] => (Ipv4Addr::UNSPECIFIED, port(host)?, port(guest)?),
            [listen, host, guest] => (address(listen)?, port(host)?, port(guest)?),
            _ => {
                return Err(
                    "a port is written HOST:GUEST, as in 8080:80, 127.0.0.1:8080:80 or 53:53/udp".to_owned()
                );
            }
        };
        Ok(Forward { address, host, guest, protocol })
    }
}

/// What the guest's network card is connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// QEMU's own network, which needs no rights: the guest reaches out, and `-p` reaches in.
    User,
    /// A tap device of this machine.
    Tap(String),
    /// No card.
    None,
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        /// The longest name of a network device (`IFNAMSIZ` less its end).
        const LONGEST: usize = 15;
        match text {
            "user" => Ok(Network::User),
            "none" => Ok(Network::None),
            _ => match text.strip_prefix("tap:") {
                Some(name) if (1..=LONGEST).contains(&name.len()) && !name.contains([',', '/', ' ']) => {
                    Ok(Network::Tap(name.to_owned()))
                }
                Some(name) => Err(format!("`{name}` cannot be the name of a tap device")),
                None => Err("a network is `user`, `tap:NAME` or `none`".to_owned()),
            },
        }
    }
}

/// An IPv4 address with the length of its network's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// The address.
    pub address: Ipv4Addr,
    /// Bits of the prefix.
    pub prefix: u8,
}

impl Cidr {
    /// Address number `host` of the network.
    pub fn host(self, host: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network().to_bits() | host)
    }

    /// The network's own address.
    pub fn network(self) -> Ipv4Addr {
        let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
        Ipv4Addr::from_bits(self.address.to_bits() & mask)
    }
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (address, prefix) = text.split_once('/')?;
            let prefix = prefix.parse().ok().filter(|bits| (1..=30).contains(bits))?;
            Some(Cidr { address: address.parse().ok()?, prefix })
        };
        parse().ok_or_else(|| {
            format!("`{text}` is not an address with its prefix, as 192.168.1.5/24 (prefix 1 to 30)")
        })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports() {
        let any = Ipv4Addr::UNSPECIFIED;
        let forward = |address, host, guest, protocol| Ok(Forward { address, host, guest, protocol });
        assert_eq!("8080:80".parse(), forward(any, 8080, 80, Protocol::Tcp));
        assert_eq!("8080:80/tcp".parse(), forward(any, 8080, 80, Protocol::Tcp));
        assert_eq!("127.0.0.1:53:5353/udp".parse(), forward(Ipv4Addr::LOCALHOST, 53, 5353, Protocol::Udp));
        for wrong in ["80", "a:80", "80:", "0:80", "70000:1", "1:2/sctp", "1:2:3:4", "x:1:2", ""] {
            assert!(wrong.parse::<Forward>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn networks() {
        assert_eq!("user".parse(), Ok(Network::User));
        assert_eq!("tap:tap0".parse(), Ok(Network::Tap("tap0".into())));
        for wrong in ["tap:", "tap:a,b", "bridge", "tap:0123456789abcdef"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
        let cidr: Cidr = "10.1.2.3/16".parse().unwrap();
        assert_eq!((cidr.network(), cidr.host(2)), ([10, 1, 0, 0].into(), [10, 1, 0, 2].into()));
        assert!("10.0.0.1".parse::<Cidr>().is_err() && "10.0.0.1/33".parse::<Cidr>().is_err());
    }
}
