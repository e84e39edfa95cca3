//! Page faults: demand paging, copy on write, growing stacks.
use super::limits::SpaceLimits;
use super::memory::{Layout, Memory, PAGE_SIZE, STACK_GUARD_GAP, page_down};
use super::reclaim;
use super::user::Access;
use super::vma::{Backing, Vma, VmaFlags, table_rights};
use crate::errno::Errno;
use crate::fs::file::{File, MOST_AROUND};
use crate::task::long_call;
use crate::task::thread::Thread;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_hal::frame::Frame;
use coracle_hal::paging::{MapError, Prot, USER_END, USER_START};
use coracle_hal::sync::atomic::Ordering::Relaxed;
use core::ops::Range;

/// Why an access can't be allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// Nothing is mapped there (SIGSEGV, SEGV_MAPERR).
    NotMapped,
    /// The mapping doesn't allow it (SIGSEGV, SEGV_ACCERR).
    Access,
    /// The file has no such page (SIGBUS, BUS_ADRERR).
    NoPage,
    /// The machine has no memory left (SIGKILL).
    OutOfMemory,
    /// The process is about to end, and so does a call that is long.
    Ending,
}

coracle_hal::hook! {
    $
    /// Has a process ended whose memory a page fault of the running thread can then have. False: it is the running one, or that
    /// is being ended already; the fault fails. Called with no lock held.
    make_room: fn() -> bool = "coracle_make_room", given by give_make_room
}

/// Makes the page at `addr` of the running program's memory fit for `access`, or says why not.
pub fn resolve_current(addr: usize, access: Access) -> Result<(), Refused> {
    let memory = crate::this::with(|thread| thread.process.memory());
    loop {
        match memory.resolve_with_caches(addr, access) {
            Ok(Resolution::Changed) => return Ok(()),
            Ok(Resolution::Unchanged) => {
                return crate::this::with(|thread| note_fruitless(thread, addr, access));
            }
            Err(Refused::OutOfMemory) if make_room()() => {}
            Err(refused) => return Err(refused),
        }
    }
}

/// Faults in a row, at one address, that a thread may take although the page table allows the access: another CPU may have
/// been faster with its change, but not so often.
const MAX_FRUITLESS: u32 = 1000;

/// A fault changed nothing. A thread that meets only such faults would take the same one for ever: it is refused.
#[cold]
fn note_fruitless(thread: &Thread, addr: usize, access: Access) -> Result<(), Refused> {
    let count = if thread.fruitless_fault.swap(addr, Relaxed) == addr {
        thread.fruitless_faults.load(Relaxed)
    } else {
        0
    };
    thread.fruitless_faults.store(count + 1, Relaxed);
    if count < MAX_FRUITLESS {
        return Ok(());
    }
    thread.fruitless_faults.store(0, Relaxed);
    log!(
        "thread {} faults at {addr:#x} ({access:?}) again and again, though the page table allows it: it gets SIGSEGV. \
         This is a fault of the kernel or of the hypervisor; please report it.",
        thread.tid()
    );
    Err(Refused::Access)
}

/// What resolving a fault did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Resolution {
    /// The page table allows more than before, or the layout changed meanwhile.
    Changed,
    /// The page table allowed the access already.
    Unchanged,
}

impl Memory {
    /// Makes the page at `addr` fit for `access`, or says why not. Hold no file or socket lock.
    pub fn resolve(&self, addr: usize, access: Access) -> Result<(), Refused> {
        self.resolve_with_caches(addr, access).map(drop)
    }

    /// [`Memory::resolve_once`], with memory that caches give back if there is no other.
    fn resolve_with_caches(&self, addr: usize, access: Access) -> Result<Resolution, Refused> {
        loop {
            match self.resolve_once(addr, access) {
                Err(Refused::OutOfMemory) if !self.is_given_up() && reclaim::make_room() => {}
                result => {
                    reclaim::balance();
                    return result;
                }
            }
        }
    }

    fn resolve_once(&self, addr: usize, access: Access) -> Result<Resolution, Refused> {
        if !(USER_START..USER_END).contains(&addr) {
            return Err(Refused::NotMapped);
        }
        let page = page_down(addr);
        loop {
            let mut layout = self.layout();
            if layout.given_up {
                return Err(Refused::OutOfMemory);
            }
            let (range, vma) = match layout.regions.find(addr) {
                Some((range, vma)) => (range, vma),
                None => {
                    grow_stack(&mut layout, page, SpaceLimits::of_caller(self))?;
                    continue;
                }
            };
            if vma.flags.contains(VmaFlags::GUARD) {
                return Err(Refused::NotMapped);
            }
            let allowed = match access {
                Access::Read => !vma.prot.is_empty(),
                Access::Write => vma.prot.contains(Prot::WRITE),
                Access::Execute => vma.prot.contains(Prot::EXEC),
            };
            if !allowed {
                return Err(Refused::Access);
            }
            let write = access == Access::Write;
            let present = self.space.query(page);
            match &vma.backing {
                _ if let Some(found) = present => {
                    // Another CPU was faster.
                    if access.is_allowed_by(found.prot) {
                        return Ok(Resolution::Unchanged);
                    }
                    drop(found);
                    // Shared until written, or mprotect(2) gave rights back that the page table lacks.
                    let (prot, shared) = (vma.prot, vma.shared());
                    let flush = if !write {
                        Some(self.space.protect(&mut (page..page + PAGE_SIZE), table_rights(prot, shared)))
                    } else if shared || self.space.mapped_once(page) {
                        Some(self.space.protect(&mut (page..page + PAGE_SIZE), table_rights(prot, true)))
                    } else {
                        self.unshare(page, table_rights(prot, true))?
                    };
                    drop(layout);
                    drop(flush);
                    return Ok(Resolution::Changed);
                }
                Backing::Anonymous => {
                    let frame = if write {
                        Frame::alloc_zeroed().ok_or(Refused::OutOfMemory)?
                    } else {
                        Frame::zero_page()
                    };
                    return match self.space.map(page, frame, table_rights(vma.prot, write)) {
                        Err(MapError::OutOfMemory) => Err(Refused::OutOfMemory),
                        Ok(()) | Err(MapError::Occupied) => Ok(Resolution::Changed),
                    };
                }
                Backing::Placed => return Err(Refused::NoPage),
                Backing::File { file, offset } => {
                    let (file, vma, offset) = (file.clone(), vma.clone(), *offset);
                    let generation = layout.generation;
                    drop(layout);
                    if self.map_file_page(page, write, range, &vma, &file, offset, generation)? {
                        return Ok(Resolution::Changed);
                    }
                }
            }
        }
    }

    /// A private copy of the shared page at `page`.
    fn unshare(&self, page: usize, prot: Prot) -> Result<Option<coracle_hal::paging::Flush>, Refused> {
        let Some(old) = self.space.query(page) else { return Ok(None) };
        let copy = if old.frame.is_zero_page() {
            Frame::alloc_zeroed().ok_or(Refused::OutOfMemory)?
        } else {
            let copy = Frame::alloc().ok_or(Refused::OutOfMemory)?;
            copy.copy_from(&old.frame);
            copy
        };
        self.space.replace(page, copy, prot).map(Some).map_err(|_| Refused::OutOfMemory)
    }

    /// Maps a page of a file that isn't present. Gives false if the mapping changed meanwhile: look again.
    #[allow(clippy::too_many_arguments)]
    fn map_file_page(
        &self,
        page: usize,
        write: bool,
        range: Range<usize>,
        vma: &Vma,
        file: &Arc<dyn File>,
        offset: u64,
        generation: u64,
    ) -> Result<bool, Refused> {
        let index_of = |addr: usize| (offset + (addr - range.start) as u64) / PAGE_SIZE as u64;
        // mprotect(2) may let it be written later, when the page is in place.
        let for_write = vma.shared() && vma.flags.contains(VmaFlags::MAY_WRITE);
        let mut frame = file.page(index_of(page), for_write).map_err(|error| match error {
            Errno::NOMEM => Refused::OutOfMemory,
            _ => Refused::NoPage,
        })?;
        let rights = table_rights(vma.prot, vma.shared() || write);
        if vma.shared() && write {
            file.mapping_written();
        }
        if !vma.shared() && write {
            let copy = Frame::alloc().ok_or(Refused::OutOfMemory)?;
            copy.copy_from(&frame);
            frame = copy;
        }
        let around = (!write && !for_write).then(|| around(page, &range, file.fault_around()));
        let layout = self.layout();
        if layout.generation != generation {
            return Ok(false);
        }
        match self.space.map(page, frame, rights) {
            Err(MapError::OutOfMemory) => return Err(Refused::OutOfMemory),
            // Another CPU was faster.
            Err(MapError::Occupied) => return Ok(true),
            Ok(()) => {}
        }
        drop(layout);
        if let Some(window) = around {
            let mut pages = [const { None }; MOST_AROUND];
            let pages = &mut pages[..window.len() / PAGE_SIZE];
            file.pages_at_hand(index_of(window.start), pages);
            let layout = self.layout();
            if layout.generation == generation {
                // The window lies in one table. Without memory for it the page itself could not have been mapped.
                let _ = self.space.map_free(window.start, pages, rights);
            }
        }
        Ok(true)
    }

    /// Makes all pages of the range present, so that none need be made later: private pages that may be written to are written
    /// to (MAP_POPULATE, mlock(2); Linux's `populate_vma_page_range`). Those that are locked when they are touched are left alone.
    pub fn populate_for_good(&self, range: Range<usize>) -> Result<(), Refused> {
        let mut at = range.start;
        while at < range.end {
            let (part, access, later) = {
                let layout = self.layout();
                let Some((part, vma)) = layout.regions.parts(at..range.end).next() else { return Ok(()) };
                let write = vma.prot.contains(Prot::WRITE) && !vma.shared();
                let later =
                    vma.flags.contains(VmaFlags::LOCKED_ON_FAULT) || matches!(vma.backing, Backing::Placed);
                (part, if write { Access::Write } else { Access::Read }, later)
            };
            at = part.end;
            if !later {
                self.populate(part, access)?;
            }
        }
        Ok(())
    }

    /// Makes all pages of the range present for `access` (MADV_POPULATE_READ, MADV_POPULATE_WRITE).
    /// A secret page is made by an access of its own process alone.
    pub fn populate(&self, range: Range<usize>, access: Access) -> Result<(), Refused> {
        self.check_not_secret(range.start, range.len()).map_err(|_| Refused::Access)?;
        range.step_by(PAGE_SIZE).try_for_each(|page| {
            long_call::pause_unless_killed().map_err(|_| Refused::Ending)?;
            if self.space.query(page).is_some_and(|mapping| access.is_allowed_by(mapping.prot)) {
                return Ok(());
            }
            self.resolve(page, access)
        })
    }
}

/// The window of so many pages around `page`, as far as it lies in the mapping.
fn around(page: usize, range: &Range<usize>, pages: usize) -> Range<usize> {
    let window = pages.clamp(1, MOST_AROUND) * PAGE_SIZE;
    let start = page & !(window - 1);
    start.max(range.start)..(start + window).min(range.end)
}

/// Extends the stack that lies above `page` down to it.
fn grow_stack(layout: &mut Layout, page: usize, limits: SpaceLimits) -> Result<(), Refused> {
    let (range, vma) = layout.regions.find_at_or_after(page).ok_or(Refused::NotMapped)?;
    if !vma.flags.contains(VmaFlags::GROWS_DOWN) || range.end - page > layout.stack_limit {
        return Err(Refused::NotMapped);
    }
    if layout.regions.find_before(page + 1).is_some_and(|(below, _)| below.end + STACK_GUARD_GAP > page) {
        return Err(Refused::NotMapped);
    }
    let locked = layout.regions.locked_bytes() + (range.start - page);
    if vma.flags.contains(VmaFlags::LOCKED) && locked as u64 > layout.lock_limit {
        return Err(Refused::NotMapped);
    }
    if layout.check_space(limits, range.start - page, vma).is_err() {
        return Err(Refused::NotMapped);
    }
    if !layout.regions.grow_down(range.start, page) {
        return Err(Refused::NotMapped);
    }
    layout.changed();
    Ok(())
}

impl Memory {
    /// Writes `bytes` at `addr` whether or not this memory is the running one. The mapping must be writable.
    pub fn write(&self, addr: usize, bytes: &[u8]) -> Result<(), Refused> {
        self.each_page(addr, bytes.len(), Access::Write, |frame, offset, part| {
            frame.write(offset, &bytes[part])
        })
    }

    /// Zeroes `len` bytes at `addr`, as [`Memory::write`].
    pub fn zero(&self, addr: usize, len: usize) -> Result<(), Refused> {
        self.each_page(addr, len, Access::Write, |frame, offset, part| frame.zero(offset, part.len()))
    }

    /// Reads from `addr` whether or not this memory is the running one.
    pub fn read(&self, addr: usize, dst: &mut [u8]) -> Result<(), Refused> {
        self.each_page(addr, dst.len(), Access::Read, |frame, offset, part| {
            frame.read(offset, &mut dst[part])
        })
    }

    /// Appends the frames of all pages that `len` bytes at `addr` are in to `frames`, which has room for them.
    pub fn frames(
        &self,
        addr: usize,
        len: usize,
        access: Access,
        frames: &mut Vec<Frame>,
    ) -> Result<(), Refused> {
        let rights = match access {
            Access::Read => Prot::READ,
            Access::Write => Prot::WRITE,
            Access::Execute => Prot::EXEC,
        };
        let end = addr.checked_add(len).filter(|&end| addr >= USER_START && end <= USER_END);
        let end = end.ok_or(Refused::NotMapped)?.next_multiple_of(PAGE_SIZE);
        self.check_not_secret(addr, len)?;
        let (first, before) = (page_down(addr), frames.len());
        loop {
            let next = |frames: &Vec<Frame>| first + (frames.len() - before) * PAGE_SIZE;
            self.space.frames(next(frames)..end, rights, frames);
            if next(frames) >= end {
                return Ok(());
            }
            self.resolve(next(frames), access)?;
        }
    }

    /// Calls `f` with each page's frame, the offset in it, and the part of the bytes that it is about.
    fn each_page(
        &self,
        addr: usize,
        len: usize,
        access: Access,
        mut f: impl FnMut(&Frame, usize, Range<usize>),
    ) -> Result<(), Refused> {
        let mut done = 0;
        while done < len {
            let at = addr
                .checked_add(done)
                .filter(|at| (USER_START..USER_END).contains(at))
                .ok_or(Refused::NotMapped)?;
            let page = page_down(at);
            let mapping = self.space.query(page).filter(|mapping| access.is_allowed_by(mapping.prot));
            let Some(mapping) = mapping else {
                self.resolve(at, access)?;
                continue;
            };
            let part = (PAGE_SIZE - (at - page)).min(len - done);
            f(&mapping.frame, at - page, done..done + part);
            done += part;
        }
        Ok(())
    }
}
