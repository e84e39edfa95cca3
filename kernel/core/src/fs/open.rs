//! open(2).
use super::access;
use super::context::FsContext;
use super::file::{File, OpenFile};
use super::inode::{Inode, NewNode, give_to_caller};
use super::leases;
use super::mount::{MountFlags, Path, Place};
use super::notify;
use super::walk::{self, Bounds, Follow, Node};
use crate::errno::Errno;
use alloc::sync::Arc;
use coracle_fallible::try_arc;
use coracle_hal::sync::atomic::Ordering;
use core::any::Any;
use linux_raw_sys::general::{
    O_ACCMODE, O_CLOEXEC, O_CREAT, O_DIRECTORY, O_EXCL, O_NOATIME, O_NOCTTY, O_NOFOLLOW, O_PATH, O_RDONLY,
    O_TMPFILE, O_TRUNC, S_IFBLK, S_IFCHR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, stat as Stat,
};

/// Flags that matter while opening only, and are not kept with the description.
const OPENING_FLAGS: u32 = O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC;
/// The bit of O_TMPFILE that is not O_DIRECTORY.
const TMPFILE_BIT: u32 = O_TMPFILE & !O_DIRECTORY;

/// A file opened with O_PATH: a place, and nothing to read or write.
pub struct PathFile {
    place: Place,
}

impl File for PathFile {
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(self.place.path.inode.metadata().stat())
    }
    fn place(&self) -> Option<&Place> {
        Some(&self.place)
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Opens `path`, from `start` or the working directory, as open(2) does with `flags` and `mode` (before the umask).
pub fn open(
    context: &FsContext,
    start: Option<&Path>,
    path: &[u8],
    flags: u32,
    mode: u32,
    bounds: Bounds,
) -> Result<Arc<OpenFile>, Errno> {
    let flags =
        if flags & O_PATH != 0 { flags & (O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) } else { flags };
    let creates = flags & O_CREAT != 0;
    let writes = flags & O_ACCMODE != O_RDONLY;
    if flags & TMPFILE_BIT != 0 {
        return open_nameless(context, start, path, flags, mode, bounds);
    }
    if creates && flags & O_DIRECTORY != 0 {
        return Err(Errno::INVAL);
    }
    let follow = if flags & O_NOFOLLOW != 0 {
        Follow::IfSlash
    } else if creates && flags & O_EXCL != 0 {
        Follow::Never
    } else {
        Follow::Always
    };
    let mut found = walk::resolve(context, start, path, follow, bounds)?;
    let (path, created) = match found.node.take() {
        Some(Node::File(file)) => return reopen(&file, flags),
        Some(Node::Path(path)) => {
            if creates && flags & O_EXCL != 0 {
                return Err(Errno::EXIST);
            }
            (path, false)
        }
        None if !creates => return Err(Errno::NOENT),
        None if found.slash => return Err(Errno::ISDIR),
        None => {
            access::check_add(&found.directory)?;
            let mode = mode & !context.umask();
            match found.directory.inode.create(&found.name, NewNode::File, mode) {
                Ok(inode) => {
                    give_to_caller(&inode)?;
                    notify::created(&found.directory, &found.name, &inode);
                    (Path { mount: found.directory.mount.clone(), inode }, true)
                }
                // Somebody else was faster.
                Err(Errno::EXIST) if flags & O_EXCL == 0 => {
                    let inode = found.directory.inode.lookup(&found.name)?.ok_or(Errno::NOENT)?;
                    (Path { mount: found.directory.mount.clone(), inode }, false)
                }
                Err(error) => return Err(error),
            }
        }
    };
    let kind = path.inode.mode() & S_IFMT;
    if kind == S_IFLNK && flags & (O_PATH | O_DIRECTORY) == 0 {
        return Err(Errno::LOOP);
    }
    if kind == S_IFDIR && (writes || creates || flags & O_TRUNC != 0) {
        return Err(Errno::ISDIR);
    }
    if flags & O_DIRECTORY != 0 && kind != S_IFDIR {
        return Err(Errno::NOTDIR);
    }
    let truncates = flags & O_TRUNC != 0 && kind == S_IFREG && !created;
    if (writes || truncates) && matches!(kind, S_IFREG | S_IFDIR) {
        path.check_writable()?;
    }
    if !created {
        check_flags(&*path.inode, flags)?;
        prepare(&*path.inode, flags, truncates)?;
    }
    let open = open_place(found.into_place(path)?, flags, truncates)?;
    open.created.store(created, Ordering::Relaxed);
    Ok(open)
}

/// EACCES or EPERM unless the program may open the file that way.
fn check_flags(inode: &dyn Inode, flags: u32) -> Result<(), Errno> {
    if flags & O_PATH != 0 {
        return Ok(());
    }
    access::check(inode, access::wanted_by(flags))?;
    if flags & O_NOATIME != 0 { access::check_owner(inode) } else { Ok(()) }
}

fn prepare(inode: &dyn Inode, flags: u32, truncates: bool) -> Result<(), Errno> {
    if flags & O_ACCMODE == O_RDONLY || flags & O_PATH != 0 {
        Ok(())
    } else {
        inode.prepare_writing(truncates)
    }
}

/// Opens a file that was found.
pub fn open_place(place: Place, flags: u32, truncates: bool) -> Result<Arc<OpenFile>, Errno> {
    let truncated = truncates.then(|| place.path.inode.clone());
    let is_device = matches!(place.path.inode.kind().0, S_IFCHR | S_IFBLK);
    let file: Arc<dyn File> = if flags & O_PATH != 0 {
        try_arc(PathFile { place })?
    } else if is_device && place.path.mount.flags().contains(MountFlags::NO_DEVICES) {
        return Err(Errno::ACCES);
    } else {
        place.path.inode.clone().open(place, flags)?
    };
    let open = OpenFile::new(file, flags & !OPENING_FLAGS)?;
    leases::opened(&open)?;
    if flags & O_PATH == 0 {
        notify::opened(&open);
    }
    if let Some(inode) = truncated {
        inode.truncate(0)?;
        notify::modified(&open);
    }
    Ok(open)
}

/// Opens a file that was found already and may be read, so that those that watch it do not hear of what is done with it. EROFS,
/// EISDIR, ETXTBSY and the errors of the file.
pub fn open_unnoticed(path: &Path, flags: u32) -> Result<Arc<OpenFile>, Errno> {
    if flags & O_ACCMODE != O_RDONLY {
        path.check_writable()?;
        if path.inode.is_directory() {
            return Err(Errno::ISDIR);
        }
    }
    prepare(&*path.inode, flags, false)?;
    open_place(Place { path: path.clone(), name: None }, flags | notify::UNNOTICED, false)
}

/// Opens what /proc/self/fd/N leads to.
fn reopen(file: &Arc<dyn File>, flags: u32) -> Result<Arc<OpenFile>, Errno> {
    if flags & (O_CREAT | O_EXCL) == O_CREAT | O_EXCL {
        return Err(Errno::EXIST);
    }
    if flags & O_DIRECTORY != 0 {
        return Err(Errno::NOTDIR);
    }
    if let Some(place) = file.place() {
        let truncates = flags & O_TRUNC != 0 && place.path.inode.mode() & S_IFMT == S_IFREG;
        check_flags(&*place.path.inode, flags)?;
        prepare(&*place.path.inode, flags, truncates)?;
        return open_place(place.clone(), flags, truncates);
    }
    let again = match file.reopen(flags) {
        Some(again) => again?,
        None => file.clone(),
    };
    let open = OpenFile::new(again, flags & !OPENING_FLAGS)?;
    leases::opened(&open)?;
    if flags & O_TRUNC != 0 && open.seekable {
        open.file.truncate(0)?;
    }
    Ok(open)
}

/// O_TMPFILE.
fn open_nameless(
    context: &FsContext,
    start: Option<&Path>,
    path: &[u8],
    flags: u32,
    mode: u32,
    bounds: Bounds,
) -> Result<Arc<OpenFile>, Errno> {
    if flags & O_DIRECTORY == 0 || flags & O_CREAT != 0 || flags & O_ACCMODE == O_RDONLY {
        return Err(Errno::INVAL);
    }
    let found = walk::resolve(context, start, path, Follow::Always, bounds)?;
    let Some(Node::Path(directory)) = found.node else { return Err(Errno::NOENT) };
    if !directory.inode.is_directory() {
        return Err(Errno::NOTDIR);
    }
    access::check_add(&directory)?;
    let inode: Arc<dyn Inode> = directory.inode.create_nameless(mode & !context.umask())?;
    give_to_caller(&inode)?;
    let place = Place { path: Path { mount: directory.mount, inode }, name: None };
    let open = open_place(place, flags & !O_TMPFILE, false)?;
    // F_GETFL has the flags as they were given.
    open.flags.fetch_or(O_TMPFILE, Ordering::Relaxed);
    Ok(open)
}

/// The permission bits for executing a file.
const EXECUTE: u32 = 0o111;

/// Opens a program, interpreter or script to be executed: EACCES unless it is a regular file with an execute bit.
pub fn open_executable(context: &FsContext, path: &[u8]) -> Result<Arc<OpenFile>, Errno> {
    open_executable_at(context, None, path, Follow::Always)
}

/// The same from a directory (execveat(2)).
pub fn open_executable_at(
    context: &FsContext,
    start: Option<&Path>,
    path: &[u8],
    follow: Follow,
) -> Result<Arc<OpenFile>, Errno> {
    let mut found = walk::resolve(context, start, path, follow, Bounds::default())?;
    let place = match found.node.take() {
        Some(Node::Path(path)) => found.into_place(path)?,
        Some(Node::File(file)) => file.place().ok_or(Errno::ACCES)?.clone(),
        None => return Err(Errno::NOENT),
    };
    open_executable_place(place)
}

/// The same of a place, as that of a descriptor (execveat(2), AT_EMPTY_PATH): ELOOP for a symbolic link.
pub fn open_executable_place(place: Place) -> Result<Arc<OpenFile>, Errno> {
    let inode = place.path.inode.clone();
    if inode.is_link() {
        return Err(Errno::LOOP);
    }
    // Reading is not asked for: a program that may be executed need not be readable.
    access::check(&*inode, access::EXECUTE)?;
    if place.path.mount.flags().contains(MountFlags::NO_EXEC) {
        return Err(Errno::ACCES);
    }
    let mode = inode.mode();
    if mode & S_IFMT != S_IFREG || mode & EXECUTE == 0 {
        return Err(Errno::ACCES);
    }
    let file = inode.open(place, O_RDONLY)?;
    let open = OpenFile::new(file, O_RDONLY)?;
    leases::opened(&open)?;
    notify::opened_to_execute(&open);
    Ok(open)
}
