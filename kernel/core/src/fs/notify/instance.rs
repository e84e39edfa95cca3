//! An instance of inotify or fanotify: its watches, and the events that wait to be read (inotify(7)).
use super::fanotify::{self, Fan, Object};
use super::limits::{INOTIFY, Limits};
use super::marks::{self, Change, EVENTS, Happened, Identity, Listener, Mark};
use crate::errno::{Errno, SysResult};
use crate::fs::file::File;
use crate::fs::stat::{Stat, anonymous};
use crate::ipc::poll::{Events, PollSource, block_on_events};
use crate::lock::Mutex;
use crate::mm::user;
use crate::mm::user_buf::UserBuf;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use coracle_fallible::prelude::*;
use coracle_fallible::{NoMemory, Text, try_arc};
use coracle_sorted_map::SortedMap;
use core::any::Any;
use linux_raw_sys::general as abi;
use linux_raw_sys::ioctl::FIONREAD;

/// Size of `struct inotify_event` without the name, to a multiple of which names are filled up.
const HEADER: usize = 16;
/// The watch descriptor of an overflow.
const NO_WATCH: i32 = -1;

/// An instance.
pub struct Inotify {
    /// The user that it counts for.
    uid: u32,
    limits: &'static Limits,
    /// What fanotify_init(2) asked for, of an instance of fanotify.
    pub fan: Option<Fan>,
    queue: Mutex<Queue>,
    source: PollSource,
    watches: Mutex<Watches>,
}

struct Watches {
    /// What each watch descriptor watches. The marks of fanotify have such, too, though no program sees them.
    files: SortedMap<i32, Identity>,
    last: i32,
    closed: bool,
}

struct Queue {
    /// Bytes of an event without what follows its header.
    header: usize,
    events: VecDeque<Event>,
    /// Bytes that all events take when they are read.
    bytes: usize,
    /// Events were lost, and IN_Q_OVERFLOW waits among the others.
    overflow: bool,
    /// There was no memory even for that.
    lost: bool,
}

#[derive(Clone)]
pub(super) struct Event {
    pub(super) wd: i32,
    pub(super) mask: u32,
    /// Of fanotify the process.
    pub(super) cookie: u32,
    pub(super) name: Option<Arc<[u8]>>,
    /// What fanotify reports of.
    pub(super) object: Option<Object>,
}

impl Queue {
    /// Whether there was memory for it.
    fn add(&mut self, event: Event) -> bool {
        let size = self.header + event.body();
        let added = self.events.try_push_back(event).is_ok();
        if added {
            self.bytes += size;
        }
        added
    }

    /// Notes that an event is lost, which is said once until it was read.
    fn lose(&mut self) {
        if !self.overflow {
            self.overflow = self.add(Event::OVERFLOW);
            self.lost |= !self.overflow;
        }
    }

    fn is_empty(&self) -> bool {
        self.events.is_empty() && !self.lost
    }
}

impl Event {
    /// Events were lost.
    const OVERFLOW: Event =
        Event { wd: NO_WATCH, mask: abi::IN_Q_OVERFLOW, cookie: 0, name: None, object: None };

    /// Bytes of the name as it is read: with at least one 0 behind it.
    fn name_size(&self) -> usize {
        self.name.as_ref().map_or(0, |name| (name.len() + 1).next_multiple_of(HEADER))
    }

    /// Bytes of it behind the header, as it is read.
    fn body(&self) -> usize {
        self.name_size() + self.object.as_ref().map_or(0, Object::size)
    }

    /// Whether one that follows says the same, or can be told together with it.
    fn takes_in(&mut self, other: &Event) -> bool {
        if let Some(object) = &self.object {
            let same =
                other.object.as_ref().is_some_and(|other| object.same(other)) && self.cookie == other.cookie;
            if same {
                self.mask |= other.mask;
            }
            return same;
        }
        let same = self.wd == other.wd && self.mask == other.mask && self.name == other.name;
        same && self.mask & abi::IN_IGNORED == 0
    }
}

/// What inotify_add_watch(2) asks for.
pub struct Watch {
    /// The file.
    pub identity: Identity,
    /// IN_*.
    pub mask: u32,
}

impl Inotify {
    /// A new one, of this user; of fanotify if `fan` says what that is to report. EMFILE if the user has too many, ENOMEM.
    pub fn new(uid: u32, fan: Option<Fan>) -> Result<Arc<Inotify>, Errno> {
        let (limits, header) = match fan {
            Some(_) => (&super::FANOTIFY, fanotify::HEADER),
            None => (&INOTIFY, HEADER),
        };
        limits.add_instance(uid)?;
        let watches = Watches { files: SortedMap::new(), last: 0, closed: false };
        let queue = Queue { header, events: VecDeque::new(), bytes: 0, overflow: false, lost: false };
        let new = Inotify {
            uid,
            limits,
            fan,
            queue: Mutex::new(queue),
            source: PollSource::new(),
            watches: Mutex::new(watches),
        };
        // Where there is no memory for it, it is dropped.
        Ok(try_arc(new)?)
    }

    /// Watches a file, or changes what is watched for; gives the watch descriptor. EEXIST for IN_MASK_CREATE, ENOSPC, ENOMEM.
    pub fn watch(self: &Arc<Self>, watch: &Watch) -> Result<i32, Errno> {
        let Watch { identity, mask } = *watch;
        let kept = mask & (EVENTS | abi::IN_ONESHOT | abi::IN_EXCL_UNLINK);
        self.watch_or_change(identity, (kept, 0), &mut |mark| {
            if mask & abi::IN_MASK_CREATE != 0 {
                return Err(Errno::EXIST);
            }
            mark.mask = if mask & abi::IN_MASK_ADD != 0 { mark.mask | kept } else { kept };
            Ok(())
        })
    }

    /// Changes the watch of a file, or adds one with this mask and what is ignored. The errors of `change`; ENOSPC, ENOMEM.
    pub(super) fn watch_or_change(
        self: &Arc<Self>,
        identity: Identity,
        (mask, ignored): (u32, u32),
        change: Change,
    ) -> Result<i32, Errno> {
        // Held until the watch is complete, so that one file has one watch.
        let mut watches = self.watches.lock();
        if let Some(wd) = marks::change(identity, self, change)? {
            return Ok(wd);
        }
        if watches.closed {
            return Err(Errno::BADF);
        }
        if self.counts_watches() {
            self.limits.add_watch(self.uid)?;
        }
        let wd = watches.next();
        let listener = Listener::Events(self.clone(), wd);
        let added = watches
            .files
            .insert(wd, identity)
            .map_err(Errno::from)
            .and_then(|_| marks::add(identity, Mark { listener, mask, ignored, is_gone: false }));
        if let Err(error) = added {
            watches.files.remove(&wd);
            self.uncount(1);
            return Err(error);
        }
        watches.last = wd;
        Ok(wd)
    }

    fn counts_watches(&self) -> bool {
        self.fan.as_ref().is_none_or(|fan| !fan.has_unlimited_marks())
    }

    fn uncount(&self, watches: usize) {
        if self.counts_watches() {
            self.limits.remove(self.uid, 0, watches);
        }
    }

    /// Any of the watches whose files are `meant`.
    pub(super) fn any_watch(&self, meant: impl Fn(&Identity) -> bool) -> Option<(i32, Identity)> {
        let watches = self.watches.lock();
        watches.files.iter().find(|(_, identity)| meant(identity)).map(|(wd, identity)| (*wd, *identity))
    }

    /// inotify_rm_watch(2). EINVAL.
    pub fn unwatch(&self, wd: i32) -> Result<(), Errno> {
        let identity = self.watches.lock().files.get(&wd).copied().ok_or(Errno::INVAL)?;
        if self.forget(wd, identity) { Ok(()) } else { Err(Errno::INVAL) }
    }

    /// Ends a watch, which IN_IGNORED says; whether it was there.
    pub(super) fn forget(&self, wd: i32, identity: Identity) -> bool {
        {
            let mut watches = self.watches.lock();
            if watches.files.remove(&wd).is_none() {
                return false;
            }
            marks::remove_watch(identity, self);
        }
        self.uncount(1);
        self.hear(wd, 0, &Happened { mask: abi::IN_IGNORED, ..Happened::default() });
        true
    }

    /// An event happened that a watch with this mask reports.
    pub(super) fn hear(&self, wd: i32, watched: u32, happened: &Happened) {
        let event = match &self.fan {
            Some(fan) => fan.event(self, watched, happened),
            None => {
                // What ends or moves has no kind, as on Linux.
                let moves = happened.mask & abi::IN_MOVE_SELF != 0;
                let kind = if moves { abi::IN_ISDIR } else { 0 };
                let mask = happened.mask & !(kind | marks::OPENED_TO_EXECUTE);
                let name = happened.name.cloned();
                Some(Event { wd, mask, cookie: happened.cookie, name, object: None })
            }
        };
        if let Some(event) = event {
            self.queue(event);
        }
    }

    /// An event waits to be read, or its loss does.
    fn queue(&self, event: Event) {
        {
            let mut queue = self.queue.lock();
            let among = if self.fan.is_some() { fanotify::MERGED_AMONG } else { 1 };
            if queue.events.iter_mut().rev().take(among).any(|old| old.takes_in(&event)) {
                return;
            }
            let is_full = queue.events.len() >= self.limits.events.get()
                && !self.fan.as_ref().is_some_and(Fan::has_unlimited_queue);
            if is_full || !queue.add(event) {
                queue.lose();
            }
        }
        self.source.notify(Events::IN);
    }

    /// An event happened for which there was no memory.
    pub(super) fn lose(&self) {
        self.queue.lock().lose();
        self.source.notify(Events::IN);
    }

    /// Copies what waits, as far as whole events fit. EAGAIN if none does, EINVAL if the first doesn't fit.
    fn take(&self, dst: &mut UserBuf) -> SysResult {
        let before = dst.done();
        loop {
            let Some(event) = self.pop(dst.remaining()).or_else(|error| match dst.done() - before {
                0 => Err(error),
                _ => Ok(None),
            })?
            else {
                return Ok(dst.done() - before);
            };
            if let Some(fan) = &self.fan {
                fan.write(event, dst)?;
                continue;
            }
            let mut bytes = [0; HEADER];
            let words = [event.wd as u32, event.mask, event.cookie, event.name_size() as u32];
            for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
                place.copy_from_slice(&word.to_le_bytes());
            }
            dst.put_all(&bytes)?;
            if let Some(name) = &event.name {
                dst.put_all(name)?;
                let filler = event.name_size() - name.len();
                dst.put_all(&[0; HEADER][..filler])?;
            }
        }
    }

    /// The first event, if it fits into so many bytes. EAGAIN, EINVAL.
    fn pop(&self, room: usize) -> Result<Option<Event>, Errno> {
        let mut queue = self.queue.lock();
        let header = queue.header;
        match queue.events.front().map(|event| header + event.body()) {
            Some(size) if size > room => Err(Errno::INVAL),
            Some(size) => {
                queue.bytes -= size;
                let event = queue.events.pop_front();
                if event.as_ref().is_some_and(|event| event.wd == NO_WATCH) {
                    queue.overflow = false;
                }
                Ok(event)
            }
            None if !queue.lost => Err(Errno::AGAIN),
            None if room < header => Err(Errno::INVAL),
            None => {
                queue.lost = false;
                Ok(Some(Event::OVERFLOW))
            }
        }
    }
}

impl Watches {
    /// The next watch descriptor that is free: they are given out in turn.
    fn next(&self) -> i32 {
        let mut wd = self.last;
        loop {
            wd = wd.checked_add(1).unwrap_or(1);
            if !self.files.contains_key(&wd) {
                return wd;
            }
        }
    }
}

impl Drop for Inotify {
    fn drop(&mut self) {
        self.limits.remove(self.uid, 1, 0);
    }
}

impl File for Inotify {
    fn read(&self, dst: &mut UserBuf, _offset: u64, nonblock: bool) -> SysResult {
        block_on_events(&self.source, Events::IN, nonblock, None, || self.take(dst))
    }

    fn keeps_position(&self) -> bool {
        false
    }

    fn stat(&self) -> Result<Stat, Errno> {
        Ok(anonymous())
    }

    fn readiness(&self) -> Events {
        let queue = self.queue.lock();
        if queue.is_empty() { Events::empty() } else { Events::IN | Events::RDNORM }
    }

    fn poll_source(&self) -> Option<&PollSource> {
        Some(&self.source)
    }

    fn ioctl(&self, command: u32, argument: usize) -> SysResult {
        if command != FIONREAD {
            return Err(Errno::NOTTY);
        }
        let bytes = {
            let queue = self.queue.lock();
            queue.bytes + if queue.lost { queue.header } else { 0 }
        };
        user::write_u32(argument, bytes as u32)?;
        Ok(0)
    }

    fn reopen(&self, _flags: u32) -> Option<Result<Arc<dyn File>, Errno>> {
        Some(Err(Errno::NXIO))
    }

    fn path(&self, text: &mut Text) -> Result<(), NoMemory> {
        text.push(if self.fan.is_some() { b"anon_inode:[fanotify]" } else { b"anon_inode:inotify" })
    }

    fn closed(&self) {
        let watches = {
            let mut watches = self.watches.lock();
            watches.closed = true;
            core::mem::take(&mut watches.files)
        };
        let mut count = 0;
        for (_, identity) in watches.iter() {
            marks::remove_watch(*identity, self);
            count += 1;
        }
        self.uncount(count);
        // They keep files, which may be the last that does.
        let events = core::mem::take(&mut self.queue.lock().events);
        drop(events);
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
