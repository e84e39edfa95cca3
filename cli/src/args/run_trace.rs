//! `coracle run --trace`

use std::path::PathBuf;

use clap::Args;

/// Options of `coracle run` that trace its program.
#[derive(Args, Clone, Debug, Default)]
pub struct RunTraceArgs {
    /// Show the program's system calls from the first one, on stderr; with `=CALL,…` these only, as `coracle trace -e` has them
    #[arg(
        long,
        value_name = "CALL,…",
        value_delimiter = ',',
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "all"
    )]
    pub trace: Vec<String>,

    /// With --trace: show the program's stack with each call, as `strace -k` does
    #[arg(long, requires = "trace")]
    pub stack: bool,

    /// Write them to a file instead
    #[arg(long, value_name = "FILE", requires = "trace")]
    pub trace_file: Option<PathBuf>,
}
