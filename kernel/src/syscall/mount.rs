//! mount(2) and umount2(2).
use super::call::Call;
use super::path::named;
use crate::errno::{Errno, SysResult};
use crate::fs::access::{capability, check_capability};
use crate::fs::inode::Inode;
use crate::fs::memory::MemoryFs;
use crate::fs::mount as mounts;
use crate::fs::{dev, proc, sys};
use crate::mm::user;
use alloc::sync::Arc;
use alloc::vec::Vec;
use linux_raw_sys::general::*;

/// mount(2): tmpfs, and directories bound elsewhere. ENOMEM.
pub fn mount(call: &Call) -> SysResult {
    let flags = call.u32(3);
    check_capability(capability::SYS_ADMIN)?;
    let at = named(call, AT_FDCWD, call.usize(1), 0)?.place(Errno::NOTDIR)?.path;
    if flags & MS_BIND != 0 {
        let source = named(call, AT_FDCWD, call.usize(0), 0)?.place(Errno::NOTDIR)?.path;
        if flags & MS_REMOUNT != 0 {
            return Ok(0);
        }
        if source.inode.is_directory() != at.inode.is_directory() {
            return Err(Errno::NOTDIR);
        }
        let label = user::read_path(call.usize(0))?;
        mounts::mount(at, source.inode, source.mount.kind, label, flags & MS_RDONLY != 0)?;
        return Ok(0);
    }
    if flags & (MS_PRIVATE | MS_SHARED | MS_SLAVE | MS_UNBINDABLE | MS_REMOUNT) != 0 {
        // There is one mount namespace, and nothing that mounts could propagate to.
        return Ok(0);
    }
    if !at.inode.is_directory() {
        return Err(Errno::NOTDIR);
    }
    let kind = user::read_path(call.usize(2))?;
    let source = if call.usize(0) == 0 { Vec::new() } else { user::read_path(call.usize(0))? };
    let (root, kind) = match kind.as_slice() {
        b"tmpfs" | b"ramfs" => (MemoryFs::empty(0o1777)? as Arc<dyn Inode>, "tmpfs"),
        b"devtmpfs" => (dev::filesystem()?, "devtmpfs"),
        b"proc" => (proc::filesystem()?, "proc"),
        b"sysfs" => (sys::filesystem()?, "sysfs"),
        _ => return Err(Errno::NODEV),
    };
    mounts::mount(at, root, kind, source, flags & MS_RDONLY != 0)?;
    Ok(0)
}
/// umount2(2).
pub fn umount2(call: &Call) -> SysResult {
    check_capability(capability::SYS_ADMIN)?;
    let path = named(call, AT_FDCWD, call.usize(0), 0)?.place(Errno::INVAL)?.path;
    mounts::unmount(&path)?;
    Ok(0)
}
