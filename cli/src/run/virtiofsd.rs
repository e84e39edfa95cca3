//! Directories of the host that the program virtiofsd serves: one of it for each.

use std::ffi::OsString;
use std::os::fd::AsFd as _;
use std::process::Command;
use std::sync::Arc;
use std::thread;

use coracle_control::Message;
use rustix::event::{PollFd, PollFlags, poll};

use super::backend::Backend;
use super::host;
use super::stop::Guest;
use crate::error::{Error, Result, note};
use crate::volume::share::Shared;

/// The program, and the environment variable with the path of another one.
const SERVER: &str = "virtiofsd";
const SERVER_OVERRIDE: &str = "CORACLE_VIRTIOFSD";

/// What serves a directory.
#[derive(Debug)]
pub struct Served {
    tag: String,
    /// The program; `None` where nothing is to be started.
    backend: Option<Backend>,
}

/// Starts what serves the directories that are to be served so, unless the command is only to be shown.
///
/// # Errors
/// If the program is not there, or does not serve.
pub fn serve(shares: &[Shared], is_shown: bool) -> Result<Vec<Served>> {
    shares.iter().filter(|shared| shared.by_virtiofs).map(|shared| start(shared, is_shown)).collect()
}

fn start(shared: &Shared, is_shown: bool) -> Result<Served> {
    let tag = String::from_utf8_lossy(&shared.share.tag).into_owned();
    let program = host::program(SERVER, SERVER_OVERRIDE).ok_or_else(|| {
        Error::new(format!("`{}` can't be shared by virtio-fs", shared.directory.display()))
            .why(format!("`{SERVER}` is in no directory of PATH"))
            .help(format!("install it: cargo install {SERVER} (it needs libseccomp and libcap-ng)"))
            .help(format!("or set {SERVER_OVERRIDE} to its path"))
            .help("or leave out `virtiofs`: QEMU itself shares directories by 9P")
    })?;
    let serve = || {
        Backend::start(&program, |control| {
            let mut command = Command::new(&program);
            command.arg("--shared-dir").arg(&shared.directory).arg("--socket-path").arg(control);
            // How long what it says is believed is the guest's own choice.
            command.args(["--xattr", "--log-level=error"]);
            if shared.read_only {
                command.arg("--readonly");
            }
            if !rustix::process::geteuid().is_root() {
                // It can make files of its own user alone, for whom it takes all owners that the guest chooses.
                let all_to = |id: u32| format!("squash-guest:0:{id}:{}", u32::MAX);
                command.arg("--translate-uid").arg(all_to(rustix::process::geteuid().as_raw()));
                command.arg("--translate-gid").arg(all_to(rustix::process::getegid().as_raw()));
            }
            command
        })
    };
    Ok(Served { tag, backend: (!is_shown).then(serve).transpose()? })
}

impl Served {
    /// Arguments of QEMU. `bus`: what a device is called for its bus, and how it is set.
    pub fn arguments(&self, bus: &str) -> [OsString; 4] {
        let tag = &self.tag;
        // It has no other than the modern interface, and no word for that.
        let bus = bus.split(',').next().unwrap_or(bus);
        let socket = match &self.backend {
            Some(backend) => format!("fd={}", backend.fd()),
            None => "path=VIRTIOFSD".to_owned(),
        };
        [
            "-chardev".into(),
            format!("socket,id={tag},{socket}").into(),
            "-device".into(),
            format!("vhost-user-fs-{bus},chardev={tag},tag={tag}").into(),
        ]
    }

    /// Has the guest be told when the program ends before it: QEMU does not tell, and what the guest asks would wait for ever.
    ///
    /// # Errors
    /// If it can't be watched.
    pub fn watch(&self, guest: &Arc<Guest>) -> std::io::Result<()> {
        let Some(backend) = &self.backend else { return Ok(()) };
        let (stream, guest, tag) = (backend.stream()?, Arc::clone(guest), self.tag.clone());
        thread::spawn(move || {
            // The bytes are QEMU's: only the end of the connection is looked for.
            let mut watched = [PollFd::from_borrowed_fd(stream.as_fd(), PollFlags::RDHUP)];
            while poll(&mut watched, None) == Err(rustix::io::Errno::INTR) {}
            // The end of the guest is the program's, too.
            if !guest.is_gone() {
                note(format_args!("{SERVER}, which served {tag}, has ended: the guest's directory is gone"));
                guest.say(Message::ShareGone(tag.as_bytes()));
            }
        });
        Ok(())
    }
}
