//! The addresses of a guest.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::client::Client;
use crate::error::Result;

/// The name of the loopback.
const LOOPBACK: &str = "lo";

/// Addresses of a guest's network interface: those of IPv4, then those of IPv6 with the length of their prefix.
///
/// # Errors
/// If the guest can't be asked. One of an older kernel tells none of IPv4.
pub fn of(client: &mut Client) -> Result<Vec<String>> {
    let mut all = v4(&client.text("/proc/1/net/fib_trie")?);
    all.extend(v6(&client.text("/proc/1/net/if_inet6")?));
    Ok(all)
}

/// The host's own addresses in /proc/net/fib_trie: those in the line before one of `/32 host LOCAL`.
fn v4(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let own = lines.windows(2).filter(|pair| pair[1] == "/32 host LOCAL");
    let addresses = own.filter_map(|pair| pair[0].strip_prefix("|-- ")?.parse::<Ipv4Addr>().ok());
    addresses.filter(|address| !address.is_loopback()).map(|address| address.to_string()).collect()
}

/// Those in /proc/net/if_inet6.
fn v6(text: &str) -> Vec<String> {
    let own = text.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [address, _, prefix, _, _, device] = words[..] else { return None };
        let address = u128::from_str_radix(address, 16).ok()?;
        let prefix = u8::from_str_radix(prefix, 16).ok()?;
        (device != LOOPBACK).then(|| format!("{}/{prefix}", Ipv6Addr::from(address)))
    });
    own.collect()
}

/// In a line: those that others than neighbours can use.
pub fn shown(all: &[String]) -> String {
    let far: Vec<&str> = all.iter().map(String::as_str).filter(|own| !own.starts_with("fe80:")).collect();
    if far.is_empty() { "-".to_owned() } else { far.join(",") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_files_of_linux() {
        let text = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\nLocal:\n     |-- 10.0.2.15\n        /32 host LOCAL\n     |-- 10.0.2.255\n        /32 link BROADCAST\n     |-- 127.0.0.1\n        /32 host LOCAL\n";
        assert_eq!(v4(text), ["10.0.2.15"]);
        let text = "fe80000000000000505400fffe123456 02 40 20 80     eth0\n00000000000000000000000000000001 01 80 10 80       lo\nfec0000000000000505400fffe123456 02 40 00 80     eth0\n";
        let all = v6(text);
        assert_eq!(all, ["fe80::5054:ff:fe12:3456/64", "fec0::5054:ff:fe12:3456/64"]);
        assert_eq!(shown(&all), "fec0::5054:ff:fe12:3456/64");
        assert_eq!((v4(""), v6("x\n"), shown(&[])), (vec![], vec![], "-".to_owned()));
    }
}
