//! fanotify(7), as a kernel without permission events has it.
use super::call::Call;
use super::descriptor::install;
use super::inotify::{REAL, instance};
use super::path::named;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::access::{self, capability, check_capability_in};
use coracle_core::fs::handle;
use coracle_core::fs::mount::Path;
use coracle_core::fs::notify::{
    EVENT_ON_CHILD, FAN_EVENTS, Fan, IGNORES_FOR_GOOD, Inotify, MarkKind, ONDIR, WITH_PATHS,
};
use coracle_core::task::pid_space;
use linux_raw_sys::general::*;

/// Flags of fanotify_init(2). Of FAN_REPORT_*, TID and FID.
const FAN_CLOEXEC: u32 = 1;
const FAN_NONBLOCK: u32 = 2;
const FAN_CLASS_CONTENT: u32 = 4;
const FAN_CLASS_PRE_CONTENT: u32 = 8;
const FAN_CLASSES: u32 = FAN_CLASS_CONTENT | FAN_CLASS_PRE_CONTENT;
const FAN_REPORT_FID: u32 = 0x200;
/// Those that need CAP_SYS_ADMIN: classes, no limits, FAN_REPORT_TID.
const NEED_RIGHTS: u32 = FAN_CLASSES | 0x10 | 0x20 | 0x100;
const KNOWN: u32 = FAN_CLOEXEC | FAN_NONBLOCK | NEED_RIGHTS | FAN_REPORT_FID;
/// What may be asked of the files of events, beside the access mode.
const OPEN_FLAGS: u32 = O_ACCMODE | O_APPEND | O_NONBLOCK | O_SYNC | O_CLOEXEC | O_LARGEFILE | O_NOATIME;

/// fanotify_init(2).
pub fn fanotify_init(call: &Call) -> SysResult {
    let (flags, open_flags) = (call.u32(0), call.u32(1));
    let is_unprivileged = check_capability_in(None, capability::SYS_ADMIN).is_err();
    if is_unprivileged && (flags & NEED_RIGHTS != 0 || flags & FAN_REPORT_FID == 0) {
        return Err(Errno::PERM);
    }
    let class = flags & FAN_CLASSES;
    if flags & !KNOWN != 0
        || open_flags & !OPEN_FLAGS != 0
        || open_flags & O_ACCMODE == O_ACCMODE
        || (flags & FAN_REPORT_FID != 0 && class != 0)
        || class == FAN_CLASSES
    {
        return Err(Errno::INVAL);
    }
    let uid = call.thread().process.credentials.lock().uid[REAL];
    let fan = Fan { flags, open_flags, is_unprivileged, seen: pid_space::seen };
    let closes = if flags & FAN_CLOEXEC != 0 { O_CLOEXEC } else { 0 };
    let waits = if flags & FAN_NONBLOCK != 0 { O_NONBLOCK } else { 0 };
    install(call, Inotify::new(uid, Some(fan))?, O_RDWR | closes | waits)
}

/// Flags of fanotify_mark(2).
const FAN_MARK_ADD: u32 = 1;
const FAN_MARK_REMOVE: u32 = 2;
const FAN_MARK_DONT_FOLLOW: u32 = 4;
const FAN_MARK_ONLYDIR: u32 = 8;
const FAN_MARK_MOUNT: u32 = 0x10;
const FAN_MARK_IGNORED_MASK: u32 = 0x20;
const FAN_MARK_IGNORED_SURV_MODIFY: u32 = 0x40;
const FAN_MARK_FLUSH: u32 = 0x80;
const FAN_MARK_FILESYSTEM: u32 = 0x100;
const KINDS: u32 = FAN_MARK_MOUNT | FAN_MARK_FILESYSTEM;
const COMMANDS: u32 = FAN_MARK_ADD | FAN_MARK_REMOVE | FAN_MARK_FLUSH;
const MARK_FLAGS: u32 = COMMANDS
    | KINDS
    | FAN_MARK_DONT_FOLLOW
    | FAN_MARK_ONLYDIR
    | FAN_MARK_IGNORED_MASK
    | FAN_MARK_IGNORED_SURV_MODIFY;
/// Bits of a mask that are no events.
const NO_EVENTS: u32 = ONDIR | EVENT_ON_CHILD;

/// fanotify_mark(2).
pub fn fanotify_mark(call: &Call) -> SysResult {
    let (flags, directory, path) = (call.u32(1), call.i32(3), call.usize(4));
    let command = flags & COMMANDS;
    let kind = match flags & KINDS {
        0 => MarkKind::Inode,
        FAN_MARK_MOUNT => MarkKind::Mount,
        FAN_MARK_FILESYSTEM => MarkKind::FileSystem,
        _ => return Err(Errno::INVAL),
    };
    let mut mask = u32::try_from(call.raw(2)).map_err(|_| Errno::INVAL)?;
    let is_in_order = match command {
        FAN_MARK_ADD | FAN_MARK_REMOVE => mask != 0,
        FAN_MARK_FLUSH => flags & !(KINDS | FAN_MARK_FLUSH) == 0,
        _ => false,
    };
    if flags & !MARK_FLAGS != 0 || !is_in_order || mask & !(FAN_EVENTS | NO_EVENTS) != 0 {
        return Err(Errno::INVAL);
    }
    let ignores = flags & FAN_MARK_IGNORED_MASK != 0;
    if ignores {
        // They have no effect there.
        mask &= !NO_EVENTS;
    }
    let open = super::file::open_file(call, 0)?;
    let instance = instance(&open)?;
    let fan = instance.fan.as_ref().ok_or(Errno::INVAL)?;
    if fan.is_unprivileged && kind != MarkKind::Inode {
        return Err(Errno::PERM);
    }
    if mask & !(WITH_PATHS | NO_EVENTS) != 0 && (!fan.reports_ids() || kind == MarkKind::Mount) {
        return Err(Errno::INVAL);
    }
    if command == FAN_MARK_FLUSH {
        instance.flush_marks(kind);
        return Ok(0);
    }
    let path = marked_path(call, directory, path, flags)?;
    if command == FAN_MARK_ADD && fan.reports_ids() {
        handle::check(&path)?;
    }
    let mut kept = if ignores { NO_EVENTS } else { 0 };
    if kind != MarkKind::Inode || !path.inode.is_directory() {
        mask &= !EVENT_ON_CHILD;
        kept |= EVENT_ON_CHILD;
    }
    let masks = if ignores { (0, mask) } else { (mask, 0) };
    if command == FAN_MARK_REMOVE {
        return instance.unmark(kind, &path, masks, kept);
    }
    let for_good = ignores && flags & FAN_MARK_IGNORED_SURV_MODIFY != 0;
    instance.mark(kind, &path, (masks.0 | if for_good { IGNORES_FOR_GOOD } else { 0 }, masks.1))
}

/// The file that is to be marked: that of a path, or without one that of the descriptor. It must be one that may be read.
fn marked_path(call: &Call, directory: i32, path: usize, flags: u32) -> Result<Path, Errno> {
    let found = if path == 0 {
        let open = call.thread().process.descriptors.get(directory)?;
        open.file.place().ok_or(Errno::INVAL)?.path.clone()
    } else {
        let follow = if flags & FAN_MARK_DONT_FOLLOW != 0 { AT_SYMLINK_NOFOLLOW } else { 0 };
        named(call, directory, path, follow)?.place(Errno::INVAL)?.path
    };
    if flags & FAN_MARK_ONLYDIR != 0 && !found.inode.is_directory() {
        return Err(Errno::NOTDIR);
    }
    access::check(&*found.inode, access::READ)?;
    Ok(found)
}
