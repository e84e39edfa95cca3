//! Files that the machine gives the program when it boots, beside those of the image: its own name, and secrets.
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::fs::context::FsContext;
use coracle_core::fs::inode::{Changes, NewNode};
use coracle_core::fs::open::open;
use coracle_core::fs::walk::{self, Bounds, Follow};
use coracle_core::mm::user_buf::UserBuf;
use coracle_fallible::prelude::*;
use coracle_image::User;
use coracle_image::secrets::Secrets;
use linux_raw_sys::general::{O_APPEND, O_RDONLY, O_TRUNC, O_WRONLY};

/// Names and addresses (hosts(5)), and the machine's own name (hostname(5)).
const HOSTS: &[u8] = b"/etc/hosts";
const HOSTNAME: &[u8] = b"/etc/hostname";
/// The machine's own address for its own name, beside that of `localhost`, as Debian has it.
const OWN_ADDRESS: &[u8] = b"127.0.1.1 ";
/// Where secrets are, and the permissions of the directory and of each.
const SECRETS: &[u8] = b"/run/secrets";
const SECRETS_MODE: u32 = 0o755;
const SECRET_MODE: u32 = 0o400;

/// Has the machine's name resolve: puts it into /etc/hosts unless it is there, and into /etc/hostname.
pub fn name_machine(name: &[u8]) -> Result<(), Errno> {
    let context = FsContext::new();
    let hosts = read(&context, HOSTS)?;
    if !names(&hosts, name) {
        let newline: &[u8] = if hosts.is_empty() || hosts.ends_with(b"\n") { b"" } else { b"\n" };
        write(&context, HOSTS, O_APPEND, 0o644, &joined(&[newline, OWN_ADDRESS, name, b"\n"])?)?;
    }
    if read(&context, HOSTNAME)?.trim_ascii() != name {
        write(&context, HOSTNAME, O_TRUNC, 0o644, &joined(&[name, b"\n"])?)?;
    }
    Ok(())
}

/// Whether a line of hosts(5) gives an address to the name.
fn names(hosts: &[u8], name: &[u8]) -> bool {
    hosts.split(|&byte| byte == b'\n').any(|line| {
        let line = line.split(|&byte| byte == b'#').next().unwrap_or_default();
        line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).skip(1).any(|word| word == name)
    })
}

/// Puts secrets into files that only the program's user can read.
pub fn put_secrets(secrets: &[u8], user: User) -> Result<(), Errno> {
    let context = FsContext::new();
    let run = walk::find(&context, None, b"/run", Follow::Always)?;
    match run.path.inode.create(b"secrets", NewNode::Directory, SECRETS_MODE) {
        Ok(_) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    for (name, value) in Secrets::new(secrets) {
        let path = joined(&[SECRETS, b"/", name])?;
        write(&context, &path, O_TRUNC, SECRET_MODE, value)?;
        let file = walk::find(&context, None, &path, Follow::Never)?;
        let owner = Changes { uid: Some(user.uid), gid: Some(user.gid), ..Changes::default() };
        file.path.inode.change(owner)?;
    }
    Ok(())
}

/// The bytes of a file; none if there is no such file.
fn read(context: &FsContext, path: &[u8]) -> Result<Vec<u8>, Errno> {
    match open(context, None, path, O_RDONLY, 0, Bounds::default()) {
        Ok(file) => file.file.read_all(),
        Err(Errno::NOENT) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// One after the other.
fn joined(parts: &[&[u8]]) -> Result<Vec<u8>, Errno> {
    let mut all = Vec::new();
    for part in parts {
        all.try_extend_from_slice(part)?;
    }
    Ok(all)
}

/// Writes a file, which is made if need be; `how` is O_APPEND or O_TRUNC. Without the directory nothing is written.
fn write(context: &FsContext, path: &[u8], how: u32, mode: u32, bytes: &[u8]) -> Result<(), Errno> {
    let found = match walk::resolve(context, None, path, Follow::Always, Bounds::default()) {
        Ok(found) => found,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error),
    };
    if found.node.is_none() {
        // Not by open(2), which gives a new file to the running program: there is none yet.
        found.directory.inode.create(&found.name, NewNode::File, mode)?;
    }
    let file = open(context, None, path, O_WRONLY | how, 0, Bounds::default())?;
    file.file.append(&mut UserBuf::kernel_in(bytes)).map(drop)
}
