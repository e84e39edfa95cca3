//! Keys: those that are let in to a guest, and the user's own for all guests.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Error, Result, cannot};
use crate::instances;

/// The kind of file with the public keys that a guest lets in.
const KIND: &str = "keys";
/// What begins the name of each guest where its key is looked up.
pub const ALIAS: &str = "coracle-";

/// Notes that the guest of this name lets the owners of the public keys in this file in.
///
/// # Errors
/// If it can't be read, or has no key.
pub fn keep(name: &str, keys: &Path) -> Result<()> {
    let text = fs::read(keys).map_err(|error| cannot("read", keys, &error))?;
    let is_key = |line: &[u8]| !line.trim_ascii().is_empty() && !line.trim_ascii().starts_with(b"#");
    if !text.split(|&byte| byte == b'\n').any(is_key) || text.starts_with(b"-----BEGIN") {
        return Err(Error::new(format!("`{}` has no public keys", keys.display()))
            .help("give a file as ~/.ssh/authorized_keys, or a key's .pub file"));
    }
    let path = instances::file(name, KIND)?;
    fs::write(&path, text).map_err(|error| cannot("write", &path, &error))
}

/// The file with the public keys that a guest lets in.
///
/// # Errors
/// If there is none.
pub fn of_guest(name: &str) -> Result<PathBuf> {
    let path = instances::file(name, KIND)?;
    match path.exists() {
        true => Ok(path),
        false => Err(Error::new(format!("`{name}` lets nobody in by ssh"))
            .why("it was not run with --ssh, or there is no such guest")
            .help("run it with `--ssh ~/.ssh/id_ed25519.pub`, or use `coracle exec`")),
    }
}

/// The user's key for all guests, which is made when it is first used: the private key's file.
///
/// # Errors
/// If it can't be made.
pub fn own() -> Result<PathBuf> {
    let directory = directory()?;
    let path = directory.join("host_key");
    if !path.exists() {
        // Made aside, so that another command finds no half of it.
        let new = directory.join(format!("host_key-{}", std::process::id()));
        let output = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "coracle", "-f"])
            .arg(&new)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| {
                Error::new("cannot make a key for the guests")
                    .why(error)
                    .help("install ssh-keygen (openssh-client)")
            })?;
        if !output.status.success() {
            return Err(Error::new("cannot make a key for the guests")
                .why(String::from_utf8_lossy(&output.stderr).trim()));
        }
        for (from, to) in [(new.with_extension("pub"), path.with_extension("pub")), (new, path.clone())] {
            fs::rename(&from, &to).map_err(|error| cannot("write", &to, &error))?;
        }
    }
    Ok(path)
}

/// The file of known hosts that has that key (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT").
///
/// # Errors
/// If it can't be written.
pub fn known_hosts() -> Result<PathBuf> {
    let public = own()?.with_extension("pub");
    let key = fs::read_to_string(&public).map_err(|error| cannot("read", &public, &error))?;
    let path = directory()?.join("known_hosts");
    let line = format!("{ALIAS}* {key}");
    if fs::read_to_string(&path).ok().as_ref() != Some(&line) {
        fs::write(&path, line).map_err(|error| cannot("write", &path, &error))?;
    }
    Ok(path)
}

/// The user's directory for both, which outlives a boot of the host.
fn directory() -> Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local/state")));
    let state = state.ok_or_else(|| {
        Error::new("there is no place for the guests' key").why("neither XDG_STATE_HOME nor HOME is set")
    })?;
    let path = state.join("coracle/ssh");
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
    made.map_err(|error| cannot("make the directory", &path, &error))?;
    Ok(path)
}
