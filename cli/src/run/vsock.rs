//! The socket device of a guest (`--vsock`): the host's own, vhost-vsock, or one that the program `vhost-device-vsock` serves.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use super::backend::Backend;
use super::host;
use crate::error::{Error, Result, cannot};
use crate::instances;

/// The door to the host's own device.
const VHOST: &str = "/dev/vhost-vsock";
/// The program that serves a device, and names the environment variable with the path of another one.
const SERVER: &str = "vhost-device-vsock";
const SERVER_OVERRIDE: &str = "CORACLE_VHOST_VSOCK";
/// The first CID that is no well-known one (vsock(7)), and the guest's unless another is asked for.
const FIRST_CID: u32 = 3;
/// The CID that means any (VMADDR_CID_ANY).
const ANY_CID: u32 = u32::MAX;

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The guest's CID.
    pub cid: u32,
    /// The Unix socket by which programs of the host reach the guest's ports.
    pub socket: Option<PathBuf>,
}

impl FromStr for Wish {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Wish, String> {
        let (cid, socket) = match text.split_once(':') {
            Some((cid, socket)) => (cid, Some(socket)),
            None => (text, None),
        };
        let cid = if cid.is_empty() { Ok(FIRST_CID) } else { cid.parse() };
        match (cid, socket) {
            (Ok(cid), Some("")) => Err(format!("no socket after `{cid}:`")),
            (Ok(cid), socket) if (FIRST_CID..ANY_CID).contains(&cid) => {
                Ok(Wish { cid, socket: socket.map(PathBuf::from) })
            }
            _ => Err(format!("`{text}` is no CID: a number from {FIRST_CID}")),
        }
    }
}

/// The device of a guest.
#[derive(Debug)]
pub enum Device {
    /// The host's own, with the guest's CID.
    Kernel(u32),
    /// One that a program serves.
    Served(Served),
}

/// A device that a program serves.
#[derive(Debug)]
pub struct Served {
    cid: u32,
    /// The socket for programs of the host.
    socket: PathBuf,
    /// The program, and the connection that QEMU inherits. `None` where nothing is to be started.
    backend: Option<Backend>,
}

impl Device {
    /// Chooses a device, and starts what serves it unless the command is only to be shown.
    ///
    /// # Errors
    /// If the host has none, or the socket is in use.
    pub fn attach(wish: &Wish, is_shown: bool) -> Result<Device> {
        let obstacle = match fs::OpenOptions::new().read(true).write(true).open(VHOST) {
            Ok(_) if wish.socket.is_none() => return Ok(Device::Kernel(wish.cid)),
            Ok(_) => "a socket of your own was asked for".to_owned(),
            Err(error) if error.kind() == ErrorKind::NotFound => format!("there is no {VHOST}"),
            Err(error) => format!("{VHOST}: {error}"),
        };
        let program = host::program(SERVER, SERVER_OVERRIDE).ok_or_else(|| {
            Error::new("no socket device can be given to the guest")
                .why(format!("{obstacle}, and `{SERVER}` is in no directory of PATH"))
                .help("load the module: modprobe vhost_vsock (as root, and let your user open the device)")
                .help(format!("or install the program: cargo install {SERVER}"))
                .help(format!("or set {SERVER_OVERRIDE} to its path"))
        })?;
        let socket = match &wish.socket {
            Some(socket) => socket.clone(),
            None => instances::vsock_socket(wish.cid)?,
        };
        let mut served = Served { cid: wish.cid, socket, backend: None };
        if !is_shown {
            served.backend = Some(served.start(&program)?);
        }
        Ok(Device::Served(served))
    }

    /// Whether the device's memory is another program's, too.
    pub fn shares_memory(&self) -> bool {
        matches!(self, Device::Served(_))
    }

    /// Arguments of QEMU, for devices of this bus.
    pub fn arguments(&self, bus: &str) -> Vec<OsString> {
        let words = match self {
            Device::Kernel(cid) => {
                vec!["-device".to_owned(), format!("vhost-vsock-{bus},guest-cid={cid}")]
            }
            Device::Served(Served { backend, .. }) => vec![
                "-chardev".to_owned(),
                match backend {
                    Some(backend) => format!("socket,id=vsock,fd={}", backend.fd()),
                    None => "socket,id=vsock,path=VSOCK".to_owned(),
                },
                "-device".to_owned(),
                format!("vhost-user-vsock-{bus},chardev=vsock"),
            ],
        };
        words.into_iter().map(OsString::from).collect()
    }

    /// A few words of it.
    pub fn summary(&self) -> String {
        match self {
            Device::Kernel(cid) => format!("CID {cid}"),
            Device::Served(Served { cid, socket, .. }) => {
                format!("CID {cid}, whose ports are behind {}", socket.display())
            }
        }
    }
}

impl Served {
    /// Starts the program.
    fn start(&self, program: &Path) -> Result<Backend> {
        self.make_way()?;
        Backend::start(program, |control| {
            let mut vm = OsString::from(format!("guest-cid={},socket=", self.cid));
            vm.push(control);
            vm.push(",uds-path=");
            vm.push(&self.socket);
            let mut command = Command::new(program);
            command.arg("--vm").arg(vm);
            command
        })
    }

    /// Removes what an earlier guest may have left.
    fn make_way(&self) -> Result<()> {
        let path = &self.socket;
        if path.as_os_str().as_bytes().contains(&b',') {
            return Err(Error::new(format!("`{}` has a comma", path.display()))
                .why(format!("`{SERVER}` takes it for the end of the name")));
        }
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(cannot("use", path, &error)),
            Ok(found) if !found.file_type().is_socket() => {
                return Err(Error::new(format!("`{}` is there, and no socket", path.display())));
            }
            Ok(_) => {}
        }
        if UnixStream::connect(path).is_ok() {
            return Err(Error::new(format!("the socket `{}` is in use", path.display()))
                .help("give the guest another CID (--vsock=4), or another socket (--vsock=3:./SOCKET)"));
        }
        fs::remove_file(path).map_err(|error| cannot("remove", path, &error))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if self.backend.take().is_some() {
            // It may never have been made.
            let _ = fs::remove_file(&self.socket);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes() {
        let wish = |text: &str| text.parse::<Wish>().ok().map(|wish| (wish.cid, wish.socket));
        assert_eq!(wish(""), Some((3, None)));
        assert_eq!(wish("77"), Some((77, None)));
        assert_eq!(wish("5:./a:b"), Some((5, Some("./a:b".into()))));
        assert_eq!(wish(":s"), Some((3, Some("s".into()))));
        for wrong in ["2", "4294967295", "4294967296", "-3", "x", "3:"] {
            assert_eq!(wish(wrong), None, "{wrong}");
        }
    }
}
