//! `coracle stack`

use clap::Args;

/// `coracle stack`
#[derive(Args, Debug)]
pub struct StackArgs {
    /// Name of the guest
    pub name: String,

    /// Show one process only
    #[arg(short, long, value_name = "PID")]
    pub pid: Option<u32>,

    /// Leave out the kernel's stacks
    #[arg(long)]
    pub program: bool,

    /// Write JSON
    #[arg(long)]
    pub json: bool,
}
