//! `coracle netstat`

use clap::Args;

/// `coracle netstat`
#[derive(Args, Debug)]
#[command(
    after_help = "Without -t, -u or -x all three are shown; without -l or -a those that do not listen. Addresses and ports \
                        are always numbers."
)]
pub struct NetstatArgs {
    /// Name of the guest
    pub name: String,

    /// TCP sockets
    #[arg(short, long)]
    pub tcp: bool,

    /// UDP sockets
    #[arg(short, long)]
    pub udp: bool,

    /// AF_UNIX sockets
    #[arg(short = 'x', long)]
    pub unix: bool,

    /// Only sockets that listen
    #[arg(short, long)]
    pub listening: bool,

    /// Sockets that listen, too
    #[arg(short, long, conflicts_with = "listening")]
    pub all: bool,

    /// The processes that have the sockets, with their descriptors
    #[arg(short, long)]
    pub processes: bool,

    /// Round-trip times, windows and retransmissions of TCP
    #[arg(short, long)]
    pub info: bool,

    /// As ss(8) and netstat(8) have it; addresses are numbers anyway
    #[arg(short, long, hide = true)]
    pub numeric: bool,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
