//! An inotify instance: its watches, and the events that wait to be read (inotify(7)).
use super::limits::{self, MAX_EVENTS};
use super::marks::{self, Again, EVENTS, Identity, Listener, Mark};
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
    queue: Mutex<Queue>,
    source: PollSource,
    watches: Mutex<Watches>,
}

struct Watches {
    /// What each watch descriptor watches.
    files: SortedMap<i32, Identity>,
    last: i32,
    closed: bool,
}

#[derive(Default)]
struct Queue {
    events: VecDeque<Event>,
    /// Bytes that all events take when they are read.
    bytes: usize,
    /// Events were lost, and IN_Q_OVERFLOW waits among the others.
    overflow: bool,
    /// There was no memory even for that.
    lost: bool,
}

struct Event {
    wd: i32,
    mask: u32,
    cookie: u32,
    name: Option<Arc<[u8]>>,
}

impl Queue {
    /// Whether there was memory for it.
    fn add(&mut self, event: Event) -> bool {
        let size = event.size();
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
    const OVERFLOW: Event = Event { wd: NO_WATCH, mask: abi::IN_Q_OVERFLOW, cookie: 0, name: None };

    /// Bytes of the name as it is read: with at least one 0 behind it.
    fn name_size(&self) -> usize {
        self.name.as_ref().map_or(0, |name| (name.len() + 1).next_multiple_of(HEADER))
    }

    fn size(&self) -> usize {
        HEADER + self.name_size()
    }

    /// Whether another that follows says the same.
    fn repeats(&self, wd: i32, mask: u32, name: Option<&Arc<[u8]>>) -> bool {
        self.wd == wd && self.mask == mask && self.name.as_ref() == name && mask & abi::IN_IGNORED == 0
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
    /// A new one, of this user. EMFILE if that has too many, ENOMEM.
    pub fn new(uid: u32) -> Result<Arc<Inotify>, Errno> {
        limits::add_instance(uid)?;
        let watches = Watches { files: SortedMap::new(), last: 0, closed: false };
        let new = Inotify {
            uid,
            queue: Mutex::new(Queue::default()),
            source: PollSource::new(),
            watches: Mutex::new(watches),
        };
        // Where there is no memory for it, it is dropped.
        Ok(try_arc(new)?)
    }

    /// Watches a file, or changes what is watched for; gives the watch descriptor. EEXIST for IN_MASK_CREATE, ENOSPC, ENOMEM.
    pub fn watch(self: &Arc<Self>, watch: &Watch) -> Result<i32, Errno> {
        let Watch { identity, mask } = *watch;
        let again = match mask {
            _ if mask & abi::IN_MASK_CREATE != 0 => Again::Refuse,
            _ if mask & abi::IN_MASK_ADD != 0 => Again::Add,
            _ => Again::Replace,
        };
        let mask = mask & (EVENTS | abi::IN_ONESHOT | abi::IN_EXCL_UNLINK);
        // Held until the watch is complete, so that one file has one watch.
        let mut watches = self.watches.lock();
        if let Some(wd) = marks::change(identity, self, mask, &again)? {
            return Ok(wd);
        }
        if watches.closed {
            return Err(Errno::BADF);
        }
        limits::add_watch(self.uid)?;
        let wd = watches.next();
        let added = watches.files.insert(wd, identity).map_err(Errno::from).and_then(|_| {
            marks::add(identity, Mark { listener: Listener::Events(self.clone(), wd), mask, is_gone: false })
        });
        if let Err(error) = added {
            watches.files.remove(&wd);
            limits::remove_watches(self.uid, 1);
            return Err(error);
        }
        watches.last = wd;
        Ok(wd)
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
        limits::remove_watches(self.uid, 1);
        self.queue(wd, abi::IN_IGNORED, 0, None);
        true
    }

    /// An event happened: it waits to be read, or its loss does.
    pub(super) fn queue(&self, wd: i32, mask: u32, cookie: u32, name: Option<&Arc<[u8]>>) {
        {
            let mut queue = self.queue.lock();
            if queue.events.back().is_some_and(|last| last.repeats(wd, mask, name)) {
                return;
            }
            let is_full = queue.events.len() >= MAX_EVENTS.get();
            if is_full || !queue.add(Event { wd, mask, cookie, name: name.cloned() }) {
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
        match queue.events.front().map(Event::size) {
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
            None if room < HEADER => Err(Errno::INVAL),
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
        limits::remove_instance(self.uid);
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
            queue.bytes + if queue.lost { HEADER } else { 0 }
        };
        user::write_u32(argument, bytes as u32)?;
        Ok(0)
    }

    fn reopen(&self, _flags: u32) -> Option<Result<Arc<dyn File>, Errno>> {
        Some(Err(Errno::NXIO))
    }

    fn path(&self, text: &mut Text) -> Result<(), NoMemory> {
        text.push(b"anon_inode:inotify")
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
        limits::remove_watches(self.uid, count);
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
