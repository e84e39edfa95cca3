//! Segments of shared memory (shmop(2), shmctl(2)).
use super::object::{self, Object};
use crate::space::{Handle, Space, Weak};
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::file::File;
use coracle_core::fs::stat::{ANONYMOUS_DEVICE, Metadata};
use coracle_core::lock::Mutex;
use coracle_core::mm::map::Place;
use coracle_core::mm::memory::{Memory, PAGE_SIZE, page_up};
use coracle_core::mm::shared::SharedAnonymous;
use coracle_core::mm::vma::{Backing, Vma, VmaFlags};
use coracle_fallible::prelude::*;
use coracle_fallible::{NoMemory, Text, try_arc};
use coracle_hal::boot;
use coracle_hal::frame::Frame;
use coracle_hal::paging::Prot;
use coracle_hal::sync::atomic::{AtomicI32, Ordering::Relaxed};
use coracle_sysv::{Permission, READ, Registry, WRITE};
use core::any::Any;
use linux_raw_sys::general::{S_IFREG, stat as Stat};

/// Segments at most (SHMMNI).
pub const MAX_SEGMENTS: usize = 4096;
/// Bytes of a segment at most (SHMMAX).
pub const MAX_BYTES: u64 = u64::MAX - (1 << 24);
/// Bits that shmctl(2) shows in the mode: removed as soon as nothing maps it, and locked in memory.
pub const SHM_DEST: u32 = 0o1000;
/// See [`SHM_DEST`].
pub const SHM_LOCKED: u32 = 0o2000;

/// Flags of shmat(2).
const SHM_RDONLY: u32 = 0o10_000;
const SHM_RND: u32 = 0o20_000;
const SHM_REMAP: u32 = 0o40_000;
const SHM_EXEC: u32 = 0o100_000;

/// Pages of all segments at most, touched or not: those of the machine (SHMALL).
pub fn max_pages() -> u64 {
    boot::memory_size() / PAGE_SIZE as u64
}

/// A segment.
pub struct Segment {
    /// Its namespace.
    space: Weak,
    id: AtomicI32,
    /// Its bytes, as it was made.
    pub size: usize,
    pages: SharedAnonymous,
    state: Mutex<State>,
}

/// What the lock of a segment guards.
pub struct State {
    /// Owner and mode, with [`SHM_DEST`] and [`SHM_LOCKED`].
    pub permission: Permission,
    /// Times of the last attach, detach and change, in seconds; 0: never.
    pub attached_s: u64,
    /// See `attached_s`.
    pub detached_s: u64,
    /// See `attached_s`.
    pub changed_s: u64,
    /// The process that made it, and the last one that attached or detached it.
    pub creator: i32,
    /// See `creator`.
    pub last_user: i32,
    attachments: Vec<alloc::sync::Weak<Attachment>>,
}

/// What a shmat(2) maps. Mappings that fork(2) and munmap(2) make of one hold it, too, and count.
struct Attachment(Arc<Segment>);

impl Object for Segment {
    const LIMIT: usize = MAX_SEGMENTS;
    fn all(space: &Space) -> &Mutex<Registry<Arc<Self>>> {
        &space.segments
    }
    fn permission(&self) -> Permission {
        self.state.lock().permission
    }
    fn named(&self, id: i32) {
        self.id.store(id, Relaxed);
    }
}

fn own_pid() -> i32 {
    coracle_core::this::with(|thread| thread.process.pid)
}

/// shmget(2).
pub fn find_or_make(key: i32, size: usize, flags: u32) -> SysResult {
    let fits = |segment: &Segment| if segment.size < size { Err(Errno::INVAL) } else { Ok(()) };
    let handle = Handle::own();
    let pages_taken = &handle.space()?.pages;
    object::find_or_make(key, flags, fits, |permission| {
        if size == 0 || size as u64 > MAX_BYTES {
            return Err(Errno::INVAL);
        }
        let pages = (page_up(size).ok_or(Errno::INVAL)? / PAGE_SIZE) as u64;
        // One after the other: the lock of all segments is held.
        if pages_taken.load(Relaxed) + pages > max_pages() {
            return Err(Errno::NOSPC);
        }
        pages_taken.fetch_add(pages, Relaxed);
        let state = State {
            permission,
            attached_s: 0,
            detached_s: 0,
            changed_s: object::now_s(),
            creator: own_pid(),
            last_user: 0,
            attachments: Vec::new(),
        };
        Ok(Segment {
            space: handle.downgrade(),
            id: AtomicI32::new(0),
            size,
            pages: SharedAnonymous::default(),
            state: Mutex::new(state),
        })
    })
}

impl State {
    /// Mappings of it (`shm_nattch`).
    pub fn attached(&self) -> usize {
        self.attachments.iter().map(alloc::sync::Weak::strong_count).sum()
    }
}

impl Segment {
    /// Looks at it or changes it.
    pub fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        f(&mut self.state.lock())
    }

    /// Pages that were touched.
    pub fn resident_pages(&self) -> u64 {
        self.pages.touched()
    }
}

/// shmat(2): maps the segment into the memory. Returns the address. EINVAL, EIDRM, EACCES, ENOMEM.
pub fn attach(memory: &Memory, id: i32, address: usize, flags: u32) -> SysResult {
    /// shmat(2) aligns addresses to it with SHM_RND (SHMLBA).
    const ALIGNMENT: usize = PAGE_SIZE;
    let wish = if flags & SHM_RND != 0 { address & !(ALIGNMENT - 1) } else { address };
    let place = match (wish, flags & SHM_REMAP != 0) {
        _ if !wish.is_multiple_of(PAGE_SIZE) => return Err(Errno::INVAL),
        (0, true) => return Err(Errno::INVAL),
        (0, false) if address != 0 => return Err(Errno::INVAL),
        (0, false) => Place::Hint(0),
        (wish, true) => Place::Fixed(wish),
        (wish, false) => Place::FixedNoReplace(wish),
    };
    let mut vma = Vma { prot: Prot::READ, flags: VmaFlags::SHARED, backing: Backing::Anonymous, label: "" };
    let mut wanted = READ;
    if flags & SHM_RDONLY == 0 {
        wanted |= WRITE;
        vma.prot |= Prot::WRITE;
        vma.flags |= VmaFlags::MAY_WRITE;
    }
    if flags & SHM_EXEC != 0 {
        /// The third of the three bits of a class.
        const EXECUTE: u32 = 1;
        wanted |= EXECUTE;
        vma.prot |= Prot::EXEC;
    }
    let segment = object::get::<Segment>(id)?;
    let size = segment.size;
    // Dropped below with the locks let go, for its drop takes them.
    let attachment = try_arc(Attachment(segment))?;
    {
        // With the registry locked the segment is not removed meanwhile.
        let handle = Handle::own();
        let segments = handle.space()?.segments.lock();
        let mut state = segments.get(id)?.state.lock();
        object::check(&state.permission, wanted)?;
        state.attachments.try_push(Arc::downgrade(&attachment))?;
        state.attached_s = object::now_s();
        state.last_user = own_pid();
    }
    vma.backing = Backing::File { file: attachment, offset: 0 };
    memory.map(place, size, vma, false).map_err(|error| match error {
        Errno::EXIST | Errno::PERM => Errno::INVAL,
        other => other,
    })
}

/// shmdt(2): unmaps what is left of the mapping that was attached at `address`. EINVAL if there is none.
pub fn detach(memory: &Memory, address: usize) -> Result<(), Errno> {
    if !address.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::INVAL);
    }
    let mut found: Option<Arc<dyn File>> = None;
    let mut at = address;
    let mut end = usize::MAX;
    while at < end {
        let Some(region) = memory.region_from(at) else { break };
        let (range, offset, file) = (region.range, region.offset, region.file);
        at = range.end;
        let Some(file) = file else { continue };
        let is_part = match &found {
            Some(first) => Arc::ptr_eq(first, &file),
            None => file.as_any().is::<Attachment>(),
        };
        if !is_part || range.start.checked_sub(address) != Some(offset as usize) {
            continue;
        }
        if let Some(Attachment(segment)) = file.as_any().downcast_ref() {
            end = address.saturating_add(segment.size);
            segment.with(|state| {
                state.detached_s = object::now_s();
                state.last_user = own_pid();
            });
        }
        memory.unmap(range)?;
        found = Some(file);
    }
    found.map(drop).ok_or(Errno::INVAL)
}

/// IPC_RMID: the segment goes when nothing maps it any more; its key is free at once. EINVAL, EIDRM, EPERM.
pub fn remove(id: i32) -> Result<(), Errno> {
    let removed = {
        let handle = Handle::own();
        let mut segments = handle.space()?.segments.lock();
        let segment = segments.get(id)?.clone();
        let mut state = segment.state.lock();
        object::check_control(&state.permission)?;
        segments.forget_key(id);
        state.permission.key = 0;
        state.permission.mode |= SHM_DEST;
        let unused = state.attached() == 0;
        drop(state);
        if unused { Some(segments.remove(id)?) } else { None }
    };
    drop(removed);
    Ok(())
}

/// What all segments come to (SHM_INFO).
#[derive(Default)]
pub struct Totals {
    /// Segments.
    pub segments: usize,
    /// Pages, if all were touched.
    pub pages: u64,
    /// Pages that were.
    pub resident_pages: u64,
}

/// See [`Totals`].
pub fn totals() -> Totals {
    let handle = Handle::own();
    let Some(space) = handle.used() else { return Totals::default() };
    let segments = space.segments.lock();
    let mut totals = Totals { segments: segments.len(), pages: space.pages.load(Relaxed), resident_pages: 0 };
    let mut from = 0;
    while let Some((index, _, segment)) = segments.next_from(from) {
        totals.resident_pages += segment.resident_pages();
        from = index + 1;
    }
    totals
}

impl Drop for Segment {
    fn drop(&mut self) {
        if let Some(handle) = self.space.upgrade()
            && let Some(space) = handle.used()
        {
            space.pages.fetch_sub(self.size.div_ceil(PAGE_SIZE) as u64, Relaxed);
        }
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let unused = {
            // In a namespace that is gone nothing lists it any more.
            let handle = self.0.space.upgrade();
            let mut segments = handle.as_ref().and_then(Handle::used).map(|space| space.segments.lock());
            let mut state = self.0.state.lock();
            let before = state.attachments.len();
            state.attachments.retain(|attachment| attachment.strong_count() > 0);
            // One that could not be added never was attached.
            if state.attachments.len() < before {
                state.detached_s = object::now_s();
            }
            let unused = state.permission.mode & SHM_DEST != 0 && state.attachments.is_empty();
            drop(state);
            let id = self.0.id.load(Relaxed);
            segments.as_mut().filter(|_| unused).and_then(|segments| segments.remove(id).ok())
        };
        // Its pages are freed with the locks let go.
        drop(unused);
    }
}

impl File for Attachment {
    fn stat(&self) -> Result<Stat, Errno> {
        let Permission { mode, uid, gid, .. } = self.0.permission();
        let metadata = Metadata {
            device: ANONYMOUS_DEVICE,
            inode: self.0.id.load(Relaxed) as u64,
            mode: S_IFREG | mode & 0o777,
            links: 1,
            uid,
            gid,
            size: self.0.size as u64,
            ..Metadata::default()
        };
        Ok(metadata.stat())
    }
    fn page(&self, index: u64, for_write: bool) -> Result<Frame, Errno> {
        self.0.pages.page(index, for_write)
    }
    fn path(&self, text: &mut Text) -> Result<(), NoMemory> {
        write!(text, "/SYSV{:08x} (deleted)", self.0.permission().key)
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
