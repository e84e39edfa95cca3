//! What a connection asks for: a shell, a command, or sftp.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::Path;

use rustix::stdio::stdin;

use crate::args::{ExecArgs, SshNameArgs};
use crate::error::{self, Error, Result};
use crate::exec;

/// What sshd gives as the command where sftp is asked for.
pub const SFTP: &str = "coracle-sftp";
/// Where the server for sftp is: Debian's place, and those of others.
const SERVERS: [&str; 4] = [
    "/usr/lib/openssh/sftp-server",
    "/usr/libexec/openssh/sftp-server",
    "/usr/lib/ssh/sftp-server",
    "/usr/libexec/sftp-server",
];
/// The variable with what the client asked for (sshd_config(5), `ForceCommand`).
const ASKED: &str = "SSH_ORIGINAL_COMMAND";

/// `coracle ssh-session`: runs what is asked for in the guest; returns its exit status.
///
/// # Errors
/// If the guest has no shell for it.
pub fn run(args: &SshNameArgs) -> Result<u8> {
    let asked = std::env::var_os(ASKED).filter(|asked| !asked.is_empty());
    let is_terminal = stdin().is_terminal();
    let mut options = ExecArgs {
        interactive: true,
        tty: is_terminal,
        detach: false,
        env: Vec::new(),
        user: None,
        workdir: None,
        with: Vec::new(),
        name: args.name.clone(),
        words: Vec::new(),
    };
    match asked {
        Some(command) if command == SFTP => {
            let server = SERVERS.iter().find(|path| Path::new(path).is_file()).ok_or_else(|| {
                Error::new("there is no `sftp-server` on this host, which is sent to the guest")
                    .help("install it: apt install openssh-sftp-server")
            })?;
            options.with = vec![server.into()];
            options.words = vec!["sftp-server".into()];
            options.tty = false;
        }
        Some(command) => options.words = shell_words(&args.name, command)?,
        None => options.words = vec![exec::shell(&args.name)?.ok_or_else(|| no_shell(&args.name))?.into()],
    }
    exec::exec(&options)
}

/// A command by the guest's shell; one of plain words needs none.
fn shell_words(name: &str, command: OsString) -> Result<Vec<OsString>> {
    if let Some(shell) = exec::shell(name)? {
        return Ok(vec![shell.into(), "-c".into(), command]);
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || " -_./:=,@%+".contains(c);
    let text = command.to_str().filter(|text| text.chars().all(is_plain)).ok_or_else(|| no_shell(name))?;
    Ok(text.split(' ').filter(|word| !word.is_empty()).map(OsString::from).collect())
}

fn no_shell(name: &str) -> Error {
    Error::new(format!("`{name}` has no shell"))
        .with_status(error::NOT_FOUND)
        .why("its image has none of what its /etc/passwd names, /bin/bash and /bin/sh")
        .help("commands of plain words, scp and sftp need none")
        .help(format!("send one along: coracle exec -it --with /bin/busybox {name} sh"))
}
