//! `coracle gdb`

use std::ffi::OsString;

use clap::Args;

/// `coracle gdb`
#[derive(Args, Debug)]
pub struct GdbArgs {
    /// Name of the guest
    pub name: String,

    /// The process [default: 1, the image's program]
    #[arg(short, long, value_name = "PID", default_value_t = 1, hide_default_value = true)]
    pub pid: u32,

    /// Debug the whole machine by QEMU's server: all CPUs stop together, and are what gdb calls threads. It works while the guest does
    /// not answer
    #[arg(short, long)]
    pub kernel: bool,

    /// Load no symbols of the kernel
    #[arg(long, conflicts_with = "kernel")]
    pub program: bool,

    /// Arguments of gdb, such as `-batch -ex bt`
    #[arg(last = true, value_name = "ARGS")]
    pub gdb: Vec<OsString>,
}
