//! mount(2) and umount2(2).
use super::call::Call;
use super::path::named;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::access::{capability, check_capability, check_capability_in};
use coracle_core::fs::inode::Inode;
use coracle_core::fs::mount as mounts;
use coracle_core::fs::mount::{Mount, MountFlags, NewMount, Path, Place};
use coracle_core::fs::mount_space;
use coracle_core::fs::walk::{self, Follow};
use coracle_core::mm::user;
use coracle_core::task::credentials::machine_id;
use coracle_core::task::process;
use coracle_core::task::user_space::Kind;
use coracle_fallible::prelude::*;
use coracle_fs::block::registry;
use coracle_fs::memory::{MemoryFs, Node, Options};
use coracle_fs::overlay::{self, Overlay};
use coracle_fs::remote;
use coracle_fs::{dev, ext4};
use coracle_ipc::mqueue::tree;
use coracle_system::drivers::pty;
use coracle_system::{proc, sys};
use linux_raw_sys::general::*;

/// Bits that old programs set, and that mean nothing (mount(2), MS_MGC_VAL).
const MAGIC_MASK: u32 = 0xffff_0000;
const MAGIC: u32 = 0xc0ed_0000;
/// Changes of how mounts propagate.
const PROPAGATION: u32 = MS_PRIVATE | MS_SHARED | MS_SLAVE | MS_UNBINDABLE;

/// File systems that may be mounted with the rights of a user namespace: what they show is their mounter's, or is there for all.
const IN_NAMESPACES: [&[u8]; 6] = [b"tmpfs", b"ramfs", b"devpts", b"mqueue", b"proc", b"overlay"];

/// Index of the file system id among a process's ids.
const FILE_SYSTEM: usize = 3;

/// EPERM unless the program may change the tree of mounts, EINVAL if it is not that of its namespace.
pub(super) fn check_may_mount(call: &Call, path: &Path) -> Result<(), Errno> {
    let space = call.thread().process.namespaces.lock().mounts.clone();
    check_capability_in(space.as_ref().and_then(|space| space.owner.as_ref()), capability::SYS_ADMIN)?;
    check_own(call, path)
}

/// EINVAL unless a path is in the program's namespace.
pub(super) fn check_own(call: &Call, path: &Path) -> Result<(), Errno> {
    let space = call.thread().process.namespaces.lock().mounts.as_ref().map_or(0, |space| space.id);
    if path.mount.space() == space { Ok(()) } else { Err(Errno::INVAL) }
}

/// pivot_root(2).
pub fn pivot_root(call: &Call) -> SysResult {
    let new = named(call, AT_FDCWD, call.usize(0), 0)?.place(Errno::NOTDIR)?.path;
    let put_old = place_at(call, call.usize(1))?;
    check_may_mount(call, &new)?;
    check_own(call, &put_old.path)?;
    if !new.inode.is_directory() || !put_old.path.inode.is_directory() {
        return Err(Errno::NOTDIR);
    }
    let root = call.thread().process.fs.root();
    mount_space::pivot(&root, &new, put_old)?;
    // All that have been at the old root are at the new one.
    process::all().for_each(|process| process.fs.replace(&root, &new));
    Ok(0)
}

fn place_at(call: &Call, addr: usize) -> Result<Place, Errno> {
    let path = user::read_path(addr)?;
    walk::find(&call.thread().process.fs, None, &path, Follow::Always)
}

/// What /proc/mounts shows as the source; empty at address 0.
fn source_at(addr: usize) -> Result<Vec<u8>, Errno> {
    if addr == 0 { Ok(Vec::new()) } else { user::read_path(addr) }
}

/// The options of the file system's own; empty at address 0.
fn options_at(call: &Call) -> Result<Vec<u8>, Errno> {
    source_at(call.usize(4))
}

/// mount(2): ext4, 9p, virtiofs, tmpfs, overlay, proc, sysfs, devtmpfs, devpts and mqueue, directories and files bound elsewhere, and changes of the flags of what is
/// mounted.
pub fn mount(call: &Call) -> SysResult {
    let mut flags = call.u32(3);
    if flags & MAGIC_MASK == MAGIC {
        flags &= !MAGIC_MASK;
    }
    let at = place_at(call, call.usize(1))?;
    check_may_mount(call, &at.path)?;
    if flags & MS_REMOUNT != 0 {
        return remount(call, &at, flags);
    }
    if flags & MS_BIND != 0 {
        return bind(call, at, flags & MS_REC != 0);
    }
    if flags & PROPAGATION != 0 {
        // No mount propagates to others: all are private.
        return if at.path.is_mount_root() { Ok(0) } else { Err(Errno::INVAL) };
    }
    if flags & MS_MOVE != 0 {
        let from = named(call, AT_FDCWD, call.usize(0), 0)?.place(Errno::NOTDIR)?.path;
        check_own(call, &from)?;
        mount_space::move_mount(&from, at)?;
        return Ok(0);
    }
    if call.usize(2) == 0 {
        return Err(Errno::INVAL);
    }
    let kind = user::read_path(call.usize(2))?;
    check_kind(&kind)?;
    if kind == b"ext4" {
        return mount_ext4(call, at, flags);
    }
    if matches!(kind.as_slice(), b"9p" | b"virtiofs") {
        return mount_share(call, &kind, at, flags);
    }
    let (root, kind) = make(&kind, &options_at(call)?)?;
    if !at.path.inode.is_directory() {
        return Err(Errno::NOTDIR);
    }
    let source = source_at(call.usize(0))?;
    let flags = flags_for(&root, MountFlags::new(flags));
    let new = NewMount { root, kind, source, flags, file_system: None };
    mounts::mount(at, new)?;
    Ok(0)
}

/// EPERM unless the program may mount file systems of this kind.
pub(super) fn check_kind(kind: &[u8]) -> Result<(), Errno> {
    if IN_NAMESPACES.contains(&kind) { Ok(()) } else { check_capability(capability::SYS_ADMIN) }
}

/// A file system that needs no device: its root, and its kind. ENODEV for others, EINVAL for options that it does not have.
pub(super) fn make(kind: &[u8], options: &[u8]) -> Result<(Arc<dyn Inode>, &'static str), Errno> {
    Ok(match kind {
        b"tmpfs" => {
            let mut options = Options::parse(options)?;
            let (uid, gid) = coracle_core::this::with(|thread| {
                let ids = thread.process.credentials.lock();
                (ids.uid[FILE_SYSTEM], ids.gid[FILE_SYSTEM])
            });
            options.uid = Some(options.uid.map_or(Ok(uid), |id| machine_id(Kind::User, id))?);
            options.gid = Some(options.gid.map_or(Ok(gid), |id| machine_id(Kind::Group, id))?);
            (MemoryFs::with_options(&options)?, "tmpfs")
        }
        b"ramfs" => (MemoryFs::empty(0o1777)?, "tmpfs"),
        b"devtmpfs" => (dev::filesystem()?, "devtmpfs"),
        b"devpts" => (pty::filesystem(options)?, "devpts"),
        b"proc" => {
            let space = coracle_core::this::with(|thread| thread.process.pid_space().cloned());
            // It shows what belongs to that namespace's users.
            check_capability_in(
                space.as_ref().and_then(|space| space.owner.as_ref()),
                capability::SYS_ADMIN,
            )?;
            (proc::filesystem(space)?, "proc")
        }
        b"overlay" => (overlay(options)?, "overlay"),
        b"sysfs" => (sys::filesystem()?, "sysfs"),
        b"cgroup2" => (sys::cgroup::filesystem()?, "cgroup2"),
        b"mqueue" => (tree::filesystem()?, "mqueue"),
        _ => return Err(Errno::NODEV),
    })
}

/// Directories as layers of one tree. EINVAL, ENOENT, ENOTDIR, EROFS, ENOMEM.
fn overlay(options: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
    let options = overlay::Options::parse(options)?;
    options.check()?;
    let process = coracle_core::this::with(|thread| thread.process.clone());
    let directory = |path: &Vec<u8>| {
        let path = walk::find(&process.fs, None, path, Follow::Always)?.path;
        if path.inode.is_directory() { Ok(path) } else { Err(Errno::NOTDIR) }
    };
    let upper = match (&options.upper, &options.work) {
        (Some(upper), Some(work)) => Some((directory(upper)?, directory(work)?)),
        _ => None,
    };
    let lowers = options.lower.iter().map(directory).try_collect_ok()?;
    Ok(Overlay::mount(&options, &lowers, upper)?)
}

/// The flags of a new mount: what can never be changed is read-only.
pub(super) fn flags_for(root: &Arc<dyn Inode>, flags: MountFlags) -> MountFlags {
    let is_fixed = root.as_any().downcast_ref::<overlay::Node>().is_some_and(overlay::Node::is_fixed);
    if is_fixed { flags | MountFlags::READ_ONLY } else { flags }
}

/// ext4 on a block device. ENOTBLK if the source is none, EACCES if it is read-only and the mount is not to be (mount(2)).
fn mount_ext4(call: &Call, at: Place, flags: u32) -> SysResult {
    let source = named(call, AT_FDCWD, call.usize(0), 0)?.place(Errno::NOTBLK)?;
    let device = source.path.inode.metadata();
    if device.mode & S_IFMT != S_IFBLK {
        return Err(Errno::NOTBLK);
    }
    if source.path.mount.flags().contains(MountFlags::NO_DEVICES) {
        return Err(Errno::ACCES);
    }
    let entry = registry::by_number(device.rdev).ok_or(Errno::NXIO)?;
    if !at.path.inode.is_directory() {
        return Err(Errno::NOTDIR);
    }
    let path = source_at(call.usize(0))?;
    ext4::mount::mount(entry, path, at, MountFlags::new(flags))?;
    Ok(0)
}

/// A directory of the host; the source is its mount tag (Linux's Documentation/filesystems/9p.rst and virtiofs.rst). ENOENT if there is none.
fn mount_share(call: &Call, kind: &[u8], at: Place, flags: u32) -> SysResult {
    if !at.path.inode.is_directory() {
        return Err(Errno::NOTDIR);
    }
    remote::mount::mount(kind, source_at(call.usize(0))?, at, MountFlags::new(flags), &options_at(call)?)?;
    Ok(0)
}

/// MS_REMOUNT: the flags of a mount, and without MS_BIND whether its file system is read-only. EINVAL if nothing is mounted
/// right there, EBUSY if it is to be read-only and files are open for writing.
fn remount(call: &Call, at: &Place, flags: u32) -> SysResult {
    if !at.path.is_mount_root() {
        return Err(Errno::INVAL);
    }
    let mount = &at.path.mount;
    let new = MountFlags::new(flags).with_times_of(mount.flags(), flags);
    if flags & MS_BIND != 0 {
        mount.check_locked(new)?;
        mount.set_flags(new)?;
    } else {
        reconfigure(mount, new, &options_at(call)?)?;
    }
    Ok(0)
}

/// Changes a mount and its file system. EPERM, EROFS, EBUSY, EINVAL.
pub(super) fn reconfigure(mount: &Mount, new: MountFlags, options: &[u8]) -> Result<(), Errno> {
    mount.check_locked(new)?;
    check_capability_in(mount.file_system.owner.as_ref(), capability::SYS_ADMIN)?;
    let is_fixed = flags_for(&mount.root, new) != new || ext4::volume::is_read_only(&mount.root);
    if !new.contains(MountFlags::READ_ONLY) && is_fixed {
        return Err(Errno::ROFS);
    }
    if let Some(root) = mount.root.as_any().downcast_ref::<Node>() {
        let options = Options::parse(options)?;
        if options.pages.is_some() || options.inodes.is_some() {
            root.fs().set_limit(&options)?;
        }
    }
    mount.reconfigure(new)?;
    ext4::volume::sync_all();
    Ok(())
}

/// MS_BIND: shows a file or directory elsewhere, too, with the flags of the mount that it is in.
fn bind(call: &Call, at: Place, recursive: bool) -> SysResult {
    let source = named(call, AT_FDCWD, call.usize(0), 0)?.place(Errno::NOTDIR)?.path;
    if source.inode.is_directory() != at.path.inode.is_directory() {
        return Err(Errno::NOTDIR);
    }
    check_own(call, &source)?;
    mount_space::bind(&source, at, source_at(call.usize(0))?, recursive)?;
    Ok(0)
}

/// umount2(2): MNT_DETACH and UMOUNT_NOFOLLOW; nothing here takes force. EINVAL for MNT_EXPIRE.
pub fn umount2(call: &Call) -> SysResult {
    let flags = call.u32(1);
    if flags & !(MNT_FORCE | MNT_DETACH | UMOUNT_NOFOLLOW) != 0 {
        return Err(Errno::INVAL);
    }
    let follow = if flags & UMOUNT_NOFOLLOW != 0 { AT_SYMLINK_NOFOLLOW } else { 0 };
    // What covers the place that a path ends at is meant, as with `.`.
    let path = named(call, AT_FDCWD, call.usize(0), follow)?.place(Errno::INVAL)?.path.cross();
    check_may_mount(call, &path)?;
    let (root, file_system) = (path.mount.root.clone(), path.mount.file_system.clone());
    let detach = flags & MNT_DETACH != 0;
    mounts::unmount(path, detach)?;
    // What is mounted elsewhere, too, goes with the last of its mounts.
    if !mounts::all()?.iter().any(|mount| Arc::ptr_eq(&mount.file_system, &file_system)) {
        ext4::volume::unmount(&root, detach);
        remote::mount::unmount(&root)?;
    }
    Ok(0)
}
