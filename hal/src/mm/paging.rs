//! Address spaces: page tables of the lower half. Each present entry owns one reference to its frame, so mapped memory is never
//! freed.
//!
//! A lock for each address space serialises changes; the hardware walks the tables meanwhile. A change that takes rights away
//! returns a [`Flush`], which holds the frames that were removed. Dropping it interrupts the CPUs that use the address space,
//! waits until they have dropped their translations, and frees the frames; it must be dropped with no lock held. Work on a
//! range is done in steps, so that the caller can pause between them.
use crate::arch::page_table::{self, entry, is_writable, pte, rights};
use crate::local::Local;
use crate::mm::frame::{self, FRAME_SIZE, Frame, FrameChain};
use crate::mm::layout::{self, LARGE_PAGE};
use crate::tlb;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_fallible::prelude::*;
use coracle_fallible::try_arc;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

bitflags::bitflags! {
    /// Access rights of a page.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Prot: u8 {
        /// May be read.
        const READ = 1;
        /// May be written.
        const WRITE = 2;
        /// May be executed.
        const EXEC = 4;
    }
}

/// Lowest address that a program may map.
pub const USER_START: usize = 0x1_0000;
/// First address past the program's half.
pub const USER_END: usize = 0x7fff_ffff_f000;
/// The program's half, with what nothing is mapped in.
pub const ALL: Range<usize> = 0..1 << 47;

/// Entries in a table.
const ENTRIES: usize = 512;
/// Levels of tables above the pages.
const LEVELS: u32 = 4;
/// Entries, or missing tables, that one step of a long change looks at.
const STEP: usize = 4096;
/// Pages dropped one by one from the TLB; for more, all of it is dropped.
const SINGLE_FLUSHES: usize = 32;

/// Why a mapping failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// No frame for a page table.
    OutOfMemory,
    /// A page is there already.
    Occupied,
}

/// What is mapped at an address.
#[derive(Debug)]
pub struct Mapping {
    /// Another reference to the frame; see `mapped_once` for the count without it.
    pub frame: Frame,
    /// Rights in the page table.
    pub prot: Prot,
    /// Written since mapped.
    pub dirty: bool,
}

/// Stale translations that other CPUs may still hold, and frames that wait for them. Dropping it sends the shoot-downs,
/// waits for the answers and then frees the frames: drop it with no lock held.
#[must_use]
#[derive(Default)]
pub struct Flush {
    /// CPUs that may hold translations.
    cpus: u64,
    /// Freed after `drop` has waited.
    frames: Waiting,
}

impl Flush {
    /// Takes over what `other` would do, so that one shoot-down does for several changes.
    pub fn join(&mut self, mut other: Flush) {
        self.cpus |= core::mem::take(&mut other.cpus);
        self.frames.join(&mut other.frames);
    }
}

/// Frames that wait for a shoot-down. There are the most of them where memory has run out, so that those with no other reference
/// take no memory to remember, nor do the first of the others.
#[derive(Default)]
struct Waiting {
    own: FrameChain,
    few: [Option<Frame>; Waiting::FEW],
    many: Vec<Frame>,
}

impl Waiting {
    const FEW: usize = 2;

    /// Keeps a frame. Without memory to remember it, it is lost to the system rather than reused too early.
    fn push(&mut self, frame: Frame) {
        let Err(frame) = self.own.push(frame) else { return };
        if let Some(place) = self.few.iter_mut().find(|place| place.is_none()) {
            *place = Some(frame);
        } else if self.many.try_reserve(1).is_ok() {
            // The mark below which other allocations are refused does not hold here: what waits is about to be free.
            self.many.push_reserved(frame);
        } else {
            core::mem::forget(frame);
        }
    }

    fn join(&mut self, other: &mut Waiting) {
        self.own.append(&mut other.own);
        if self.many.is_empty() {
            core::mem::swap(&mut self.many, &mut other.many);
        }
        let others = core::mem::take(&mut other.few).into_iter().flatten();
        others.chain(core::mem::take(&mut other.many)).for_each(|frame| self.push(frame));
    }
}

impl Drop for Flush {
    #[inline]
    fn drop(&mut self) {
        if self.cpus != 0 {
            tlb::shoot_down(self.cpus);
        }
    }
}

/// The page tables of one process. All addresses and lengths are multiples of 4096 within `USER_START..USER_END`
/// (a change of anything else panics).
///
/// What is done to a range is done in steps, each of which is short: a step takes what it has done from the start of the range
/// that it is given, and the caller makes steps until that is empty. Between them other CPUs may change the tables.
pub struct AddressSpace {
    /// Physical address of the top table.
    root: u64,
    /// Serialises changes; walks of the hardware go on meanwhile.
    lock: crate::sync::Mutex<()>,
    /// CPUs that use these tables now.
    active: AtomicU64,
    resident: AtomicUsize,
    /// Frames of the tables.
    tables: AtomicUsize,
}

/// How much the page of an entry that owns a frame counts as resident: the page of zeroes takes no memory.
#[inline]
fn weight(entry: u64) -> usize {
    usize::from(!frame::is_zero_page(entry & pte::ADDRESS))
}

/// A table's entry. The hardware sets accessed and dirty bits meanwhile, hence atomic.
///
/// # Safety
/// `table` is a page table of an address space that lives for `'a`.
#[inline(always)]
unsafe fn at<'a>(table: u64, index: usize) -> &'a AtomicU64 {
    // SAFETY: tables are RAM in the direct map; the index is below 512 by the callers' masks.
    unsafe { &*(layout::direct(table) as *const AtomicU64).add(index) }
}

/// How many entries there are before the first that owns a frame. Most of a table is mostly empty, so eight are looked at together.
#[inline(never)]
fn vacant(slots: &[AtomicU64]) -> usize {
    let owned = |slot: &AtomicU64| slot.load(Ordering::Relaxed) & pte::OWNED;
    let (groups, _) = slots.as_chunks::<8>();
    let is_used = |[a, b, c, d, e, f, g, h]: &[AtomicU64; 8]| {
        owned(a) | owned(b) | owned(c) | owned(d) | owned(e) | owned(f) | owned(g) | owned(h) != 0
    };
    let skipped = groups.iter().position(is_used).unwrap_or(groups.len()) * 8;
    let rest = slots.get(skipped..).unwrap_or_default();
    skipped + rest.iter().position(|slot| owned(slot) != 0).unwrap_or(rest.len())
}

#[inline(always)]
fn check(range: &Range<usize>) {
    let fits = range.start >= USER_START
        && range.end <= USER_END
        && range.start <= range.end
        && (range.start | range.end).is_multiple_of(FRAME_SIZE);
    if !fits {
        refuse(range.start, range.end);
    }
}

/// An invalid range is a fault of the kernel. Out of line, for the many places that check.
#[cold]
#[inline(never)]
fn refuse(start: usize, end: usize) -> ! {
    panic!("no pages of the program: {start:x}..{end:x}");
}

/// Collects what a change of several pages leaves to flush.
struct Changes<'a> {
    space: &'a AddressSpace,
    here: bool,
    others: u64,
    pages: usize,
    stale_elsewhere: bool,
    frames: Waiting,
}

impl<'a> Changes<'a> {
    fn new(space: &'a AddressSpace) -> Changes<'a> {
        let active = space.active.load(Ordering::SeqCst);
        let me = 1 << Local::get().id.get();
        Changes {
            space,
            here: active & me != 0,
            others: active & !me,
            pages: 0,
            stale_elsewhere: false,
            frames: Waiting::default(),
        }
    }

    /// The entry of `addr` was `old`: a translation may be cached if it was used (the CPU sets the accessed bit first,
    /// Intel SDM volume 3, 4.10.2.3).
    fn changed(&mut self, addr: usize, old: u64) {
        if old & pte::PRESENT == 0 || old & pte::ACCESSED == 0 {
            return;
        }
        self.stale_elsewhere = true;
        if self.here || page_table::BROADCASTS {
            self.pages += 1;
            if self.pages <= SINGLE_FLUSHES {
                page_table::forget(addr);
            }
        }
    }

    /// A page's frame is not mapped any more.
    fn release(&mut self, frame: Frame) {
        // With many pages, this CPU's stale translations live until `finish`; they are of a program that runs not before.
        if self.others == 0 || frame.is_permanent() {
            drop(frame);
        } else {
            self.frames.push(frame);
        }
    }

    fn finish(self) -> Flush {
        page_table::publish();
        if self.pages > SINGLE_FLUSHES {
            page_table::forget_many();
        }
        // A CPU that came after the entries changed reads the new ones; one that was there before is in this mask.
        let is_stale = self.stale_elsewhere && !page_table::BROADCASTS;
        let others = if is_stale { self.space.active.load(Ordering::SeqCst) | self.others } else { 0 };
        let me = 1 << Local::get().id.get();
        Flush { cpus: others & !me, frames: self.frames }
    }
}

impl AddressSpace {
    /// An empty lower half.
    pub fn new() -> Option<Arc<AddressSpace>> {
        let root = Frame::alloc()?;
        root.zero(0, page_table::SHARED_ENTRIES.start * 8);
        for index in page_table::SHARED_ENTRIES {
            // SAFETY: the kernel's table lives for ever; the new one is ours.
            unsafe {
                let shared = at(crate::boot::root_table(), index).load(Ordering::Relaxed);
                at(root.phys(), index).store(shared, Ordering::Relaxed);
            }
        }
        let space = AddressSpace {
            root: root.phys(),
            lock: crate::sync::Mutex::new(()),
            active: AtomicU64::new(0),
            resident: AtomicUsize::new(0),
            tables: AtomicUsize::new(1),
        };
        core::mem::forget(root);
        try_arc(space).ok()
    }

    /// The last-level entry for `addr`, if its table is there.
    #[inline(always)]
    fn find(&self, addr: usize) -> Option<&AtomicU64> {
        let mut table = self.root;
        for level in (1..LEVELS).rev() {
            // SAFETY: our own tables, freed only with `self`.
            let next = unsafe { at(table, addr >> (12 + 9 * level) & 511) }.load(Ordering::Relaxed);
            if next & pte::PRESENT == 0 {
                return None;
            }
            table = next & pte::ADDRESS;
        }
        // SAFETY: as above.
        Some(unsafe { at(table, addr >> 12 & 511) })
    }

    /// The same, with the missing tables made. The lock is held.
    #[inline(always)]
    fn make(&self, addr: usize) -> Result<&AtomicU64, MapError> {
        let mut table = self.root;
        for level in (1..LEVELS).rev() {
            // SAFETY: our own tables, freed only with `self`.
            let slot = unsafe { at(table, addr >> (12 + 9 * level) & 511) };
            let mut next = slot.load(Ordering::Relaxed);
            if next & pte::PRESENT == 0 {
                let frame = Frame::alloc_zeroed().ok_or(MapError::OutOfMemory)?;
                next = page_table::table_of_programs(frame.into_phys());
                slot.store(next, Ordering::Release);
                self.tables.fetch_add(1, Ordering::Relaxed);
            }
            table = next & pte::ADDRESS;
        }
        // SAFETY: as above.
        Ok(unsafe { at(table, addr >> 12 & 511) })
    }

    /// Calls `f` for each entry at the start of `rest` that owns a frame, for as many as a step takes; skips what has no
    /// tables.
    fn each(&self, rest: &mut Range<usize>, mut f: impl FnMut(usize, &AtomicU64)) {
        let mut left = STEP;
        while rest.start < rest.end && left > 0 {
            let mut addr = rest.start;
            // The largest piece without a table.
            let mut table = self.root;
            let mut missing = None;
            for level in (1..LEVELS).rev() {
                // SAFETY: our own tables, freed only with `self`.
                let next = unsafe { at(table, addr >> (12 + 9 * level) & 511) }.load(Ordering::Relaxed);
                if next & pte::PRESENT == 0 {
                    missing = Some(1usize << (12 + 9 * level));
                    break;
                }
                table = next & pte::ADDRESS;
            }
            if let Some(size) = missing {
                rest.start = ((addr | (size - 1)) + 1).min(rest.end);
                left -= 1;
                continue;
            }
            let end = ((addr | (LARGE_PAGE - 1)) + 1).min(rest.end);
            rest.start = end;
            let count = (end - addr) / FRAME_SIZE;
            left = left.saturating_sub(count);
            // SAFETY: as above; the range ends with the table.
            let mut slots = unsafe { core::slice::from_raw_parts(at(table, addr >> 12 & 511), count) };
            while let [slot, behind @ ..] = slots {
                if slot.load(Ordering::Relaxed) & pte::OWNED != 0 {
                    f(addr, slot);
                    slots = behind;
                    addr += FRAME_SIZE;
                } else {
                    let vacant = vacant(slots);
                    slots = &slots[vacant..];
                    addr += vacant * FRAME_SIZE;
                }
            }
        }
    }

    /// The last-level entry of any address, for the walk of a machine whose CPUs are a host's.
    #[cfg(all(not(target_os = "none"), target_arch = "x86_64"))]
    pub(crate) fn entry_of(&self, addr: usize) -> Option<&AtomicU64> {
        if (USER_START..USER_END).contains(&addr) { self.find(addr) } else { None }
    }

    /// Maps `frame` at `addr`. A PROT of nothing is kept as not present.
    pub fn map(&self, addr: usize, frame: Frame, prot: Prot) -> Result<(), MapError> {
        check(&(addr..addr + FRAME_SIZE));
        let _guard = self.lock.lock();
        let slot = self.make(addr)?;
        if slot.load(Ordering::Relaxed) & pte::OWNED != 0 {
            return Err(MapError::Occupied);
        }
        let new = entry(frame.into_phys(), prot);
        slot.store(new, Ordering::Release);
        page_table::publish();
        self.resident.fetch_add(weight(new), Ordering::Relaxed);
        Ok(())
    }
    /// Maps those of `pages` that there are at `start` and behind where nothing is mapped; the others stay. All lie in one table of
    /// pages, else those in the first one are mapped.
    pub fn map_free(&self, start: usize, pages: &mut [Option<Frame>], prot: Prot) -> Result<(), MapError> {
        let end = (start + pages.len() * FRAME_SIZE).min((start | (LARGE_PAGE - 1)) + 1);
        check(&(start..end));
        let _guard = self.lock.lock();
        let mut slot = core::ptr::from_ref(self.make(start)?);
        let mut resident = 0;
        for (_, page) in (start..end).step_by(FRAME_SIZE).zip(pages) {
            // SAFETY: an entry of our own tables, which are freed only with `self`; those of a table lie one after the other.
            let entry_here = unsafe { &*slot };
            if entry_here.load(Ordering::Relaxed) & pte::OWNED == 0
                && let Some(frame) = page.take()
            {
                let new = entry(frame.into_phys(), prot);
                entry_here.store(new, Ordering::Release);
                resident += weight(new);
            }
            slot = slot.wrapping_add(1);
        }
        page_table::publish();
        self.resident.fetch_add(resident, Ordering::Relaxed);
        Ok(())
    }
    /// Puts `frame` in place of what is at `addr` (copy on write).
    pub fn replace(&self, addr: usize, frame: Frame, prot: Prot) -> Result<Flush, MapError> {
        check(&(addr..addr + FRAME_SIZE));
        let _guard = self.lock.lock();
        let slot = self.make(addr)?;
        let new = entry(frame.into_phys(), prot);
        let old = page_table::exchange(slot, addr, new);
        let mut changes = Changes::new(self);
        changes.changed(addr, old);
        self.resident.fetch_add(weight(new), Ordering::Relaxed);
        if old & pte::OWNED != 0 {
            self.resident.fetch_sub(weight(old), Ordering::Relaxed);
            // SAFETY: the entry owned this reference.
            changes.release(unsafe { Frame::from_phys(old & pte::ADDRESS) });
        }
        Ok(changes.finish())
    }
    /// Changes the rights of pages present at the start of `rest`.
    pub fn protect(&self, rest: &mut Range<usize>, prot: Prot) -> Flush {
        check(rest);
        let _guard = self.lock.lock();
        let mut changes = Changes::new(self);
        self.each(rest, |addr, slot| {
            let mut old = slot.load(Ordering::Relaxed);
            let wanted = loop {
                let wanted = entry(old & pte::ADDRESS, prot) | old & (pte::ACCESSED | pte::DIRTY);
                // The CPU may set a bit between; then once more.
                match slot.compare_exchange_weak(old, wanted, Ordering::AcqRel, Ordering::Relaxed) {
                    Ok(_) => break wanted,
                    Err(found) => old = found,
                }
            };
            if page_table::must_forget(old, wanted) {
                changes.changed(addr, old);
            }
        });
        changes.finish()
    }
    /// Removes pages present at the start of `rest`.
    pub fn unmap(&self, rest: &mut Range<usize>) -> Flush {
        self.unmap_those(rest, |_| true)
    }
    /// Removes those whose frames have one of these physical addresses, which ascend.
    pub fn unmap_frames(&self, rest: &mut Range<usize>, frames: &[u64]) -> Flush {
        self.unmap_those(rest, |frame| frames.binary_search(&frame).is_ok())
    }
    #[inline(always)]
    fn unmap_those(&self, rest: &mut Range<usize>, is_wanted: impl Fn(u64) -> bool) -> Flush {
        check(rest);
        let _guard = self.lock.lock();
        let mut changes = Changes::new(self);
        let mut gone = 0;
        self.each(rest, |addr, slot| {
            if !is_wanted(slot.load(Ordering::Relaxed) & pte::ADDRESS) {
                return;
            }
            let old = slot.swap(0, Ordering::AcqRel);
            changes.changed(addr, old);
            // SAFETY: the entry owned this reference.
            changes.release(unsafe { Frame::from_phys(old & pte::ADDRESS) });
            gone += weight(old);
        });
        self.resident.fetch_sub(gone, Ordering::Relaxed);
        changes.finish()
    }
    /// What is mapped at `addr`, a multiple of 4096: nothing, outside the program's addresses.
    pub fn query(&self, addr: usize) -> Option<Mapping> {
        if !(USER_START..USER_END).contains(&addr) {
            return None;
        }
        let _guard = self.lock.lock();
        let entry = self.find(addr)?.load(Ordering::Relaxed);
        if entry & pte::OWNED == 0 {
            return None;
        }
        // SAFETY: borrows the entry's reference for the time of a clone; the lock keeps it there.
        let frame = core::mem::ManuallyDrop::new(unsafe { Frame::from_phys(entry & pte::ADDRESS) });
        Some(Mapping { frame: (*frame).clone(), prot: rights(entry), dirty: page_table::is_dirty(entry) })
    }
    /// Appends the frames of the pages that are there with all these rights, from the start of `range` on up to one that is not.
    /// `frames` has room for them all.
    pub fn frames(&self, range: Range<usize>, wanted: Prot, frames: &mut Vec<Frame>) {
        check(&range);
        let _guard = self.lock.lock();
        let mut table = None;
        // The rights' bits of the last entry that was found to be good; first those of none.
        let mut good = u64::MAX;
        for addr in range.step_by(FRAME_SIZE) {
            if addr.is_multiple_of(LARGE_PAGE) {
                table = None;
            }
            // The entries of a table lie one after the other.
            let slot = match table {
                Some(slot) => Some(slot),
                None => self.find(addr).map(core::ptr::from_ref),
            };
            let Some(slot) = slot else { return };
            // SAFETY: an entry of our own tables, which are freed only with `self`.
            let entry = unsafe { (*slot).load(Ordering::Relaxed) };
            // Neighbours mostly have the same rights.
            let bits = entry & !pte::ADDRESS;
            if bits != good {
                if entry & pte::OWNED == 0 || !rights(entry).contains(wanted) {
                    return;
                }
                good = bits;
            }
            // SAFETY: as in `query`.
            let frame = core::mem::ManuallyDrop::new(unsafe { Frame::from_phys(entry & pte::ADDRESS) });
            frames.push_reserved((*frame).clone());
            table = Some(slot.wrapping_add(1));
        }
    }
    /// True if the page at `addr` is present and its frame has no other reference.
    pub fn mapped_once(&self, addr: usize) -> bool {
        if !(USER_START..USER_END).contains(&addr) {
            return false;
        }
        let _guard = self.lock.lock();
        let Some(slot) = self.find(addr) else { return false };
        let entry = slot.load(Ordering::Relaxed);
        // SAFETY: as in `query`.
        let frame = core::mem::ManuallyDrop::new(unsafe { Frame::from_phys(entry & pte::ADDRESS) });
        entry & pte::OWNED != 0 && frame.is_unique()
    }
    /// Moves pages present at the start of `rest` to `to` and behind (mremap). The ranges must not overlap; pages that cannot be
    /// moved stay where they were. What is to be flushed, also after an error, joins `flush`.
    pub fn move_range(&self, rest: &mut Range<usize>, to: usize, flush: &mut Flush) -> Result<(), MapError> {
        let Range { start: from, end } = *rest;
        check(rest);
        check(&(to..to + rest.len()));
        assert!(end <= to || to + rest.len() <= from, "overlapping ranges");
        let _guard = self.lock.lock();
        let mut changes = Changes::new(self);
        let mut result = Ok(());
        self.each(rest, |addr, slot| {
            if result.is_err() {
                return;
            }
            match self.make(addr - from + to) {
                Ok(target) if target.load(Ordering::Relaxed) & pte::OWNED != 0 => {
                    result = Err(MapError::Occupied)
                }
                Ok(target) => {
                    let old = slot.swap(0, Ordering::AcqRel);
                    changes.changed(addr, old);
                    target.store(page_table::not_used(old), Ordering::Release);
                }
                Err(error) => result = Err(error),
            }
        });
        flush.join(changes.finish());
        result
    }
    /// Shares pages present at the start of `rest` with `child`, writable ones read-only in both if `private` (fork).
    /// What is to be flushed, also after an error, joins `flush`.
    pub fn share(
        &self,
        child: &AddressSpace,
        rest: &mut Range<usize>,
        private: bool,
        flush: &mut Flush,
    ) -> Result<(), MapError> {
        check(rest);
        // Parent before child: a child has no child of its own yet.
        let _guard = self.lock.lock();
        let _child_guard = child.lock.lock();
        let mut changes = Changes::new(self);
        let mut result = Ok(());
        self.each(rest, |addr, slot| {
            if result.is_err() {
                return;
            }
            let target = match child.make(addr) {
                Ok(target) => target,
                Err(error) => return result = Err(error),
            };
            if target.load(Ordering::Relaxed) & pte::OWNED != 0 {
                return result = Err(MapError::Occupied);
            }
            let old = if private { page_table::take_write(slot) } else { slot.load(Ordering::Relaxed) };
            if private && is_writable(old) {
                changes.changed(addr, old);
            }
            let mut shared = page_table::not_used(old) & !pte::DIRTY;
            if private {
                shared = page_table::without_write(shared);
            }
            // SAFETY: as in `query`.
            let frame = core::mem::ManuallyDrop::new(unsafe { Frame::from_phys(old & pte::ADDRESS) });
            core::mem::forget((*frame).clone());
            target.store(shared, Ordering::Release);
            child.resident.fetch_add(weight(shared), Ordering::Relaxed);
        });
        flush.join(changes.finish());
        result
    }
    /// Pages present at the start of `rest` whose frames are the image's own: they take no memory of their own.
    pub fn image_pages(&self, rest: &mut Range<usize>) -> usize {
        check(rest);
        let _guard = self.lock.lock();
        let mut count = 0;
        self.each(rest, |_, slot| {
            // SAFETY: borrows the entry's reference while the lock keeps it there.
            let frame = unsafe { Frame::from_phys(slot.load(Ordering::Relaxed) & pte::ADDRESS) };
            count += usize::from(core::mem::ManuallyDrop::new(frame).is_image());
        });
        count
    }
    /// Pages present now, but for those that are the page of zeroes.
    pub fn resident(&self) -> usize {
        self.resident.load(Ordering::Relaxed)
    }
    /// The same at the start of `rest`.
    pub fn resident_in(&self, rest: &mut Range<usize>) -> usize {
        check(rest);
        let _guard = self.lock.lock();
        let mut count = 0;
        self.each(rest, |_, slot| count += weight(slot.load(Ordering::Relaxed)));
        count
    }
    /// Calls `f` with the number of references of each page present at the start of `rest` (`None`: its frame is the image's), but for those that
    /// are the page of zeroes.
    pub fn references_in(&self, rest: &mut Range<usize>, f: &mut dyn FnMut(Option<u32>)) {
        check(rest);
        let _guard = self.lock.lock();
        self.each(rest, |_, slot| {
            let entry = slot.load(Ordering::Relaxed);
            if weight(entry) != 0 {
                // SAFETY: borrows the entry's reference while the lock keeps it there.
                let frame = unsafe { Frame::from_phys(entry & pte::ADDRESS) };
                f(core::mem::ManuallyDrop::new(frame).references());
            }
        });
    }
    /// Frees pages and their tables at the start of `rest`, which begins as [`ALL`]: what is not used any more is gone when it is
    /// dropped, but that is one step, however many pages there are.
    pub fn free(&mut self, rest: &mut Range<usize>) {
        debug_assert!(self.active.load(Ordering::Relaxed) == 0);
        // SAFETY: no CPU uses the tables (each that does holds a reference), so all of them are ours to free.
        unsafe { free_part(self.root, LEVELS, rest, &mut { STEP }) };
    }
    /// Frames that the page tables take.
    pub fn tables(&self) -> usize {
        self.tables.load(Ordering::Relaxed)
    }
    /// Makes this CPU use this address space.
    #[inline]
    pub fn activate(self: &Arc<Self>) {
        let local = Local::get();
        if core::ptr::eq(local.space.get(), Arc::as_ptr(self)) {
            return;
        }
        self.active.fetch_or(1 << local.id.get(), Ordering::SeqCst);
        // SAFETY: the upper half is the kernel's own; the lower half's pages are the program's.
        unsafe { page_table::set_root(self.root) };
        leave(local);
        local.space.set(Arc::into_raw(Arc::clone(self)));
    }
}

/// This CPU does not use its last address space any more.
fn leave(local: &Local) {
    let old = local.space.replace(core::ptr::null());
    if !old.is_null() {
        // SAFETY: `activate` leaked this reference.
        let old = unsafe { Arc::from_raw(old) };
        old.active.fetch_and(!(1 << local.id.get()), Ordering::SeqCst);
    }
}

/// Makes this CPU use the kernel's own tables: no program is mapped.
pub fn activate_kernel() {
    let local = Local::get();
    if local.space.get().is_null() {
        return;
    }
    // SAFETY: the kernel's tables.
    unsafe { page_table::set_no_root() };
    leave(local);
}

impl Drop for AddressSpace {
    fn drop(&mut self) {
        debug_assert!(self.active.load(Ordering::Relaxed) == 0);
        // SAFETY: no CPU uses the tables (each that does holds a reference), so all of them are ours to free; `new` gave the
        // reference to the top one away.
        unsafe {
            free_part(self.root, LEVELS, &mut { ALL }, &mut { usize::MAX });
            drop(Frame::from_phys(self.root));
        }
    }
}

/// Frees pages, and tables of which nothing is left, below the table of `level` that the start of `rest` lies in: from there on,
/// until all below that table, all of `rest`, or `left` entries are done. What is done is taken from `rest` and `left`.
///
/// # Safety
/// Nothing uses the tables.
unsafe fn free_part(table: u64, level: u32, rest: &mut Range<usize>, left: &mut usize) {
    let size = 1 << (12 + 9 * (level - 1));
    while rest.start < rest.end && *left > 0 {
        let index = rest.start / size % ENTRIES;
        let next = (rest.start | (size - 1)) + 1;
        // SAFETY: the caller owns the table and what its entries own.
        unsafe {
            let slot = at(table, index);
            let entry = slot.load(Ordering::Relaxed);
            if level > 1 && entry & pte::PRESENT != 0 {
                free_part(entry & pte::ADDRESS, level - 1, rest, left);
                if rest.start < next {
                    return;
                }
                slot.store(0, Ordering::Relaxed);
                // `make` gave the reference away.
                drop(Frame::from_phys(entry & pte::ADDRESS));
            } else {
                if level == 1 && entry & pte::OWNED != 0 {
                    slot.store(0, Ordering::Relaxed);
                    drop(Frame::from_phys(entry & pte::ADDRESS));
                }
                rest.start = next;
                *left -= 1;
            }
        }
        if index == ENTRIES - 1 {
            return;
        }
    }
}
