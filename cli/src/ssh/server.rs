//! The server of one connection: the host's sshd(8), with settings of its own.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{forward, keys, session};
use crate::args::SshServerArgs;
use crate::error::{Error, Result};
use crate::run::quoted;

/// Where servers are beside PATH, which has no directories for them as a rule.
const DIRECTORIES: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/sbin"];
/// The directory that sshd(8) wants of root.
const SEPARATION: &str = "/run/sshd";
/// Variables that say where guests are.
const KEPT: [&str; 3] = ["XDG_RUNTIME_DIR", "XDG_STATE_HOME", "TMPDIR"];

/// The host's sshd.
///
/// # Errors
/// If there is none.
pub fn find() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(DIRECTORIES.map(PathBuf::from));
    let found = directories.map(|directory| directory.join("sshd")).find(|path| path.is_file());
    found.ok_or_else(|| {
        Error::new("there is no `sshd` on this host")
            .why("it serves one connection at a time, without listening anywhere")
            .help("install it: apt install openssh-server (it needs not be started)")
    })
}

/// The name of this user.
///
/// # Errors
/// If the user has none.
pub fn user() -> Result<String> {
    let output = Command::new("id").arg("-un").output();
    let name = output.ok().filter(|output| output.status.success());
    let name = name.and_then(|output| String::from_utf8(output.stdout).ok());
    name.map(|name| name.trim().to_owned())
        .ok_or_else(|| Error::new("this user has no name on the host").why("`id -un` does not tell it"))
}

/// `coracle ssh-server`: becomes the server of the connection at standard input and output; in a network of its own, where the guest's
/// ports are, if the host lets this user have one.
///
/// # Errors
/// If that can't be.
pub fn serve(args: &SshServerArgs) -> Result<u8> {
    if !args.forward && forward::is_possible() {
        return Err(forward::apart(&args.name));
    }
    let server = command(&args.name, args.forward)?;
    if args.forward { forward::beside(&args.name, server) } else { become_server(server) }
}

fn become_server(mut server: Command) -> Result<u8> {
    Err(cannot_start(&server.exec()))
}

/// What is said of an sshd that can't be started.
pub fn cannot_start(error: &std::io::Error) -> Error {
    Error::new("cannot start sshd").why(error)
}

/// The server of a connection to the guest of this name. `forward`: it may connect to what is at its loopback.
fn command(name: &str, forward: bool) -> Result<Command> {
    let (keys, host_key, sshd) = (keys::of_guest(name)?, keys::own()?, find()?);
    if rustix::process::getuid().is_root() && !Path::new(SEPARATION).exists() {
        // As the package's unit does; without it sshd says what is missing.
        let _ = std::fs::create_dir(SEPARATION);
    }
    let own = std::env::current_exe().map_err(|error| Error::new("cannot find this command").why(error))?;
    let mut command = String::from("exec env");
    for variable in KEPT {
        if let Some(value) = std::env::var_os(variable) {
            command += &format!(" {variable}={}", quoted(value.as_bytes()));
        }
    }
    command += &format!(" {} ssh-session {name}", quoted(own.as_os_str().as_bytes()));
    let settings = [
        format!("HostKey={}", word(&host_key)),
        format!("AuthorizedKeysFile={}", word(&keys)),
        format!("AllowUsers={}", user()?),
        format!("ForceCommand={command}"),
        format!("Subsystem=sftp {}", session::SFTP),
    ];
    // The keys lie in a directory of the user's, below one that others may write to with the sticky bit.
    let fixed = [
        "StrictModes=no",
        "UsePAM=no",
        "AuthenticationMethods=publickey",
        "PasswordAuthentication=no",
        "KbdInteractiveAuthentication=no",
        "PermitRootLogin=prohibit-password",
        "X11Forwarding=no",
        "AllowAgentForwarding=no",
        "AllowStreamLocalForwarding=no",
        "PermitTunnel=no",
        if forward { "AllowTcpForwarding=local" } else { "AllowTcpForwarding=no" },
        "PermitUserRC=no",
        "PermitUserEnvironment=no",
        "PrintMotd=no",
        "PrintLastLog=no",
        "PidFile=none",
        "LogLevel=ERROR",
    ];
    let mut server = Command::new(sshd);
    server.args(["-i", "-e", "-f", "/dev/null"]);
    for setting in settings.iter().map(String::as_str).chain(fixed) {
        server.args(["-o", setting]);
    }
    Ok(server)
}

/// A path as a word of sshd_config(5).
fn word(path: &Path) -> String {
    format!("\"{}\"", path.display()).replace('%', "%%")
}
