//! Where calls report what they have done. Each is to be called after the change, and costs a load and a branch while there is no
//! watch.
use super::fanotify::UNNOTICED;
use super::marks::{self, Happened, Identity, OF_FILE_SYSTEM, OF_MOUNT, OPENED_TO_EXECUTE, RENAMED};
use super::moves::{self, Found};
use crate::fs::file::OpenFile;
use crate::fs::inode::{Changes, Inode};
use crate::fs::mount::{Path, Place};
use crate::fs::walk::Node;
use alloc::sync::Arc;
use coracle_fallible::try_arc_bytes;
use coracle_hal::sync::atomic::{AtomicU32, Ordering::Relaxed};
use linux_raw_sys::general as abi;

pub use marks::is_on;

/// A file was opened.
#[inline(always)]
pub fn opened(open: &OpenFile) {
    if is_on() {
        report_file(open, abi::IN_OPEN);
    }
}

/// A program was opened to be executed.
#[inline(always)]
pub fn opened_to_execute(open: &OpenFile) {
    if is_on() {
        report_file(open, abi::IN_OPEN | OPENED_TO_EXECUTE);
    }
}

/// Bytes of a file, or entries of a directory, were read.
#[inline(always)]
pub fn accessed(open: &OpenFile) {
    if is_on() {
        report_file(open, abi::IN_ACCESS);
    }
}

/// Bytes of a file were written, or its size was changed.
#[inline(always)]
pub fn modified(open: &OpenFile) {
    if is_on() {
        report_file(open, abi::IN_MODIFY);
    }
}

/// A descriptor was closed, and its description is about to be let go of: reports that if it was the last one.
#[inline(always)]
pub fn closed(open: &Arc<OpenFile>) {
    if is_on() {
        report_closed(open);
    }
}

#[cold]
#[inline(never)]
fn report_closed(open: &Arc<OpenFile>) {
    if Arc::strong_count(open) == 1 && open.flags() & abi::O_PATH == 0 {
        let is_writable = open.check_writable().is_ok();
        report_file(open, if is_writable { abi::IN_CLOSE_WRITE } else { abi::IN_CLOSE_NOWRITE });
    }
}

/// The size of the file at a place was changed.
#[inline(always)]
pub fn truncated(place: &Place) {
    if is_on() {
        report_place(place, abi::IN_MODIFY);
    }
}

/// Attributes of the file at a place were changed.
#[inline(always)]
pub fn changed(place: &Place, changes: &Changes) {
    if is_on() {
        report_change(place, changes);
    }
}

#[cold]
#[inline(never)]
fn report_file(open: &OpenFile, mask: u32) {
    if let Some(place) = open.file.place().filter(|_| open.flags() & UNNOTICED == 0) {
        report_place(place, mask);
    }
}

/// As Linux's `fsnotify_change`: a new time of access alone is an access, one of modification a modification.
#[cold]
#[inline(never)]
fn report_change(place: &Place, changes: &Changes) {
    let Changes { mode, uid, gid, accessed, modified, now } = changes;
    let mask = match (accessed.is_some() || *now, modified.is_some() || *now) {
        _ if mode.is_some() || uid.is_some() || gid.is_some() => abi::IN_ATTRIB,
        (true, true) => abi::IN_ATTRIB,
        (true, false) => abi::IN_ACCESS,
        (false, true) => abi::IN_MODIFY,
        (false, false) => return,
    };
    report_place(place, mask);
}

fn directory_bit(inode: &Arc<dyn Inode>) -> u32 {
    if inode.is_directory() { abi::IN_ISDIR } else { 0 }
}

/// Reports to the watches of the directory that a file is in, by its name, and then to those of the file.
#[cold]
#[inline(never)]
fn report_place(place: &Place, mask: u32) {
    let inode = &place.path.inode;
    let mask = mask | directory_bit(inode);
    let subject = inode.identity();
    let happened = Happened { mask, subject, path: Some(&place.path), ..Happened::default() };
    if mask & abi::IN_MODIFY != 0 {
        marks::forget_ignored(&happened.marked());
    }
    let found = match &place.name {
        Some((directory, name)) => Some((directory.inode.clone(), name.clone())),
        None => inode.parent().zip(inode.name()),
    };
    if let Some((directory, name)) = found {
        report_child(directory, name, inode, &happened);
    }
    for marked in happened.marked() {
        marks::report(marked, happened);
    }
}

/// Reports to the watches of the directory that a file was found in by `name`, or to those of the one that it was moved to.
fn report_child(directory: Arc<dyn Inode>, name: Arc<[u8]>, inode: &Arc<dyn Inode>, happened: &Happened) {
    let (file, mask) = (happened.subject, happened.mask);
    let leads_to_it = |(directory, name): &Found| {
        directory.lookup(name).ok().flatten().is_some_and(|found| found.identity() == file)
    };
    let place = (directory, name);
    let moved = moves::last(file);
    if moved.is_none() && !marks::wants(place.0.identity(), mask) {
        return;
    }
    let is_there = leads_to_it(&place);
    let moved = moved.filter(|moved| !is_there && leads_to_it(moved));
    // Watches may leave out what has no name any more (IN_EXCL_UNLINK).
    let is_unlinked = !is_there && moved.is_none();
    if is_unlinked && inode.metadata().links != 0 {
        // It has a name elsewhere that is not known.
        return;
    }
    let (directory, name) = moved.unwrap_or(place);
    if marks::wants(directory.identity(), mask) {
        marks::report(directory.identity(), Happened { name: Some(&name), is_unlinked, ..*happened });
    }
}

/// Reports to the watches of a directory what happened to a name in it; gives the name, if there was memory for it.
fn report_name(directory: Identity, name: &[u8], mask: u32, cookie: u32) -> Option<Arc<[u8]>> {
    let Ok(name) = try_arc_bytes(name) else {
        marks::lose(directory, mask);
        return None;
    };
    let happened = Happened { mask, cookie, name: Some(&name), subject: directory, ..Happened::default() };
    for marked in happened.marked() {
        marks::report(marked, happened);
    }
    Some(name)
}

/// An entry was made in a directory.
#[inline(always)]
pub fn created(directory: &Path, name: &[u8], made: &Arc<dyn Inode>) {
    if is_on() {
        report_created(directory, name, made);
    }
}

#[cold]
#[inline(never)]
fn report_created(directory: &Path, name: &[u8], made: &Arc<dyn Inode>) {
    report_name(directory.inode.identity(), name, abi::IN_CREATE | directory_bit(made), 0);
}

/// A file got a further name.
#[inline(always)]
pub fn linked(file: &Arc<dyn Inode>, directory: &Path, name: &[u8]) {
    if is_on() {
        report_self(file, abi::IN_ATTRIB);
        report_created(directory, name, file);
    }
}

#[cold]
#[inline(never)]
fn report_self(inode: &Arc<dyn Inode>, mask: u32) {
    let mask = mask | directory_bit(inode);
    let happened = Happened { mask, subject: inode.identity(), ..Happened::default() };
    for marked in happened.marked() {
        marks::report(marked, happened);
    }
}

/// An entry was removed from a directory. The file is let go of before its directory hears of it, as on Linux: if this was its last
/// name and it is not open, its watches hear of its end first.
#[inline(always)]
pub fn removed(directory: &Path, name: &[u8], file: Option<Node>) {
    if is_on() {
        report_removed(directory, name, file);
    }
}

#[cold]
#[inline(never)]
fn report_removed(directory: &Path, name: &[u8], file: Option<Node>) {
    let file = match file {
        Some(Node::Path(path)) => Some(path.inode),
        _ => None,
    };
    let kind = file.as_ref().map_or(0, directory_bit);
    if let Some(file) = file.filter(|_| kind == 0) {
        // Its number of names has changed.
        report_self(&file, abi::IN_ATTRIB);
    }
    marks::settle();
    report_name(directory.inode.identity(), name, abi::IN_DELETE | kind, 0);
}

/// A name in a directory.
pub type Name<'a> = (&'a Path, &'a [u8]);

/// An entry was moved; `replaced` is what had the new name before.
#[inline(always)]
pub fn renamed(from: Name, to: Name, moved: &Arc<dyn Inode>, replaced: Option<&Arc<dyn Inode>>) {
    if is_on() {
        report_renamed(from, to, moved, replaced);
    }
}

#[cold]
#[inline(never)]
fn report_renamed(from: Name, to: Name, moved: &Arc<dyn Inode>, replaced: Option<&Arc<dyn Inode>>) {
    static COOKIE: AtomicU32 = AtomicU32::new(0);
    // 0 is what events have that are no moves.
    let cookie = COOKIE.fetch_add(1, Relaxed).wrapping_add(1).max(1);
    let kind = directory_bit(moved);
    report_name(from.0.inode.identity(), from.1, abi::IN_MOVED_FROM | kind, cookie);
    let (old, new) = (from.0.inode.identity(), to.0.inode.identity());
    if old == new {
        marks::report(old, Happened { mask: RENAMED, ..Happened::default() });
    }
    let name = report_name(to.0.inode.identity(), to.1, abi::IN_MOVED_TO | kind, cookie);
    if let Some(name) = name.filter(|_| kind == 0) {
        moves::note(moved.identity(), &to.0.inode, &name);
    }
    if let Some(replaced) = replaced {
        report_self(replaced, abi::IN_ATTRIB);
    }
    report_self(moved, abi::IN_MOVE_SELF);
}

impl Happened<'_> {
    /// Whose marks may want to hear of it, beside those of a directory that the file is in: the file, its file system and the mount
    /// that it was reached through.
    pub(super) fn marked(&self) -> [Identity; 3] {
        // No mount has the number of none.
        let mount = self.path.map_or(u64::MAX, |path| path.mount.id);
        [self.subject, (OF_FILE_SYSTEM, self.subject.0), (OF_MOUNT, mount)]
    }
}
