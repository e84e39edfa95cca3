//! What a system has of terminals beside its console: /dev/pts, /dev/ptmx and /dev/tty.
use super::devpts::{filesystem, open_ptmx};
use alloc::sync::Arc;
use coracle_core::errno::Errno;
use coracle_core::fs::file::File;
use coracle_core::fs::mount::{self, MountFlags, NewMount, Path, Place};
use coracle_core::fs::stat::split_device;
use coracle_core::task::terminal;
use coracle_fallible::prelude::*;
use coracle_fs::dev;

/// Options of the file system at /dev/pts: the slaves belong to the group `tty`, as on Debian, and the ptmx in it is for all.
const OPTIONS: &[u8] = b"gid=5,mode=620,ptmxmode=666";
const KIND: &str = "devpts";

/// Mounts /dev/pts, and names the devices. Called once, before the first process is made. ENOMEM.
#[inline(never)]
pub fn start() -> Result<(), Errno> {
    dev::set_terminals(open);
    let root = mount::root();
    let Some(dev) = root.inode.lookup(b"dev")? else { return Ok(()) };
    let dev = Path { mount: root.mount, inode: dev }.cross();
    let Some(inode) = dev.inode.lookup(b"pts")? else { return Ok(()) };
    let place = Place { path: Path { mount: dev.mount, inode }, name: None };
    let source = KIND.as_bytes().try_to_vec()?;
    let (root, flags) = (filesystem(OPTIONS)?, MountFlags::new(0));
    mount::mount(place, NewMount { root, kind: KIND, source, flags, file_system: None })
}

/// Opens the terminal device of that number. ENXIO if the process has no controlling terminal (tty(4)); EIO for a slave that is
/// not in its file system.
fn open(number: u64, place: Place, flags: u32) -> Result<Arc<dyn File>, Errno> {
    match split_device(number) {
        (5, 0) => terminal::open_own(place, flags).unwrap_or_else(dev::own_console),
        (5, 2) => open_ptmx(place),
        _ => Err(Errno::IO),
    }
}
