//! `coracle metrics`: all guests of the user, for Prometheus.

mod collect;
mod http;

pub use collect::Values;

use std::net::TcpListener;

use crate::args::MetricsArgs;
use crate::error::{Error, Result, note};
use crate::output;

/// `coracle metrics`: prints the metrics once, or serves them until it is ended.
pub fn metrics(args: &MetricsArgs) -> Result<()> {
    let Some(address) = args.listen else {
        return output::write(collect::text(args.threads)?.as_bytes());
    };
    let listener = TcpListener::bind(address).map_err(|error| {
        Error::new(format!("cannot listen on {address}"))
            .why(error)
            .help("choose another address with --listen")
    })?;
    let own = listener.local_addr().map_err(|error| Error::new("cannot listen").why(error))?;
    note(format_args!("metrics are at http://{own}/metrics"));
    let threads = args.threads;
    http::serve(&listener, move || collect::text(threads))
}
