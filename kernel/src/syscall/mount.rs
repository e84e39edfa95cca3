//! mount(2) and umount2(2).
use super::call::Call;
use super::path::named;
use crate::drivers::pty;
use crate::errno::{Errno, SysResult};
use crate::fs::access::{capability, check_capability};
use crate::fs::inode::Inode;
use crate::fs::memory::MemoryFs;
use crate::fs::mount::{self as mounts, MountFlags, NewMount, Place};
use crate::fs::walk::{self, Follow};
use crate::fs::{dev, proc, sys};
use crate::ipc::mqueue::tree;
use crate::mm::user;
use alloc::sync::Arc;
use alloc::vec::Vec;
use linux_raw_sys::general::*;

/// Bits that old programs set, and that mean nothing (mount(2), MS_MGC_VAL).
const MAGIC_MASK: u32 = 0xffff_0000;
const MAGIC: u32 = 0xc0ed_0000;
/// Changes of how mounts propagate.
const PROPAGATION: u32 = MS_PRIVATE | MS_SHARED | MS_SLAVE | MS_UNBINDABLE;

fn place_at(call: &Call, addr: usize) -> Result<Place, Errno> {
    let path = user::read_path(addr)?;
    walk::find(&call.thread().process.fs, None, &path, Follow::Always)
}

/// What /proc/mounts shows as the source; empty at address 0.
fn source_at(addr: usize) -> Result<Vec<u8>, Errno> {
    if addr == 0 { Ok(Vec::new()) } else { user::read_path(addr) }
}

/// mount(2): tmpfs, proc, sysfs, devtmpfs, devpts and mqueue, directories and files bound elsewhere, and changes of the flags of what is
/// mounted.
pub fn mount(call: &Call) -> SysResult {
    let mut flags = call.u32(3);
    if flags & MAGIC_MASK == MAGIC {
        flags &= !MAGIC_MASK;
    }
    let at = place_at(call, call.usize(1))?;
    check_capability(capability::SYS_ADMIN)?;
    if flags & MS_REMOUNT != 0 {
        return remount(&at, flags);
    }
    if flags & MS_BIND != 0 {
        return bind(call, at);
    }
    if flags & PROPAGATION != 0 {
        // There is one mount namespace, and nothing that mounts could propagate to.
        return if at.path.is_mount_root() { Ok(0) } else { Err(Errno::INVAL) };
    }
    if flags & MS_MOVE != 0 || call.usize(2) == 0 {
        return Err(Errno::INVAL);
    }
    let kind = user::read_path(call.usize(2))?;
    let (root, kind) = match kind.as_slice() {
        b"tmpfs" | b"ramfs" => (MemoryFs::empty(0o1777)? as Arc<dyn Inode>, "tmpfs"),
        b"devtmpfs" => (dev::filesystem()?, "devtmpfs"),
        b"devpts" => {
            let options = if call.usize(4) == 0 { Vec::new() } else { user::read_path(call.usize(4))? };
            (pty::filesystem(&options)?, "devpts")
        }
        b"proc" => (proc::filesystem()?, "proc"),
        b"sysfs" => (sys::filesystem()?, "sysfs"),
        b"mqueue" => (tree::filesystem()?, "mqueue"),
        _ => return Err(Errno::NODEV),
    };
    if !at.path.inode.is_directory() {
        return Err(Errno::NOTDIR);
    }
    let new = NewMount {
        root,
        kind,
        source: source_at(call.usize(0))?,
        flags: MountFlags::new(flags),
        file_system: None,
    };
    mounts::mount(at, new)?;
    Ok(0)
}

/// MS_REMOUNT: the flags of a mount, and without MS_BIND whether its file system is read-only. EINVAL if nothing is mounted
/// right there, EBUSY if it is to be read-only and files are open for writing.
fn remount(at: &Place, flags: u32) -> SysResult {
    if !at.path.is_mount_root() {
        return Err(Errno::INVAL);
    }
    let mount = &at.path.mount;
    let new = MountFlags::new(flags).with_times_of(mount.flags(), flags);
    if flags & MS_BIND != 0 {
        mount.set_flags(new)?
    } else {
        mount.reconfigure(new)?
    }
    Ok(0)
}

/// MS_BIND: shows a file or directory elsewhere, too, with the flags of the mount that it is in.
fn bind(call: &Call, at: Place) -> SysResult {
    let source = named(call, AT_FDCWD, call.usize(0), 0)?.place(Errno::NOTDIR)?.path;
    if source.inode.is_directory() != at.path.inode.is_directory() {
        return Err(Errno::NOTDIR);
    }
    let new = NewMount {
        kind: source.mount.kind,
        source: source_at(call.usize(0))?,
        flags: source.mount.flags(),
        file_system: Some(source.mount.file_system.clone()),
        root: source.inode,
    };
    mounts::mount(at, new)?;
    Ok(0)
}

/// umount2(2): MNT_DETACH and UMOUNT_NOFOLLOW; nothing here takes force. EINVAL for MNT_EXPIRE.
pub fn umount2(call: &Call) -> SysResult {
    let flags = call.u32(1);
    if flags & !(MNT_FORCE | MNT_DETACH | UMOUNT_NOFOLLOW) != 0 {
        return Err(Errno::INVAL);
    }
    let follow = if flags & UMOUNT_NOFOLLOW != 0 { AT_SYMLINK_NOFOLLOW } else { 0 };
    let path = named(call, AT_FDCWD, call.usize(0), follow)?.place(Errno::INVAL)?.path;
    check_capability(capability::SYS_ADMIN)?;
    mounts::unmount(path, flags & MNT_DETACH != 0)?;
    Ok(0)
}
