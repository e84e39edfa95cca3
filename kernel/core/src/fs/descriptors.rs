//! The descriptor table of a process.
use super::file::OpenFile;
use crate::errno::Errno;
use crate::task::{later, long_call};
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_fallible::prelude::*;
use coracle_fallible::try_arc;
use coracle_hal::once::Once;
use coracle_hal::sync::Mutex;
use coracle_hal::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use coracle_vfs_core::bitmap::Bitmap;
use core::ops::Deref;
use linux_raw_sys::general::O_PATH;

/// The soft limit of RLIMIT_NOFILE that a program starts with, as on Linux.
pub const DEFAULT_LIMIT: u32 = 1024;
/// The most descriptors a process may ask for (Linux's fs.nr_open).
pub const MAX_LIMIT: u32 = 1 << 20;

#[derive(Clone)]
struct Slot {
    file: Arc<OpenFile>,
    close_on_exec: bool,
}

#[derive(Default)]
struct Slots {
    slots: Vec<Option<Slot>>,
    used: Bitmap,
}

impl Slots {
    /// Gives what was there before; the slot back if there is no memory for so large a table.
    fn put(&mut self, fd: usize, slot: Slot) -> Result<Option<Slot>, Slot> {
        if fd >= self.slots.len() {
            if self.slots.make_room(fd + 1 - self.slots.len()).is_err() {
                return Err(slot);
            }
            while self.slots.len() <= fd {
                self.slots.push_reserved(None);
            }
        }
        if self.used.set(fd).is_err() {
            return Err(slot);
        }
        Ok(self.slots[fd].replace(slot))
    }
    fn take(&mut self, fd: usize) -> Option<Slot> {
        let slot = self.slots.get_mut(fd)?.take()?;
        self.used.clear(fd);
        Some(slot)
    }
}

/// Descriptors of a process, shared by its threads. A look-up holds the lock for a few instructions; files are always
/// dropped after the lock is released, because that may run any file's closing.
pub struct DescriptorTable {
    slots: Mutex<Slots>,
    limit: AtomicU32,
    /// Processes that use it and haven't ended (CLONE_FILES).
    users: AtomicUsize,
}

impl Default for DescriptorTable {
    fn default() -> Self {
        DescriptorTable::new()
    }
}

impl DescriptorTable {
    /// An empty table.
    pub fn new() -> Self {
        Self::with(Slots::default(), DEFAULT_LIMIT)
    }
    fn with(slots: Slots, limit: u32) -> Self {
        DescriptorTable { slots: Mutex::new(slots), limit: AtomicU32::new(limit), users: AtomicUsize::new(0) }
    }
    /// The open file of `fd`; EBADF.
    #[inline(never)]
    pub fn get(&self, fd: i32) -> Result<Arc<OpenFile>, Errno> {
        self.look_up(fd)
    }
    /// [`DescriptorTable::get`] for what is a function of its own.
    #[inline(always)]
    pub fn look_up(&self, fd: i32) -> Result<Arc<OpenFile>, Errno> {
        match self.slots.lock().slots.get(fd as usize) {
            Some(Some(slot)) => Ok(slot.file.clone()),
            _ => Err(Errno::BADF),
        }
    }
    /// What may be read, written or asked: EBADF for a mere place as well (open(2), O_PATH).
    pub fn usable(&self, fd: i32) -> Result<Arc<OpenFile>, Errno> {
        let open = self.look_up(fd)?;
        if open.flags() & O_PATH != 0 { Err(Errno::BADF) } else { Ok(open) }
    }
    /// The lowest free descriptor, at least `from`, now refers to `file`; EMFILE by RLIMIT_NOFILE.
    pub fn insert(&self, file: Arc<OpenFile>, close_on_exec: bool, from: i32) -> Result<i32, Errno> {
        let limit = self.limit() as usize;
        let mut table = self.slots.lock();
        let fd = table.used.first_clear(from.max(0) as usize);
        if fd >= limit {
            drop(table);
            return Err(Errno::MFILE);
        }
        let put = table.put(fd, Slot { file, close_on_exec });
        drop(table);
        put.map(|_| fd as i32).map_err(|_| Errno::NOMEM)
    }
    /// EMFILE if [`Self::insert`] would fail by RLIMIT_NOFILE.
    pub fn check_room(&self) -> Result<(), Errno> {
        let is_full = self.slots.lock().used.first_clear(0) >= self.limit() as usize;
        if is_full { Err(Errno::MFILE) } else { Ok(()) }
    }
    /// `fd` itself now refers to `file` (dup2(2)); gives what it referred to before. EBADF past RLIMIT_NOFILE.
    pub fn replace(
        &self,
        fd: i32,
        file: Arc<OpenFile>,
        close_on_exec: bool,
    ) -> Result<Option<Arc<OpenFile>>, Errno> {
        if fd < 0 || fd as u32 >= self.limit() {
            return Err(Errno::BADF);
        }
        let old = self.slots.lock().put(fd as usize, Slot { file, close_on_exec });
        old.map(|slot| slot.map(|slot| slot.file)).map_err(|_| Errno::NOMEM)
    }
    /// Frees `fd` and gives what it referred to; EBADF.
    pub fn remove(&self, fd: i32) -> Result<Arc<OpenFile>, Errno> {
        let slot = self.slots.lock().take(fd as usize);
        slot.map(|slot| slot.file).ok_or(Errno::BADF)
    }
    /// Whether `fd` is closed by exec.
    pub fn is_close_on_exec(&self, fd: i32) -> Result<bool, Errno> {
        match self.slots.lock().slots.get(fd as usize) {
            Some(Some(slot)) => Ok(slot.close_on_exec),
            _ => Err(Errno::BADF),
        }
    }
    /// Sets whether `fd` is closed by exec.
    pub fn set_close_on_exec(&self, fd: i32, value: bool) -> Result<(), Errno> {
        match self.slots.lock().slots.get_mut(fd as usize) {
            Some(Some(slot)) => {
                slot.close_on_exec = value;
                Ok(())
            }
            _ => Err(Errno::BADF),
        }
    }
    /// RLIMIT_NOFILE: descriptors are below it.
    pub fn limit(&self) -> u32 {
        self.limit.load(Ordering::Relaxed)
    }
    /// Sets RLIMIT_NOFILE, at most [`MAX_LIMIT`].
    pub fn set_limit(&self, limit: u32) {
        self.limit.store(limit.min(MAX_LIMIT), Ordering::Relaxed);
    }
    /// The first descriptor in use from `fd` on.
    pub fn next_from(&self, fd: i32) -> Option<i32> {
        let table = self.slots.lock();
        let from = usize::try_from(fd).ok()?;
        let found = table.slots.get(from..)?.iter().position(Option::is_some)?;
        Some((from + found) as i32)
    }
    /// The number of descriptors up to the last in use.
    pub fn len(&self) -> usize {
        self.slots.lock().slots.iter().rposition(Option::is_some).map_or(0, |last| last + 1)
    }
    /// Takes out those of `first..=last` that `which` holds for, one after the other; the files are dropped without a lock.
    fn remove_each(
        &self,
        first: usize,
        last: usize,
        which: impl Fn(&Slot) -> bool,
        mut closed: impl FnMut(Arc<OpenFile>),
    ) {
        let mut from = first;
        loop {
            let taken = {
                let mut table = self.slots.lock();
                let end = table.slots.len().min(last.saturating_add(1));
                let slots = table.slots.get(from..end).unwrap_or_default();
                let Some(index) = slots.iter().position(|slot| slot.as_ref().is_some_and(&which)) else {
                    break;
                };
                from += index;
                table.take(from)
            };
            from += 1;
            if let Some(slot) = taken {
                closed(slot.file);
            }
            long_call::pause();
        }
    }
    /// Removes all of `first..=last` that are open and hands their files to `closed` (close_range(2)).
    pub fn remove_range(&self, first: u32, last: u32, closed: impl FnMut(Arc<OpenFile>)) {
        self.remove_each(first as usize, last as usize, |_| true, closed);
    }
    /// Marks all of `first..=last` close-on-exec (close_range(2), CLOSE_RANGE_CLOEXEC).
    pub fn mark_range(&self, first: u32, last: u32) {
        let mut table = self.slots.lock();
        let end = table.slots.len().min((last as usize).saturating_add(1));
        for slot in table.slots.get_mut(first as usize..end).unwrap_or_default().iter_mut().flatten() {
            slot.close_on_exec = true;
        }
    }
    /// A copy that shares the open files (fork). ENOMEM.
    pub fn duplicate(&self) -> Result<Self, Errno> {
        let copy = {
            let table = self.slots.lock();
            Slots { slots: table.slots.try_to_vec()?, used: table.used.try_clone()? }
        };
        Ok(Self::with(copy, self.limit()))
    }
    /// Closes those marked close-on-exec (exec).
    pub fn close_on_exec(&self) {
        let pid = crate::this::with(|thread| thread.process.pid);
        self.remove_each(0, usize::MAX, |slot| slot.close_on_exec, |open| closed(open, pid));
    }
    /// Closes everything (exit).
    pub fn close_all(&self) {
        let slots = core::mem::take(&mut *self.slots.lock());
        let pid = crate::this::with(|thread| thread.process.pid);
        for slot in slots.slots.into_iter().flatten() {
            closed(slot.file, pid);
            long_call::pause();
        }
    }
}

coracle_hal::hook! {
    $ pub
    /// Lets go of a file that a descriptor was closed for, which may have been the last way to a socket in flight.
    let_go: fn(alloc::sync::Arc<coracle_core::fs::file::OpenFile>) = "coracle_let_go", given by give_let_go
}

/// Process `pid` closes a descriptor without a call for it (exec, exit).
fn closed(open: Arc<OpenFile>, pid: i32) {
    open.descriptor_closed(pid);
    super::notify::closed(&open);
    let_go()(open);
    later::settle();
    super::notify::settle();
}

/// A process's use of a descriptor table, which others may use as well (clone(2), CLONE_FILES).
pub struct TableUse {
    table: Arc<DescriptorTable>,
    /// A copy of its own that it uses since it executed a program.
    own: Once<Arc<DescriptorTable>>,
    /// The process has ended.
    left: AtomicBool,
}

impl Deref for TableUse {
    type Target = DescriptorTable;
    #[inline(always)]
    fn deref(&self) -> &DescriptorTable {
        self.own.get().unwrap_or(&self.table)
    }
}

impl TableUse {
    /// One more use of `table`.
    pub fn new(table: Arc<DescriptorTable>) -> Self {
        table.users.fetch_add(1, Ordering::Relaxed);
        TableUse { table, own: Once::new(), left: AtomicBool::new(false) }
    }
    /// The table, for another process to share.
    pub fn table(&self) -> Arc<DescriptorTable> {
        self.own.get().unwrap_or(&self.table).clone()
    }
    /// Lets go of a table that others use, for a copy (execve(2)). EAGAIN if the process did so before, and its copy is
    /// shared by now, too; ENOMEM.
    pub fn unshare(&self) -> Result<(), Errno> {
        if self.users.load(Ordering::Acquire) <= 1 {
            return Ok(());
        }
        if self.own.is_completed() {
            return Err(Errno::AGAIN);
        }
        let copy = try_arc(self.duplicate()?)?;
        copy.users.store(1, Ordering::Relaxed);
        self.own.call_once(|| copy);
        self.table.users.fetch_sub(1, Ordering::AcqRel);
        Ok(())
    }
    /// The process ends: its descriptors are closed, unless others use them.
    pub fn leave(&self) {
        if !self.left.swap(true, Ordering::Relaxed) && self.users.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.close_all();
        }
    }
}

impl Drop for TableUse {
    fn drop(&mut self) {
        // A process that never began: what only its table has is closed with that.
        if !*self.left.get_mut() {
            self.users.fetch_sub(1, Ordering::AcqRel);
        }
    }
}
