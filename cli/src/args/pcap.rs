//! `coracle pcap`

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// `coracle pcap`
#[derive(Args, Debug)]
#[command(after_help = "Packets are written as pcapng, to standard output unless -w names a file:\n  \
                        coracle pcap web port 80 | tshark -r -\n  coracle pcap web | tcpdump -nr -\n\
                        Ctrl-C ends the capture. FILTER is in the language of pcap-filter(7), of which the guest runs what it is made \
                        into, so that only what is wanted is copied.")]
pub struct PcapArgs {
    /// Name of the guest
    pub name: String,

    /// Write to a file
    #[arg(short = 'w', long = "write", value_name = "FILE")]
    pub file: Option<PathBuf>,

    /// The interface: the network device, the loopback, or both
    #[arg(short, long, value_enum, default_value_t = Interface::Any)]
    pub interface: Interface,

    /// Bytes of each packet that are kept
    #[arg(short, long, value_name = "BYTES", default_value_t = 262_144, value_parser = clap::value_parser!(u32).range(1..))]
    pub snap_len: u32,

    /// End after so many packets
    #[arg(short, long, value_name = "PACKETS")]
    pub count: Option<u64>,

    /// Packets that are wanted, as tcpdump has it [default: all]
    #[arg(value_name = "FILTER")]
    pub filter: Vec<String>,
}

/// Interfaces of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Interface {
    /// All
    Any,
    /// The network device
    Eth0,
    /// The loopback
    Lo,
}
