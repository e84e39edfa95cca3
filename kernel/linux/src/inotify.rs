//! inotify(7).
use super::call::Call;
use super::descriptor::install;
use alloc::sync::Arc;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::access;
use coracle_core::fs::file::OpenFile;
use coracle_core::fs::notify::{Inotify, Watch};
use coracle_core::fs::walk::{self, Follow};
use coracle_core::mm::user;
use core::any::Any;
use linux_raw_sys::general::*;

/// What inotify_add_watch(2) takes.
const KNOWN: u32 = IN_ALL_EVENTS
    | IN_UNMOUNT
    | IN_Q_OVERFLOW
    | IN_IGNORED
    | IN_ONLYDIR
    | IN_DONT_FOLLOW
    | IN_EXCL_UNLINK
    | IN_MASK_ADD
    | IN_MASK_CREATE
    | IN_ISDIR
    | IN_ONESHOT;
/// Index of the real id among a process's ids.
pub const REAL: usize = 0;

fn init(call: &Call, flags: u32) -> SysResult {
    if flags & !(IN_CLOEXEC | IN_NONBLOCK) != 0 {
        return Err(Errno::INVAL);
    }
    let uid = call.thread().process.credentials.lock().uid[REAL];
    install(call, Inotify::new(uid, None)?, flags)
}
/// inotify_init(2).
pub fn inotify_init(call: &Call) -> SysResult {
    init(call, 0)
}
/// inotify_init1(2).
pub fn inotify_init1(call: &Call) -> SysResult {
    init(call, call.u32(0))
}

/// The instance of inotify or fanotify that a description is of. EINVAL.
pub fn instance(open: &OpenFile) -> Result<Arc<Inotify>, Errno> {
    let file: Arc<dyn Any + Send + Sync> = open.file.clone();
    file.downcast().map_err(|_| Errno::INVAL)
}

/// The instance of inotify that a description is of. EINVAL.
fn watching(open: &OpenFile) -> Result<Arc<Inotify>, Errno> {
    instance(open).and_then(|instance| if instance.fan.is_none() { Ok(instance) } else { Err(Errno::INVAL) })
}

/// inotify_add_watch(2).
pub fn inotify_add_watch(call: &Call) -> SysResult {
    let mask = call.u32(2);
    if mask & KNOWN == 0 {
        return Err(Errno::INVAL);
    }
    let open = super::file::open_file(call, 0)?;
    if mask & IN_MASK_ADD != 0 && mask & IN_MASK_CREATE != 0 {
        return Err(Errno::INVAL);
    }
    let inotify = watching(&open)?;
    let path = user::read_path(call.usize(1))?;
    let follow = if mask & IN_DONT_FOLLOW != 0 { Follow::IfSlash } else { Follow::Always };
    let place = walk::find(&call.thread().process.fs, None, &path, follow)?;
    let inode = &place.path.inode;
    if mask & IN_ONLYDIR != 0 && !inode.is_directory() {
        return Err(Errno::NOTDIR);
    }
    access::check(&**inode, access::READ)?;
    inotify.watch(&Watch { identity: inode.identity(), mask }).map(|wd| wd as usize)
}

/// inotify_rm_watch(2).
pub fn inotify_rm_watch(call: &Call) -> SysResult {
    let open = super::file::open_file(call, 0)?;
    watching(&open)?.unwatch(call.i32(1))?;
    Ok(0)
}
