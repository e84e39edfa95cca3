//! `coracle core`

use std::path::PathBuf;

use clap::Args;

/// `coracle core`
#[derive(Args, Debug)]
pub struct CoreArgs {
    /// Name of the guest
    pub name: String,

    /// The process [default: 1, the image's program]
    #[arg(short, long, value_name = "PID", default_value_t = 1, hide_default_value = true)]
    pub pid: u32,

    /// Write to this file, or to core.NAME.PID in this directory [default: in the current one]
    #[arg(short, long, value_name = "FILE|DIR")]
    pub output: Option<PathBuf>,
}
