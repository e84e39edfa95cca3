//! User namespaces (user_namespaces(7)): which of the machine's user and group ids the processes of a namespace see, and as what.
//!
//! Credentials and files always have the machine's ids; they are translated where a program passes or gets them. A process of the first
//! namespace has none of this.
use crate::errno::Errno;
use crate::lock::Mutex;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_fallible::prelude::*;
use coracle_fallible::try_arc;
use coracle_hal::sync::atomic::{AtomicBool, AtomicU32, Ordering::*};

/// What a program sees in place of an id that is not mapped (/proc/sys/kernel/overflowuid).
pub const OVERFLOW_ID: u32 = 65_534;
/// Namespaces within each other at most (Linux's `create_user_ns`).
const LEVELS: u32 = 32;
/// Lines of a map at most (user_namespaces(7), "Defining user and group ID mappings").
const LINES: usize = 340;

/// Users or groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Users.
    User,
    /// Groups.
    Group,
}

/// `count` ids from `inside` on are the machine's from `machine` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first as the namespace sees it.
    pub inside: u32,
    /// The first as the machine has it.
    pub machine: u32,
    /// How many.
    pub count: u32,
}

impl Range {
    /// The counterpart of an id, if it is one of `count` from `from` on.
    fn translate(id: u32, from: u32, to: u32, count: u32) -> Option<u32> {
        let offset = id.checked_sub(from)?;
        if offset < count { to.checked_add(offset) } else { None }
    }
}

/// A user namespace other than the first.
pub struct UserSpace {
    /// Number of its inode.
    pub id: u32,
    /// The one in which it was made; `None` is the first.
    parent: Option<Arc<UserSpace>>,
    /// The machine's ids of the user and group that made it.
    pub owner: [u32; 2],
    level: u32,
    ranges: [Mutex<Vec<Range>>; 2],
    denies_groups: AtomicBool,
}

impl Drop for UserSpace {
    /// One after the other: they may be many.
    fn drop(&mut self) {
        let mut parent = self.parent.take();
        while let Some(mut space) = parent.and_then(Arc::into_inner) {
            parent = space.parent.take();
        }
    }
}

/// A number for the inode of a new namespace. Linux begins here, too (include/linux/proc_ns.h).
pub fn next_inode() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0xf000_0100);
    NEXT.fetch_add(1, Relaxed)
}

/// Whether both are the same namespace; `None` is the first.
pub fn same(a: Option<&Arc<UserSpace>>, b: Option<&Arc<UserSpace>>) -> bool {
    a.map(Arc::as_ptr) == b.map(Arc::as_ptr)
}

impl UserSpace {
    /// A namespace in `parent` without mappings. ENOSPC if there are too many within each other, ENOMEM.
    pub fn new(parent: Option<Arc<UserSpace>>, owner: [u32; 2]) -> Result<Arc<UserSpace>, Errno> {
        let level = parent.as_ref().map_or(0, |parent| parent.level) + 1;
        if level > LEVELS {
            return Err(Errno::NOSPC);
        }
        let denies_groups = parent.as_ref().is_some_and(|parent| parent.denies_groups());
        Ok(try_arc(UserSpace {
            id: next_inode(),
            parent,
            owner,
            level,
            ranges: [Mutex::new(Vec::new()), Mutex::new(Vec::new())],
            denies_groups: AtomicBool::new(denies_groups),
        })?)
    }
    /// The namespace in which it was made; `None` is the first.
    pub fn parent(&self) -> Option<&Arc<UserSpace>> {
        self.parent.as_ref()
    }
    /// What its processes see of one of the machine's ids, if it is mapped.
    pub fn inside(&self, kind: Kind, machine: u32) -> Option<u32> {
        let ranges = self.ranges[kind as usize].lock();
        ranges.iter().find_map(|range| Range::translate(machine, range.machine, range.inside, range.count))
    }
    /// The machine's id of what its processes call `inside`, if that is mapped.
    pub fn machine(&self, kind: Kind, inside: u32) -> Option<u32> {
        let ranges = self.ranges[kind as usize].lock();
        ranges.iter().find_map(|range| Range::translate(inside, range.inside, range.machine, range.count))
    }
    /// The machine's first id of the `count` ones from `inside` on, if one line of the map has them all.
    fn machine_of_all(&self, kind: Kind, inside: u32, count: u32) -> Option<u32> {
        let ranges = self.ranges[kind as usize].lock();
        ranges.iter().find_map(|range| {
            let offset = inside.checked_sub(range.inside)?;
            let has_all = offset.checked_add(count)? <= range.count;
            if has_all { range.machine.checked_add(offset) } else { None }
        })
    }
    /// Whether the owner and group of a file are mapped, so that capabilities count for it.
    pub fn has_owners(&self, uid: u32, gid: u32) -> bool {
        self.inside(Kind::User, uid).is_some() && self.inside(Kind::Group, gid).is_some()
    }
    /// The mappings. ENOMEM.
    pub fn ranges(&self, kind: Kind) -> Result<Vec<Range>, Errno> {
        Ok(self.ranges[kind as usize].lock().try_to_vec()?)
    }
    /// Whether its processes may not call setgroups(2) by what /proc/PID/setgroups says.
    pub fn denies_groups(&self) -> bool {
        self.denies_groups.load(SeqCst)
    }
    /// Whether its processes may call setgroups(2).
    pub fn may_set_groups(&self) -> bool {
        !self.denies_groups() && !self.ranges[Kind::Group as usize].lock().is_empty()
    }
    /// What is written to /proc/PID/setgroups. EPERM for what can't be any more.
    pub fn set_denies_groups(&self, denies: bool) -> Result<(), Errno> {
        let groups = self.ranges[Kind::Group as usize].lock();
        match denies {
            true if !groups.is_empty() && !self.denies_groups() => return Err(Errno::PERM),
            false if self.denies_groups() => return Err(Errno::PERM),
            _ => self.denies_groups.store(denies, SeqCst),
        }
        Ok(())
    }
    /// Gives it mappings, once: lines of a first id inside, a first one as the parent sees it, and a count. `may_map`: whether the writer
    /// may map these (the machine's first id, the count, and whether it is all). EINVAL, EPERM, ENOMEM.
    pub fn map(&self, kind: Kind, text: &[u8], may_map: impl FnOnce(&[Range]) -> bool) -> Result<(), Errno> {
        let mut new: Vec<Range> = Vec::new();
        for line in core::str::from_utf8(text).map_err(|_| Errno::INVAL)?.trim_end_matches('\n').split('\n') {
            let mut words = line.split_ascii_whitespace().map(str::parse::<u32>);
            let (Some(Ok(inside)), Some(Ok(outside)), Some(Ok(count)), None) =
                (words.next(), words.next(), words.next(), words.next())
            else {
                return Err(Errno::INVAL);
            };
            let ends = [inside, outside].map(|first| first.checked_add(count));
            let [Some(end), Some(outside_end)] = ends else { return Err(Errno::INVAL) };
            let overlaps =
                |own: u32, own_end: u32, other: u32, count: u32| other < own_end && own < other + count;
            let is_taken = |range: &Range| {
                overlaps(inside, end, range.inside, range.count)
                    || overlaps(outside, outside_end, range.machine, range.count)
            };
            if count == 0 || new.len() == LINES || new.iter().any(is_taken) {
                return Err(Errno::INVAL);
            }
            new.try_push(Range { inside, machine: outside, count })?;
        }
        let mut own = self.ranges[kind as usize].lock();
        if !own.is_empty() {
            return Err(Errno::PERM);
        }
        if let Some(parent) = &self.parent {
            for range in &mut new {
                range.machine = parent.machine_of_all(kind, range.machine, range.count).ok_or(Errno::PERM)?;
            }
        }
        if !may_map(&new) {
            return Err(Errno::PERM);
        }
        *own = new;
        Ok(())
    }
}
