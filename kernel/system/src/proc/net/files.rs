//! The files of /proc/net.
use super::sockets::{Ip, tcp, udp, unix};
use super::{counters, interfaces, sockets};
use coracle_fs::synthetic::{Item, Table};

/// The items.
pub static FILES: Table<()> = &[
    ("arp", Item::Text(|(), text| interfaces::arp(text))),
    ("dev", Item::Text(|(), text| interfaces::dev(text))),
    ("fib_trie", Item::Text(|(), text| interfaces::fib_trie(text))),
    ("icmp", Item::Pieces(|(), _, text| sockets::raw(Ip::V4, false, text))),
    ("icmp6", Item::Pieces(|(), _, text| sockets::raw(Ip::V6, false, text))),
    ("if_inet6", Item::Text(|(), text| interfaces::if_inet6(text))),
    ("igmp", Item::Text(|(), text| interfaces::igmp(text))),
    ("igmp6", Item::Text(|(), text| interfaces::igmp6(text))),
    ("netstat", Item::Text(|(), text| counters::netstat(text))),
    ("netlink", Item::Pieces(|(), _, text| sockets::netlink(text))),
    ("packet", Item::Pieces(|(), _, text| sockets::packet(text))),
    ("protocols", Item::Fixed("protocol  size sockets  memory press maxhdr\n")),
    ("raw", Item::Pieces(|(), _, text| sockets::raw(Ip::V4, true, text))),
    ("raw6", Item::Pieces(|(), _, text| sockets::raw(Ip::V6, true, text))),
    ("route", Item::Text(|(), text| interfaces::route(text))),
    ("softnet_stat", Item::Text(|(), text| counters::softnet(text))),
    ("snmp", Item::Pieces(|(), _, text| counters::snmp(text))),
    ("sockstat", Item::Pieces(|(), _, text| counters::sockstat(Ip::V4, text))),
    ("sockstat6", Item::Pieces(|(), _, text| counters::sockstat(Ip::V6, text))),
    ("tcp", Item::Pieces(|(), from, text| tcp(Ip::V4, from, text))),
    ("tcp6", Item::Pieces(|(), from, text| tcp(Ip::V6, from, text))),
    ("udp", Item::Pieces(|(), from, text| udp(Ip::V4, false, from, text))),
    ("udp6", Item::Pieces(|(), from, text| udp(Ip::V6, false, from, text))),
    ("udplite", Item::Pieces(|(), from, text| udp(Ip::V4, true, from, text))),
    ("udplite6", Item::Pieces(|(), from, text| udp(Ip::V6, true, from, text))),
    ("unix", Item::Pieces(|(), _, text| unix(text))),
];
