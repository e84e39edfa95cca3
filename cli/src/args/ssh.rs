//! ssh to guests: `coracle run --ssh`, `coracle ssh-config`, and what ssh(1) and sshd(8) call.

use std::path::PathBuf;

use clap::Args;

/// ssh of `coracle run`.
#[derive(Args, Clone, Debug, Default)]
pub struct SshArgs {
    /// Let the owners of these public keys (a file as ~/.ssh/authorized_keys) in by ssh; see `ssh-config`. Implies `--control full`
    #[arg(long, value_name = "KEYS")]
    pub ssh: Option<PathBuf>,
}

/// `coracle ssh-config`, and the commands that ssh(1) and sshd(8) start by what it prints
#[derive(Args, Debug)]
pub struct SshNameArgs {
    /// Name of the guest
    pub name: String,
}

/// `coracle ssh-server`
#[derive(Args, Debug)]
pub struct SshServerArgs {
    /// Name of the guest
    pub name: String,

    /// This is in a network of its own: have the guest's ports there
    #[arg(long, hide = true)]
    pub forward: bool,
}
