//! `coracle exec`

use std::ffi::OsString;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser as _};

use super::variable;

/// `coracle exec`
#[derive(Args, Debug)]
pub struct ExecArgs {
    /// Hand standard input on
    #[arg(short, long)]
    pub interactive: bool,

    /// Give the program a terminal, which is this one with -i
    #[arg(short, long)]
    pub tty: bool,

    /// Do not wait for the program; its output goes to /dev/null
    #[arg(short, long, conflicts_with_all = ["interactive", "tty"])]
    pub detach: bool,

    /// Set an environment variable beside those of the image; without a value, take the host's
    #[arg(short, long, value_name = "NAME[=VALUE]", value_parser = OsStringValueParser::new().try_map(variable))]
    pub env: Vec<OsString>,

    /// Run as this user: a name or number of the guest, with :GROUP for another group [default: the image's]
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,

    /// Working directory of the program [default: the image's]
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<OsString>,

    /// Send a program of the host along with its libraries, and run that; or have a file at GUESTPATH meanwhile
    #[arg(long, value_name = "FILE[:GUESTPATH]")]
    pub with: Vec<OsString>,

    /// Name of the guest
    pub name: String,

    /// The program, by its path or a name in the guest's PATH, and its arguments
    #[arg(required = true, value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<OsString>,
}
