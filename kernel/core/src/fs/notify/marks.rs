//! All watches, by the file that they watch.
use super::fanotify::{FAN_EVENTS, IGNORES_FOR_GOOD};
use super::instance::Inotify;
use super::signals::Request;
use crate::errno::Errno;
use crate::fs::mount::Path;
use crate::lock::Mutex;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_fallible::prelude::*;
use coracle_hal::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use coracle_sorted_map::SortedMap;
use linux_raw_sys::general as abi;

/// Device and inode number.
pub type Identity = (u64, u64);

/// Bits of a watch's mask that say which events it reports.
pub(super) const EVENTS: u32 = abi::IN_ALL_EVENTS;
/// A file was opened to be executed: an event for fanotify(7) alone (FAN_OPEN_EXEC).
pub(super) const OPENED_TO_EXECUTE: u32 = 0x1000;
/// In the place of a device, for the marks of a mount by its number, and of a file system by its device number.
pub(super) const OF_MOUNT: u64 = u64::MAX;
pub(super) const OF_FILE_SYSTEM: u64 = u64::MAX - 1;
/// A name in a directory was changed: an event for signals alone. No bit of an inotify watch's mask (Linux's FS_RENAME).
pub(super) const RENAMED: u32 = 0x1000_0000;

/// The receiver of a watch's events.
#[derive(Clone)]
pub(super) enum Listener {
    /// An instance, and the watch descriptor.
    Events(Arc<Inotify>, i32),
    /// A request for signals.
    Signals(Arc<Request>),
}

impl Listener {
    fn is_of(&self, inotify: &Inotify) -> bool {
        matches!(self, Listener::Events(own, _) if core::ptr::eq(&raw const **own, inotify))
    }
}

/// A watch of a file.
#[derive(Clone)]
pub(super) struct Mark {
    pub(super) listener: Listener,
    /// IN_* of inotify_add_watch(2), or FAN_* of fanotify_mark(2).
    pub(super) mask: u32,
    /// Events that the instance doesn't hear of, for fanotify_mark(2).
    pub(super) ignored: u32,
    /// The file is gone.
    pub(super) is_gone: bool,
}

static MARKS: Mutex<SortedMap<Identity, Vec<Mark>>> = Mutex::new(SortedMap::new());
/// Watches that there are.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Whether there is any watch.
#[inline(always)]
pub fn is_on() -> bool {
    COUNT.load(Relaxed) != 0
}

/// Changes the masks of an instance's watch.
pub(super) type Change<'a> = &'a mut dyn FnMut(&mut Mark) -> Result<(), Errno>;

/// Changes the watch that an instance has on a file; `None` if it has none.
pub(super) fn change(
    identity: Identity,
    inotify: &Arc<Inotify>,
    change: Change,
) -> Result<Option<i32>, Errno> {
    let mut marks = MARKS.lock();
    let list = marks.get_mut(&identity).map_or(&mut [][..], Vec::as_mut_slice);
    for mark in list {
        if let Listener::Events(own, wd) = &mark.listener
            && Arc::ptr_eq(own, inotify)
        {
            let wd = *wd;
            return change(mark).map(|()| Some(wd));
        }
    }
    Ok(None)
}

/// Whether an instance asked not to hear of an event of any of these.
pub(super) fn is_ignored(inotify: &Inotify, mask: u32, marked: &[Identity]) -> bool {
    let marks = MARKS.lock();
    let ignores = |mark: &Mark| mark.ignored & mask & FAN_EVENTS != 0 && mark.listener.is_of(inotify);
    marked.iter().filter_map(|identity| marks.get(identity)).any(|marks| marks.iter().any(ignores))
}

/// A file was modified: what was to be ignored until then is not any more.
pub(super) fn forget_ignored(marked: &[Identity]) {
    let mut marks = MARKS.lock();
    for identity in marked {
        let list = marks.get_mut(identity).map_or(&mut [][..], Vec::as_mut_slice);
        for mark in list.iter_mut().filter(|mark| mark.mask & IGNORES_FOR_GOOD == 0) {
            mark.ignored = 0;
        }
    }
}

/// Adds a request for signals, or adds to the one that was made in the same way. ENOMEM.
pub(super) fn ask(identity: Identity, mark: Mark) -> Result<(), Errno> {
    if let Listener::Signals(request) = &mark.listener {
        let mut marks = MARKS.lock();
        let list = marks.get_mut(&identity).map_or(&mut [][..], Vec::as_mut_slice);
        for old in list {
            if let Listener::Signals(asked) = &old.listener
                && asked.same(request)
            {
                asked.asked_by(request);
                // Once only if both say so.
                let once = old.mask & mark.mask & abi::IN_ONESHOT;
                old.mask = (old.mask | mark.mask) & !abi::IN_ONESHOT | once;
                return Ok(());
            }
        }
    }
    add(identity, mark)
}

/// Adds a watch. ENOMEM.
pub(super) fn add(identity: Identity, mark: Mark) -> Result<(), Errno> {
    let mut marks = MARKS.lock();
    let list = marks.get_or_insert_with(identity, Vec::new)?;
    if let Err(error) = list.try_push(mark) {
        if list.is_empty() {
            marks.remove(&identity);
        }
        return Err(error.into());
    }
    COUNT.fetch_add(1, SeqCst);
    Ok(())
}

/// Takes an instance's watch of a file away.
pub(super) fn remove_watch(identity: Identity, inotify: &Inotify) {
    remove(identity, |listener| listener.is_of(inotify));
}

/// Takes the watches of a file away that are `meant`; whether there was one.
pub(super) fn remove(identity: Identity, meant: impl Fn(&Listener) -> bool) -> bool {
    let mut any = false;
    loop {
        let removed = {
            let mut marks = MARKS.lock();
            let Some(list) = marks.get_mut(&identity) else { return any };
            let found = list.iter().position(|mark| meant(&mark.listener));
            let removed = found.map(|index| list.remove(index));
            if list.is_empty() {
                marks.remove(&identity);
            }
            removed
        };
        if removed.is_none() {
            return any;
        }
        any = true;
        COUNT.fetch_sub(1, SeqCst);
    }
}

impl Mark {
    /// Ends the watch of a file; whether it was there.
    fn end(&self, identity: Identity) -> bool {
        match &self.listener {
            Listener::Events(inotify, wd) => inotify.forget(*wd, identity),
            Listener::Signals(own) => remove(
                identity,
                |listener| matches!(listener, Listener::Signals(request) if Arc::ptr_eq(request, own)),
            ),
        }
    }
}

/// Whether a watch of the file reports any of these events.
pub(super) fn wants(identity: Identity, mask: u32) -> bool {
    let marks = MARKS.lock();
    marks.get(&identity).is_some_and(|marks| marks.iter().any(|mark| mark.mask & mask & FAN_EVENTS != 0))
}

/// The watch of a file at a place in its list.
fn nth(identity: Identity, index: usize) -> Option<Mark> {
    MARKS.lock().get(&identity)?.get(index).cloned()
}

/// What a watch learns.
#[derive(Clone, Copy, Default)]
pub(super) struct Happened<'a> {
    /// IN_*, with IN_ISDIR.
    pub(super) mask: u32,
    /// Joins the two events of a move.
    pub(super) cookie: u32,
    /// The name in the watched directory.
    pub(super) name: Option<&'a Arc<[u8]>>,
    /// The file has no name any more.
    pub(super) is_unlinked: bool,
    /// The file, as it was reached; not for changes of names.
    pub(super) path: Option<&'a Path>,
    /// The file, or the directory whose names changed.
    pub(super) subject: Identity,
}

/// Tells the watches of a file. No lock is held meanwhile, so that one which comes or goes at the same time may count or not.
pub(super) fn report(identity: Identity, happened: Happened) {
    let mut index = 0;
    while let Some(mark) = nth(identity, index) {
        index += 1;
        let excluded = happened.is_unlinked && mark.mask & abi::IN_EXCL_UNLINK != 0;
        if mark.mask & happened.mask & (FAN_EVENTS | RENAMED) == 0 || excluded {
            continue;
        }
        match &mark.listener {
            Listener::Events(inotify, wd) => inotify.hear(*wd, mark.mask, &happened),
            Listener::Signals(request) => request.announce(),
        }
        if mark.mask & abi::IN_ONESHOT != 0 && mark.end(identity) {
            index -= 1;
        }
    }
}

/// There was no memory to tell the watches of a directory of an event.
pub(super) fn lose(identity: Identity, mask: u32) {
    let mut index = 0;
    while let Some(mark) = nth(identity, index) {
        index += 1;
        if mark.mask & mask & EVENTS != 0 {
            match &mark.listener {
                Listener::Events(inotify, _) => inotify.lose(),
                // A signal says nothing of the name.
                Listener::Signals(request) => request.announce(),
            }
        }
    }
}

/// Watched files that are gone, of which their watches have not heard yet.
static GONE: Mutex<heapless::Vec<Identity, GONE_AT_ONCE>> = Mutex::new(heapless::Vec::new());
/// So many are found without a look at all watches.
const GONE_AT_ONCE: usize = 16;
/// Some wait in [`GONE`], or are marked.
static PENDING: AtomicBool = AtomicBool::new(false);

/// A file is gone, with its last name and its last user. Its watches hear of it by [`settle`]: the end of a file may come deep in the
/// stack.
#[cold]
#[inline(never)]
pub fn inode_gone(identity: Identity) {
    let mut marks = MARKS.lock();
    let Some(mark) = marks.get_mut(&identity).and_then(|marks| marks.first_mut()) else { return };
    mark.is_gone = GONE.lock().push(identity).is_err();
    PENDING.store(true, SeqCst);
}

/// Reports the ends of files (IN_DELETE_SELF). To be called when a call has let go of a file, with no lock held.
#[inline(always)]
pub fn settle() {
    if PENDING.load(Relaxed) {
        settle_all();
    }
}

#[cold]
#[inline(never)]
fn settle_all() {
    PENDING.store(false, SeqCst);
    loop {
        let next = GONE.lock().pop();
        let Some(identity) = next.or_else(marked_as_gone) else { return };
        report(identity, Happened { mask: abi::IN_DELETE_SELF, subject: identity, ..Happened::default() });
        end(identity);
    }
}

/// A file that is marked as gone, because there was no room for it among the others.
fn marked_as_gone() -> Option<Identity> {
    let marks = MARKS.lock();
    let is_gone = |marks: &Vec<Mark>| marks.iter().any(|mark| mark.is_gone);
    marks.iter().find(|(_, marks)| is_gone(marks)).map(|(identity, _)| *identity)
}

/// A mount is taken out of the tree.
#[cold]
pub fn mount_gone(id: u64) {
    end((OF_MOUNT, id));
}

/// Ends the watches of a file.
fn end(identity: Identity) {
    while let Some(mark) = nth(identity, 0) {
        mark.end(identity);
    }
}

/// The file system with this device number is mounted no longer.
#[cold]
pub fn unmounted(device: u64) {
    end((OF_FILE_SYSTEM, device));
    loop {
        let next = {
            let marks = MARKS.lock();
            marks.iter_from(&(device, 0)).next().map(|(identity, _)| *identity)
        };
        let Some(identity) = next.filter(|identity| identity.0 == device) else { return };
        while let Some(mark) = nth(identity, 0) {
            if let Listener::Events(inotify, wd) = &mark.listener {
                inotify.hear(*wd, 0, &Happened { mask: abi::IN_UNMOUNT, ..Happened::default() });
            }
            mark.end(identity);
        }
    }
}
