//! `coracle ssh-config`

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::{keys, server};
use crate::args::SshNameArgs;
use crate::error::{Error, Result};
use crate::output;
use crate::run::quoted;

/// Prints what ssh(1) has to be told to reach a guest (ssh_config(5)).
///
/// # Errors
/// If the guest lets nobody in, or there is no server on the host.
pub fn print(args: &SshNameArgs) -> Result<()> {
    let name = &args.name;
    keys::of_guest(name)?;
    server::find()?;
    let own = std::env::current_exe().map_err(|error| Error::new("cannot find this command").why(error))?;
    let user = server::user()?;
    let known = keys::known_hosts()?;
    // ssh(1) takes `%` as the beginning of something that it fills in.
    let command = quoted(own.as_os_str().as_bytes()).replace('%', "%%");
    output::line(format_args!(
        "Host {name}
  User {user}
  ProxyCommand {command} ssh-server {name}
  HostKeyAlias {alias}{name}
  UserKnownHostsFile {known}
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  ForwardAgent no",
        alias = keys::ALIAS,
        known = word(&known),
    ))
}

/// A path as a word of ssh_config(5).
fn word(path: &Path) -> String {
    format!("\"{}\"", path.display()).replace('%', "%%")
}
