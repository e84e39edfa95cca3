//! Options of `coracle metrics`.

use std::net::SocketAddr;

use clap::Args;

/// `coracle metrics`
#[derive(Args, Debug)]
pub struct MetricsArgs {
    /// Serve the metrics by HTTP at /metrics, on this address, rather than print them once
    #[arg(long, value_name = "ADDR:PORT", num_args = 0..=1, default_missing_value = "127.0.0.1:9273")]
    pub listen: Option<SocketAddr>,

    /// Add the CPU time of each thread
    #[arg(long)]
    pub threads: bool,
}
