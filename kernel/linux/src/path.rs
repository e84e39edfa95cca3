//! Calls that change the tree of files by path: opening, making, removing, renaming, linking.
use super::call::Call;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::access::{self, capability};
use coracle_core::fs::context::FsContext;
use coracle_core::fs::file::OpenFile;
use coracle_core::fs::inode::{Link, NewNode, give_to_caller};
use coracle_core::fs::mount::{Path, Place};
use coracle_core::fs::notify;
use coracle_core::fs::open::open;
use coracle_core::fs::walk::{self, Bounds, Follow, Limits, Node, Resolved};
use coracle_core::mm::user::{self, SHORT_PATH};
use coracle_fallible::Text;
use coracle_vfs_core::dirent;
use linux_raw_sys::general::*;

/// The directory that a path starts from: `None` for the working directory. EBADF, ENOTDIR; ENOENT for an empty path.
pub fn start_of(call: &Call, directory: i32, path: &[u8]) -> Result<Option<Path>, Errno> {
    if path.is_empty() {
        return Err(Errno::NOENT);
    }
    if path.first() == Some(&b'/') || directory == AT_FDCWD {
        return Ok(None);
    }
    let open = call.thread().process.descriptors.get(directory)?;
    let place = open.file.place().ok_or(Errno::NOTDIR)?;
    if place.path.inode.is_directory() { Ok(Some(place.path.clone())) } else { Err(Errno::NOTDIR) }
}

/// What a path argument names.
pub enum Named {
    /// A file in the tree.
    Place(Place),
    /// An open file itself (AT_EMPTY_PATH), which may have no place.
    Open(Arc<OpenFile>),
    /// An open file by way of /proc/self/fd that has no place.
    File(Arc<dyn coracle_core::fs::file::File>),
}

/// Whether the string at `addr` is empty, or missing.
fn is_empty(addr: usize) -> Result<bool, Errno> {
    let mut first = [0];
    if addr != 0 {
        user::read(&mut first, addr)?;
    }
    Ok(first[0] == 0)
}

/// The file that `directory` and the path at `addr` name, with AT_SYMLINK_NOFOLLOW and AT_EMPTY_PATH of `flags`.
pub fn named(call: &Call, directory: i32, addr: usize, flags: u32) -> Result<Named, Errno> {
    if flags & AT_EMPTY_PATH != 0 && is_empty(addr)? {
        if directory == AT_FDCWD {
            return Ok(Named::Place(Place { path: call.thread().process.fs.directory(), name: None }));
        }
        return call.thread().process.descriptors.get(directory).map(Named::Open);
    }
    let (mut short, mut long) = ([0; SHORT_PATH], Vec::new());
    let path = user::read_path_into(addr, &mut short, &mut long)?;
    let follow = if flags & AT_SYMLINK_NOFOLLOW != 0 { Follow::IfSlash } else { Follow::Always };
    let start = start_of(call, directory, path)?;
    let found = walk::resolve(&call.thread().process.fs, start.as_ref(), path, follow, Bounds::default())?;
    match found.node {
        // Where it was found matters to those that watch the directory.
        Some(Node::Path(ref path)) if notify::is_on() => {
            let path = path.clone();
            found.into_place(path).map(Named::Place)
        }
        // What is done with it needs the file alone.
        Some(Node::Path(path)) => Ok(Named::Place(Place { path, name: None })),
        Some(Node::File(file)) => Ok(Named::File(file)),
        None => Err(Errno::NOENT),
    }
}

impl Named {
    /// Its place in the tree; `missing` if it has none.
    pub fn place(self, missing: Errno) -> Result<Place, Errno> {
        match self {
            Named::Place(place) => Ok(place),
            Named::Open(open) => open.file.place().cloned().ok_or(missing),
            Named::File(file) => file.place().cloned().ok_or(missing),
        }
    }
}

/// Walks to where an entry is to be made, removed or renamed: the last component isn't followed.
fn entry<'p>(call: &Call, directory: i32, path: &'p [u8]) -> Result<Resolved<'p>, Errno> {
    let start = start_of(call, directory, path)?;
    entry_from(&call.thread().process.fs, start.as_ref(), path)
}

/// `entry` from a directory, or the working directory of `context`.
pub fn entry_from<'p>(
    context: &FsContext,
    start: Option<&Path>,
    path: &'p [u8],
) -> Result<Resolved<'p>, Errno> {
    walk::resolve(context, start, path, Follow::Never, Bounds::default())
}

fn do_open(call: &Call, directory: i32, addr: usize, flags: u32, mode: u32, bounds: Bounds) -> SysResult {
    let (mut short, mut long) = ([0; SHORT_PATH], Vec::new());
    let path = user::read_path_into(addr, &mut short, &mut long)?;
    let process = &call.thread().process;
    if flags & (O_CREAT | O_TRUNC) != 0 {
        // A file is not to be made or emptied for a program that can't have it.
        process.descriptors.check_room()?;
    }
    let start = start_of(call, directory, path)?;
    let file = open(&process.fs, start.as_ref(), path, flags, mode & 0o7777, bounds)?;
    Ok(process.descriptors.insert(file, flags & O_CLOEXEC != 0, 0)? as usize)
}
/// open(2).
pub fn open_call(call: &Call) -> SysResult {
    do_open(call, AT_FDCWD, call.usize(0), call.u32(1), call.u32(2), Bounds::default())
}
/// openat(2).
pub fn openat(call: &Call) -> SysResult {
    do_open(call, call.i32(0), call.usize(1), call.u32(2), call.u32(3), Bounds::default())
}
/// creat(2).
pub fn creat(call: &Call) -> SysResult {
    do_open(call, AT_FDCWD, call.usize(0), O_CREAT | O_WRONLY | O_TRUNC, call.u32(1), Bounds::default())
}
/// openat2(2).
pub fn openat2(call: &Call) -> SysResult {
    /// `struct open_how`: flags, mode, resolve.
    const HOW_SIZE: usize = 24;
    const KNOWN: u64 = (RESOLVE_NO_XDEV
        | RESOLVE_NO_MAGICLINKS
        | RESOLVE_NO_SYMLINKS
        | RESOLVE_BENEATH
        | RESOLVE_IN_ROOT
        | RESOLVE_CACHED) as u64;
    let size = call.usize(3);
    if size < HOW_SIZE {
        return Err(Errno::INVAL);
    }
    let [flags, mode, resolve] = user::read_words::<3>(call.usize(2))?;
    for at in (HOW_SIZE..size.min(PATH_MAX as usize)).step_by(8) {
        if user::read_u64(call.usize(2) + at)? != 0 {
            return Err(Errno::TOOBIG);
        }
    }
    let has = |bit: u32| resolve & u64::from(bit) != 0;
    let makes = flags as u32 & (O_CREAT | O_TMPFILE & !O_DIRECTORY) != 0;
    let with_path = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    if resolve & !KNOWN != 0
        || flags >> 32 != 0
        || mode & !0o7777 != 0
        || (mode != 0 && !makes)
        || (flags as u32 & O_PATH != 0 && flags as u32 & !with_path != 0)
        || (has(RESOLVE_BENEATH) && has(RESOLVE_IN_ROOT))
    {
        return Err(Errno::INVAL);
    }
    // What has to write isn't done by cached names alone.
    if has(RESOLVE_CACHED) && (makes || flags as u32 & O_TRUNC != 0) {
        return Err(Errno::AGAIN);
    }
    let bounds = Bounds {
        limits: Limits {
            beneath: has(RESOLVE_BENEATH),
            no_links: has(RESOLVE_NO_SYMLINKS),
            no_jumps: has(RESOLVE_NO_MAGICLINKS),
        },
        stay_on_mount: has(RESOLVE_NO_XDEV),
        in_root: has(RESOLVE_IN_ROOT),
    };
    let process = call.thread().process.clone();
    let path = user::read_path(call.usize(1))?;
    // With RESOLVE_IN_ROOT an absolute path starts at the directory too.
    let start =
        if bounds.in_root { start_of(call, call.i32(0), b".")? } else { start_of(call, call.i32(0), &path)? };
    let file = open(&process.fs, start.as_ref(), &path, flags as u32, mode as u32, bounds)?;
    Ok(process.descriptors.insert(file, flags as u32 & O_CLOEXEC != 0, 0)? as usize)
}

/// Makes an entry that must not be there yet.
fn make(call: &Call, directory: i32, addr: usize, node: NewNode, mode: u32) -> SysResult {
    let path = user::read_path(addr)?;
    // The last component isn't followed, as it would be before a slash: what is to be made mustn't be there.
    let end = path.iter().rposition(|&byte| byte != b'/').map_or(path.len(), |last| last + 1);
    let mut found = entry(call, directory, &path[..end])?;
    found.slash |= end < path.len();
    make_entry(&found, node, mode & !call.thread().process.fs.umask())
}
/// Makes an entry where `found` says, which must not be there yet. EEXIST, ENOENT, and errors of the file system.
pub fn make_entry(found: &Resolved, node: NewNode, mode: u32) -> SysResult {
    if found.node.is_some() || found.name.is_empty() {
        return Err(Errno::EXIST);
    }
    if found.slash && !matches!(node, NewNode::Directory) {
        return Err(Errno::NOENT);
    }
    access::check_add(&found.directory)?;
    // Everybody may make whiteouts, which hide names of a layer below (Linux's `WHITEOUT_DEV`).
    if matches!(node, NewNode::Special(S_IFCHR, 1..) | NewNode::Special(S_IFBLK, _)) {
        access::check_capability(capability::MKNOD)?;
    }
    let made = found.directory.inode.create(&found.name, node, mode)?;
    give_to_caller(&made)?;
    notify::created(&found.directory, &found.name, &made);
    Ok(0)
}
/// mkdir(2).
pub fn mkdir(call: &Call) -> SysResult {
    make(call, AT_FDCWD, call.usize(0), NewNode::Directory, call.u32(1))
}
/// mkdirat(2).
pub fn mkdirat(call: &Call) -> SysResult {
    make(call, call.i32(0), call.usize(1), NewNode::Directory, call.u32(2))
}
fn do_mknod(call: &Call, directory: i32, addr: usize, mode: u32, device: u64) -> SysResult {
    let node = match mode & S_IFMT {
        0 | S_IFREG => NewNode::File,
        kind @ (S_IFIFO | S_IFSOCK) => NewNode::Special(kind, 0),
        kind @ (S_IFCHR | S_IFBLK) => NewNode::Special(kind, device),
        S_IFDIR => return Err(Errno::PERM),
        _ => return Err(Errno::INVAL),
    };
    make(call, directory, addr, node, mode)
}
/// mknod(2).
pub fn mknod(call: &Call) -> SysResult {
    do_mknod(call, AT_FDCWD, call.usize(0), call.u32(1), call.raw(2))
}
/// mknodat(2).
pub fn mknodat(call: &Call) -> SysResult {
    do_mknod(call, call.i32(0), call.usize(1), call.u32(2), call.raw(3))
}
fn do_symlink(call: &Call, target: usize, directory: i32, addr: usize) -> SysResult {
    let target = user::read_path(target)?;
    if target.is_empty() {
        return Err(Errno::NOENT);
    }
    let path = user::read_path(addr)?;
    make_entry(&entry(call, directory, &path)?, NewNode::Link(&target), 0o777)
}
/// symlink(2).
pub fn symlink(call: &Call) -> SysResult {
    do_symlink(call, call.usize(0), AT_FDCWD, call.usize(1))
}
/// symlinkat(2).
pub fn symlinkat(call: &Call) -> SysResult {
    do_symlink(call, call.usize(0), call.i32(1), call.usize(2))
}

fn remove(call: &Call, directory: i32, addr: usize, is_directory: bool) -> SysResult {
    let path = user::read_path(addr)?;
    remove_entry(entry(call, directory, &path)?, &path, is_directory)
}
/// Removes the entry that `found` says, to which `path` led: a directory, or what is none. Errors of unlink(2) and rmdir(2).
pub fn remove_entry(mut found: Resolved, path: &[u8], is_directory: bool) -> SysResult {
    if found.name.is_empty() {
        // rmdir(2): EINVAL for a final `.`, ENOTEMPTY for `..`, EBUSY for the root.
        let trimmed = path.strip_suffix(b"/").unwrap_or(path);
        return Err(if !is_directory {
            Errno::ISDIR
        } else if trimmed.ends_with(b"..") {
            Errno::NOTEMPTY
        } else if trimmed.ends_with(b".") {
            Errno::INVAL
        } else {
            Errno::BUSY
        });
    }
    match &found.node {
        Some(Node::Path(entry)) => access::check_remove(&found.directory, &*entry.inode)?,
        Some(Node::File(_)) => access::check_add(&found.directory)?,
        None => return Err(Errno::NOENT),
    }
    if is_covered(&found) {
        return Err(Errno::BUSY);
    }
    found.directory.inode.remove(&found.name, is_directory)?;
    notify::removed(&found.directory, &found.name, found.node.take());
    Ok(0)
}
/// Whether something is mounted on what was found, which neither goes nor moves then.
fn is_covered(found: &Resolved) -> bool {
    matches!(&found.node, Some(Node::Path(path)) if !Arc::ptr_eq(&path.mount, &found.directory.mount))
}
/// unlink(2).
pub fn unlink(call: &Call) -> SysResult {
    remove(call, AT_FDCWD, call.usize(0), false)
}
/// rmdir(2).
pub fn rmdir(call: &Call) -> SysResult {
    remove(call, AT_FDCWD, call.usize(0), true)
}
/// unlinkat(2).
pub fn unlinkat(call: &Call) -> SysResult {
    let flags = call.u32(2);
    if flags & !AT_REMOVEDIR != 0 {
        return Err(Errno::INVAL);
    }
    remove(call, call.i32(0), call.usize(1), flags & AT_REMOVEDIR != 0)
}

fn do_rename(call: &Call, from: (i32, usize), to: (i32, usize), flags: u32) -> SysResult {
    let known = RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT;
    if flags & !known != 0 || flags & RENAME_EXCHANGE != 0 && flags != RENAME_EXCHANGE {
        return Err(Errno::INVAL);
    }
    let (from_path, to_path) = (user::read_path(from.1)?, user::read_path(to.1)?);
    let source = entry(call, from.0, &from_path)?;
    let target = entry(call, to.0, &to_path)?;
    if !Arc::ptr_eq(&source.directory.mount, &target.directory.mount) {
        return Err(Errno::XDEV);
    }
    if source.name.is_empty() || target.name.is_empty() {
        return Err(Errno::BUSY);
    }
    let Some(Node::Path(moved)) = &source.node else { return Err(Errno::NOENT) };
    if target.slash && !moved.inode.is_directory() {
        return Err(Errno::NOTDIR);
    }
    if is_covered(&source) || is_covered(&target) {
        return Err(Errno::BUSY);
    }
    access::check_remove(&source.directory, &*moved.inode)?;
    match &target.node {
        Some(Node::Path(replaced)) => access::check_remove(&target.directory, &*replaced.inode)?,
        _ => access::check_add(&target.directory)?,
    }
    // A directory that moves elsewhere is changed itself: its `..`.
    if moved.inode.is_directory() && !source.directory.same(&target.directory) {
        access::check(&*moved.inode, access::WRITE)?;
    }
    source.directory.inode.rename(&source.name, &target.directory.inode, &target.name, flags)?;
    if notify::is_on() {
        report_rename(&source, &target, flags);
    }
    Ok(0)
}

/// Reports a rename to those that watch (inotify(7)).
#[cold]
#[inline(never)]
fn report_rename(source: &Resolved, target: &Resolved, flags: u32) {
    let Some(Node::Path(moved)) = &source.node else { return };
    let other = match &target.node {
        Some(Node::Path(other)) => Some(&other.inode),
        _ => None,
    };
    // Of two names of one file neither goes (rename(2)).
    if other.is_some_and(|other| other.identity() == moved.inode.identity()) {
        return;
    }
    let from = (&source.directory, &*source.name);
    let to = (&target.directory, &*target.name);
    match other {
        Some(other) if flags & RENAME_EXCHANGE != 0 => {
            notify::renamed(from, to, &moved.inode, None);
            notify::renamed(to, from, other, None);
        }
        _ => notify::renamed(from, to, &moved.inode, other),
    }
}
/// Renames, and reports the end of what was replaced.
fn moved(call: &Call, from: (i32, usize), to: (i32, usize), flags: u32) -> SysResult {
    let result = do_rename(call, from, to, flags);
    notify::settle();
    result
}
/// rename(2).
pub fn rename(call: &Call) -> SysResult {
    moved(call, (AT_FDCWD, call.usize(0)), (AT_FDCWD, call.usize(1)), 0)
}
/// renameat(2).
pub fn renameat(call: &Call) -> SysResult {
    moved(call, (call.i32(0), call.usize(1)), (call.i32(2), call.usize(3)), 0)
}
/// renameat2(2).
pub fn renameat2(call: &Call) -> SysResult {
    moved(call, (call.i32(0), call.usize(1)), (call.i32(2), call.usize(3)), call.u32(4))
}

fn do_link(call: &Call, from: (i32, usize), to: (i32, usize), flags: u32) -> SysResult {
    if flags & !(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::INVAL);
    }
    let nofollow = if flags & AT_SYMLINK_FOLLOW == 0 { AT_SYMLINK_NOFOLLOW } else { 0 };
    let source = named(call, from.0, from.1, nofollow | flags & AT_EMPTY_PATH)?.place(Errno::XDEV)?.path;
    let to_path = user::read_path(to.1)?;
    let target = entry(call, to.0, &to_path)?;
    if target.node.is_some() || target.name.is_empty() {
        return Err(Errno::EXIST);
    }
    if target.slash {
        return Err(Errno::NOENT);
    }
    if !Arc::ptr_eq(&source.mount, &target.directory.mount) {
        return Err(Errno::XDEV);
    }
    access::check_add(&target.directory)?;
    access::check_link(&*source.inode)?;
    target.directory.inode.add_link(&target.name, &source.inode)?;
    notify::linked(&source.inode, &target.directory, &target.name);
    Ok(0)
}
/// link(2).
pub fn link(call: &Call) -> SysResult {
    do_link(call, (AT_FDCWD, call.usize(0)), (AT_FDCWD, call.usize(1)), 0)
}
/// linkat(2).
pub fn linkat(call: &Call) -> SysResult {
    do_link(call, (call.i32(0), call.usize(1)), (call.i32(2), call.usize(3)), call.u32(4))
}

/// ENAMETOOLONG if a path that the kernel has put together is longer than one may be, with `end` further bytes for its zero.
fn check_length(path: &Text, end: usize) -> Result<(), Errno> {
    if path.len() + end > PATH_MAX as usize { Err(Errno::NAMETOOLONG) } else { Ok(()) }
}

fn do_readlink(call: &Call, directory: i32, addr: usize, dst: usize, size: i32) -> SysResult {
    if size <= 0 {
        return Err(Errno::INVAL);
    }
    let no_link = if is_empty(addr)? { Errno::NOENT } else { Errno::INVAL };
    let place = named(call, directory, addr, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)?.place(no_link)?;
    if !place.path.inode.is_link() {
        return Err(no_link);
    }
    let mut text = Text::new();
    let link = place.path.inode.link()?;
    match &link {
        Link::Path(target) => text.push(target)?,
        Link::Place(path) => path.write_or_deleted(&mut text)?,
        Link::File(file) => file.path(&mut text)?,
    }
    if !matches!(link, Link::Path(_)) {
        check_length(&text, 1)?;
    }
    let len = text.len().min(size as usize);
    user::write(dst, &text.as_bytes()[..len])?;
    Ok(len)
}
/// readlink(2).
pub fn readlink(call: &Call) -> SysResult {
    do_readlink(call, AT_FDCWD, call.usize(0), call.usize(1), call.i32(2))
}
/// readlinkat(2).
pub fn readlinkat(call: &Call) -> SysResult {
    do_readlink(call, call.i32(0), call.usize(1), call.usize(2), call.i32(3))
}

/// chdir(2).
pub fn chdir(call: &Call) -> SysResult {
    let path = named(call, AT_FDCWD, call.usize(0), 0)?.place(Errno::NOTDIR)?.path;
    enter(call, path)
}
/// fchdir(2).
pub fn fchdir(call: &Call) -> SysResult {
    let open = call.thread().process.descriptors.get(call.i32(0))?;
    let path = open.file.place().ok_or(Errno::NOTDIR)?.path.clone();
    enter(call, path)
}
fn enter(call: &Call, path: Path) -> SysResult {
    if !path.inode.is_directory() {
        return Err(Errno::NOTDIR);
    }
    access::check(&*path.inode, access::EXECUTE)?;
    call.thread().process.fs.set_directory(path);
    Ok(0)
}
/// chroot(2).
pub fn chroot(call: &Call) -> SysResult {
    let path = named(call, AT_FDCWD, call.usize(0), 0)?.place(Errno::NOTDIR)?.path;
    if !path.inode.is_directory() {
        return Err(Errno::NOTDIR);
    }
    access::check(&*path.inode, access::EXECUTE)?;
    let space = call.thread().process.credentials.lock().space.clone();
    access::check_capability_in(space.as_ref(), capability::SYS_CHROOT)?;
    call.thread().process.fs.set_root(path);
    Ok(0)
}
/// getcwd(2).
pub fn getcwd(call: &Call) -> SysResult {
    let context = &call.thread().process.fs;
    let mut path = Text::new();
    let directory = context.directory();
    if !directory.write(&context.root(), &mut path)? {
        // It was removed, or can't be reached from the root: it is in another mount namespace, unmounted, or outside of chroot(2).
        path.push(b"(unreachable)")?;
        if !directory.write(&directory.top(), &mut path)? {
            return Err(Errno::NOENT);
        }
    }
    path.push(&[0])?;
    check_length(&path, 0)?;
    if path.len() > call.usize(1) {
        return Err(Errno::RANGE);
    }
    user::write(call.usize(0), path.as_bytes())?;
    Ok(path.len())
}
/// umask(2).
pub fn umask(call: &Call) -> SysResult {
    Ok(call.thread().process.fs.set_umask(call.u32(0)) as usize)
}

/// getdents64(2).
pub fn getdents64(call: &Call) -> SysResult {
    list::<false>(call)
}

/// getdents(2).
pub fn getdents(call: &Call) -> SysResult {
    list::<true>(call)
}

fn list<const IS_OLD: bool>(call: &Call) -> SysResult {
    let write = if IS_OLD { dirent::write_old } else { dirent::write };
    /// Listings are put together in the kernel, up to this many bytes a call.
    const MOST: usize = 32 * 1024;
    let open = super::file::open_file(call, 0)?;
    if let Some(place) = open.file.place()
        && place.path.inode.is_directory()
        && place.path.inode.metadata().links == 0
    {
        // It was removed.
        return Err(Errno::NOENT);
    }
    let mut bytes = coracle_fallible::filled(0, call.usize(2).min(MOST))?;
    let mut filled = 0;
    let mut full = false;
    let from = *open.position.lock();
    let mut position = from;
    open.file.list(from, &mut |inode, next, kind, name| match write(
        &mut bytes[filled..],
        inode,
        next as i64,
        kind,
        name,
    ) {
        Some(size) => {
            filled += size;
            position = next;
            true
        }
        None => {
            full = true;
            false
        }
    })?;
    if filled == 0 && full {
        return Err(Errno::INVAL);
    }
    user::write(call.usize(1), &bytes[..filled])?;
    *open.position.lock() = position;
    notify::accessed(&open);
    Ok(filled)
}
