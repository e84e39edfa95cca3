//! Whether the running program may do what it asks of a file. The rules are in `coracle_vfs_core::access`.
use super::inode::{Changes, FILE_CAPABILITIES, Inode};
use super::mount::Path;
use super::path_cache;
use crate::errno::Errno;
use crate::task::credentials::Credentials;
use crate::task::user_space::{Kind, UserSpace};
use alloc::sync::Arc;
use coracle_hal::sync::atomic::{AtomicBool, Ordering};
use coracle_vfs_core::access::everybody_may;
pub use coracle_vfs_core::access::{Caller, EXECUTE, Owned, READ, WRITE, capability};
use linux_raw_sys::general::{O_ACCMODE, O_RDONLY, O_TRUNC, O_WRONLY};

/// Places of the ids in [`Credentials`].
const REAL: usize = 0;
const FILE_SYSTEM: usize = 3;

/// Set when the first program starts: what is opened before, the kernel itself opens, and no thread runs yet.
static ENFORCED: AtomicBool = AtomicBool::new(false);

/// From now on permissions hold.
pub fn enforce() {
    ENFORCED.store(true, Ordering::Relaxed);
}

fn owned(inode: &dyn Inode) -> Owned {
    let metadata = inode.metadata();
    Owned { mode: metadata.mode, uid: metadata.uid, gid: metadata.gid }
}

/// `file`: what it asks about. In a user namespace capabilities count only for files whose owner and group it has.
fn caller_of<'a>(credentials: &'a Credentials, file: &Owned) -> Caller<'a> {
    let counts = credentials.space.as_ref().is_none_or(|space| space.has_owners(file.uid, file.gid));
    Caller {
        uid: credentials.uid[FILE_SYSTEM],
        gid: credentials.gid[FILE_SYSTEM],
        groups: &credentials.groups,
        capabilities: if counts { credentials.capabilities.effective } else { 0 },
    }
}

/// S_ISUID and S_ISGID of a mode.
const SET_IDS: u32 = 0o6000;
/// Rights to execute: files without one are not looked at for capabilities when they are written.
const EXECUTABLE: u32 = 0o111;

/// Asks the rules about the running program and a file.
fn ask<R>(file: &Owned, rule: impl FnOnce(&Caller) -> R) -> R {
    crate::this::with(|thread| rule(&caller_of(&thread.process.credentials.lock(), file)))
}

fn granted(allowed: bool, error: Errno) -> Result<(), Errno> {
    if allowed { Ok(()) } else { Err(error) }
}

/// EACCES unless the program may do what is wanted ([`READ`], [`WRITE`], [`EXECUTE`]) with the file.
#[inline]
pub fn check(inode: &dyn Inode, wanted: u32) -> Result<(), Errno> {
    if everybody_may(inode.mode(), wanted) { Ok(()) } else { check_caller(inode, wanted) }
}

#[cold]
#[inline(never)]
fn check_caller(inode: &dyn Inode, wanted: u32) -> Result<(), Errno> {
    if !ENFORCED.load(Ordering::Relaxed) {
        return Ok(());
    }
    let file = owned(inode);
    granted(ask(&file, |caller| caller.may(&file, wanted)), Errno::ACCES)
}

/// Whether anybody may search the directory: then paths through it lead everybody to the same place.
pub fn everybody_searches(directory: &dyn Inode) -> bool {
    everybody_may(directory.mode(), EXECUTE)
}

/// What open(2) with `flags` wants of a file.
pub fn wanted_by(flags: u32) -> u32 {
    let truncates = if flags & O_TRUNC != 0 { WRITE } else { 0 };
    truncates
        | match flags & O_ACCMODE {
            O_RDONLY => READ,
            O_WRONLY => WRITE,
            _ => READ | WRITE,
        }
}

/// EROFS or EACCES unless entries may be added to the directory.
pub fn check_add(directory: &Path) -> Result<(), Errno> {
    directory.check_writable()?;
    check(&*directory.inode, WRITE | EXECUTE)
}

/// The same for removing or renaming `entry`; EPERM for another's in a sticky directory.
pub fn check_remove(directory: &Path, entry: &dyn Inode) -> Result<(), Errno> {
    check_add(directory)?;
    check_sticky(&*directory.inode, entry)
}

/// EPERM for another's entry in a sticky directory.
pub fn check_sticky(directory: &dyn Inode, entry: &dyn Inode) -> Result<(), Errno> {
    let (directory, entry) = (owned(directory), owned(entry));
    granted(ask(&entry, |caller| caller.may_remove(&directory, &entry)), Errno::PERM)
}

/// EPERM unless the program may do what the file's owner may.
pub fn check_owner(inode: &dyn Inode) -> Result<(), Errno> {
    let file = owned(inode);
    granted(ask(&file, |caller| caller.owns(&file)), Errno::PERM)
}

/// Whether the program's own user (its file system id) is this one.
pub fn is_callers(uid: u32) -> bool {
    crate::this::with(|thread| thread.process.credentials.lock().uid[FILE_SYSTEM] == uid)
}

/// EPERM unless link(2) may give the file a further name.
pub fn check_link(inode: &dyn Inode) -> Result<(), Errno> {
    let file = owned(inode);
    granted(ask(&file, |caller| caller.may_link(&file)), Errno::PERM)
}

/// EPERM unless the program has the capability for what belongs to the machine.
pub fn check_capability(number: u32) -> Result<(), Errno> {
    check_capability_in(None, number)
}

/// EPERM unless the program has the capability for what belongs to a user namespace; `None` is the first.
pub fn check_capability_in(owner: Option<&Arc<UserSpace>>, number: u32) -> Result<(), Errno> {
    let can = crate::this::with(|thread| thread.process.credentials.lock().can_in(owner, number));
    granted(can, Errno::PERM)
}

/// Changes permissions, owner or times of a file, if the program may (chmod(2), chown(2), utimensat(2)); EPERM, EACCES.
pub fn change(inode: &dyn Inode, mut changes: Changes) -> Result<(), Errno> {
    let file = owned(inode);
    let sets_times = changes.accessed.is_some() || changes.modified.is_some();
    ask(&file, |caller| {
        if let Some(mode) = &mut changes.mode {
            granted(caller.owns(&file), Errno::PERM)?;
            *mode = caller.new_mode(&file, *mode);
        }
        granted(caller.may_give(&file, changes.uid, changes.gid), Errno::PERM)?;
        if sets_times && !caller.owns(&file) {
            granted(changes.now, Errno::PERM)?;
            granted(caller.may(&file, WRITE), Errno::ACCES)?;
        }
        Ok::<(), Errno>(())
    })?;
    let is_given = changes.uid.is_some() || changes.gid.is_some();
    inode.change(changes)?;
    if is_given && !inode.is_directory() {
        clear_capabilities(inode);
    }
    // Who may search a directory decides who may use paths through it.
    if changes.mode.is_some() && inode.is_directory() {
        path_cache::names_changed();
    }
    Ok(())
}

/// The running program has written to a file of this mode, or has given it another size: set-ID bits go, unless it may keep them
/// (write(2)), and the capabilities of a program in any case (capabilities(7)).
#[inline]
pub fn written(inode: &dyn Inode, mode: u32) {
    if mode & (SET_IDS | EXECUTABLE) != 0 {
        clear_capabilities(inode);
        if mode & SET_IDS != 0 {
            clear_set_ids(inode);
        }
    }
}

#[cold]
#[inline(never)]
fn clear_capabilities(inode: &dyn Inode) {
    if inode.xattr(FILE_CAPABILITIES).is_ok() {
        // As with the set-ID bits.
        let _ = inode.set_xattr(FILE_CAPABILITIES, None, 0);
    }
}

#[cold]
#[inline(never)]
fn clear_set_ids(inode: &dyn Inode) {
    let file = owned(inode);
    let mode = ask(&file, |caller| caller.mode_after_write(&file));
    if mode != file.mode {
        // What was written is written, whatever becomes of the mode.
        let _ = inode.change(Changes { mode: Some(mode), ..Changes::default() });
    }
}

/// access(2): asks for the real user, or for the effective one if `effective`.
pub fn real_user_may(file: &Owned, wanted: u32, effective: bool) -> bool {
    crate::this::with(|thread| {
        let credentials = thread.process.credentials.lock();
        let mut caller = caller_of(&credentials, file);
        if !effective {
            (caller.uid, caller.gid) = (credentials.uid[REAL], credentials.gid[REAL]);
            let is_root = credentials.shown(Kind::User, caller.uid) == 0;
            let counts = credentials.space.as_ref().is_none_or(|space| space.has_owners(file.uid, file.gid));
            caller.capabilities = if is_root && counts { credentials.capabilities.permitted } else { 0 };
        }
        caller.may(file, wanted)
    })
}
