//! Options of `coracle logs`, and those of `coracle run` that say where the guest's lines go.

use clap::Args;
use jiff::Timestamp;

use crate::log::{Driver, LogOption, Server};

/// Where a guest's lines go.
#[derive(Args, Clone, Debug, Default)]
pub struct LoggingArgs {
    /// What keeps the guest's lines: json-file, journald, syslog or none [default: json-file with -d, else none]
    #[arg(long, value_name = "DRIVER")]
    pub log_driver: Option<Driver>,

    /// An option of the driver: max-size, max-file, address, tag, facility, ca
    #[arg(long, value_name = "NAME=VALUE")]
    pub log_opt: Vec<LogOption>,

    /// Send the guest's lines to a syslog server, too
    #[arg(long, value_name = "udp|tcp|tls://HOST:PORT")]
    pub syslog: Option<Server>,
}

/// `coracle logs`
#[derive(Args, Debug, Default)]
pub struct LogsArgs {
    /// Name of the guest
    pub name: String,

    /// Keep printing until the guest ends
    #[arg(short, long)]
    pub follow: bool,

    /// Begin with the last N lines
    #[arg(long, short = 'n', value_name = "N|all", value_parser = tail)]
    pub tail: Option<usize>,

    /// Leave out lines before a time, such as 2026-11-29T18:05:00Z, or 10m for ten minutes ago
    #[arg(long, value_name = "TIME", value_parser = crate::log::parse_time)]
    pub since: Option<Timestamp>,

    /// Leave out lines after a time
    #[arg(long, value_name = "TIME", value_parser = crate::log::parse_time)]
    pub until: Option<Timestamp>,

    /// Show when each line came (UTC)
    #[arg(short, long)]
    pub timestamps: bool,

    /// Show the program's standard output; with others of these options, theirs as well
    #[arg(long)]
    pub stdout: bool,

    /// Show the program's standard error
    #[arg(long)]
    pub stderr: bool,

    /// Show the lines of the kernel and of the command that runs the guest
    #[arg(long)]
    pub kernel: bool,

    /// Show messages to the guest's /dev/log
    #[arg(long)]
    pub syslog: bool,

    /// Print JSON, one object a line, as the file has it
    #[arg(long)]
    pub json: bool,
}

fn tail(text: &str) -> Result<usize, String> {
    match text {
        "all" => Ok(usize::MAX),
        _ => text.parse().map_err(|_| format!("`{text}` is no number of lines")),
    }
}
