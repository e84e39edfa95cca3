//! Changes of a memory's layout: mmap(2), munmap(2), mprotect(2), mremap(2), madvise(2), brk(2).
use super::memory::{Memory, PAGE_SIZE, page_down, page_range, page_up};
use super::user::Access;
use super::vma::{Backing, Vma, VmaFlags};
use crate::errno::Errno;
use coracle_hal::paging::{Flush, Prot, USER_END, USER_START};
use core::ops::Range;

/// Mappings of a process at most (Linux's vm.max_map_count).
pub const MAX_MAPPINGS: usize = 65_530;
/// MAP_32BIT: below 2 GiB.
const LOW_END: usize = 1 << 31;

/// Where a mapping is to lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Anywhere, here if it is free (0: no wish).
    Hint(usize),
    /// Anywhere below 2 GiB (MAP_32BIT).
    Low,
    /// Here, in place of what is there (MAP_FIXED).
    Fixed(usize),
    /// Here, EEXIST if something is there (MAP_FIXED_NOREPLACE).
    FixedNoReplace(usize),
}

impl Memory {
    /// Maps `len` bytes (not 0). Gives the address. EINVAL, ENOMEM, EEXIST, EPERM.
    pub fn map(&self, place: Place, len: usize, vma: Vma, populate: bool) -> Result<usize, Errno> {
        let len = page_up(len).filter(|&len| len != 0 && len <= USER_END).ok_or(Errno::NOMEM)?;
        let access = if vma.prot.contains(Prot::WRITE) { Access::Write } else { Access::Read };
        let accessible = !vma.prot.is_empty();
        let mut flush = None;
        let mut removed = alloc::vec::Vec::new();
        let start = {
            let mut layout = self.layout.lock();
            if layout.regions.len() >= MAX_MAPPINGS {
                return Err(Errno::NOMEM);
            }
            let start = match place {
                Place::Hint(wish) => {
                    let wish = page_down(wish);
                    let fits = wish >= USER_START
                        && wish
                            .checked_add(len)
                            .is_some_and(|end| end <= USER_END && layout.regions.is_free(wish..end));
                    if fits { wish } else { layout.find_free(len, USER_END).ok_or(Errno::NOMEM)? }
                }
                Place::Low => layout.find_free(len, LOW_END).ok_or(Errno::NOMEM)?,
                Place::Fixed(addr) | Place::FixedNoReplace(addr) => {
                    let range = page_range(addr, len, Errno::NOMEM)?;
                    if addr < USER_START {
                        return Err(Errno::PERM);
                    }
                    if !layout.regions.is_free(range.clone()) {
                        if matches!(place, Place::FixedNoReplace(_)) {
                            return Err(Errno::EXIST);
                        }
                        removed = layout.regions.remove(range.clone());
                        flush = Some(self.space.unmap(range));
                    }
                    addr
                }
            };
            layout.regions.insert(start..start + len, vma);
            layout.changed();
            start
        };
        // The shoot-down waits for other CPUs, and dropping a file may take its locks: with ours let go.
        drop(flush);
        drop(removed);
        if populate && accessible {
            // MAP_POPULATE doesn't fail where it can't.
            let _ = self.populate(start..start + len, access);
        }
        Ok(start)
    }

    /// munmap(2). EINVAL.
    pub fn unmap(&self, range: Range<usize>) -> Result<(), Errno> {
        if range.is_empty() {
            return Err(Errno::INVAL);
        }
        let range = range.start.max(USER_START)..range.end.max(USER_START);
        if range.is_empty() {
            return Ok(());
        }
        let (removed, flush) = {
            let mut layout = self.layout.lock();
            let removed = layout.regions.remove(range.clone());
            if removed.is_empty() {
                return Ok(());
            }
            layout.changed();
            (removed, self.space.unmap(range))
        };
        drop(flush);
        drop(removed);
        Ok(())
    }

    /// mprotect(2). ENOMEM where nothing is mapped, EACCES.
    pub fn protect(&self, range: Range<usize>, prot: Prot) -> Result<(), Errno> {
        if range.is_empty() {
            return Ok(());
        }
        let mut flushes = alloc::vec::Vec::new();
        {
            let mut layout = self.layout.lock();
            if range.start < USER_START || !layout.regions.covers(range.clone()) {
                return Err(Errno::NOMEM);
            }
            if prot.contains(Prot::WRITE)
                && layout
                    .regions
                    .parts(range.clone())
                    .any(|(_, vma)| !vma.flags.contains(VmaFlags::MAY_WRITE))
            {
                return Err(Errno::ACCES);
            }
            for (part, vma) in layout.regions.parts(range.clone()) {
                if vma.prot == prot {
                    continue;
                }
                // Pages of a private mapping may be shared: a write must fault, and find out.
                let kept = if vma.shared() { prot } else { prot - Prot::WRITE };
                flushes.push(self.space.protect(part, kept));
            }
            layout.regions.update(range, |vma| vma.prot = prot);
            layout.changed();
        }
        Ok(())
    }

    /// mremap(2) with checked, page-aligned arguments. `fixed`: the new address. EFAULT, EINVAL, ENOMEM.
    pub fn remap(
        &self,
        old: Range<usize>,
        new_len: usize,
        may_move: bool,
        fixed: Option<usize>,
        keep_old: bool,
    ) -> Result<usize, Errno> {
        let old_len = old.len();
        if let Some(target) = fixed {
            let new = page_range(target, new_len, Errno::INVAL)?;
            if new.start < USER_START || (new.start < old.end && old.start < new.end) {
                return Err(Errno::INVAL);
            }
            self.unmap(new)?;
        }
        if fixed.is_none() && !keep_old && new_len <= old_len && old_len != 0 {
            if !self.layout.lock().regions.covers(old.start..old.start + new_len) {
                return Err(Errno::FAULT);
            }
            if new_len < old_len {
                self.unmap(old.start + new_len..old.end)?;
            }
            return Ok(old.start);
        }
        let mut flush: Option<Flush> = None;
        let mut flush_rest: Option<Flush> = None;
        let mut removed = alloc::vec::Vec::new();
        let target = {
            let mut layout = self.layout.lock();
            let (region, vma) = layout.regions.find(old.start).ok_or(Errno::FAULT)?;
            let vma = vma_at(vma, old.start - region.start);
            let region_end = region.end;
            if old_len == 0 && !vma.shared() {
                return Err(Errno::INVAL);
            }
            if old.end > region_end {
                return Err(Errno::FAULT);
            }
            let grown = old.start.checked_add(new_len).filter(|&end| end <= USER_END);
            let in_place = fixed.is_none() && !keep_old && old_len != 0 && old.end == region_end;
            if let (true, Some(end)) = (in_place, grown)
                && layout.regions.is_free(old.end..end)
            {
                layout.regions.insert(old.end..end, vma_at(&vma, old_len));
                layout.changed();
                return Ok(old.start);
            }
            if !may_move {
                return Err(Errno::NOMEM);
            }
            let target = match fixed {
                Some(target) => target,
                None => layout.find_free(new_len, USER_END).ok_or(Errno::NOMEM)?,
            };
            let moved = old_len.min(new_len);
            if moved != 0 {
                flush = Some(self.space.move_range(old.start, target, moved).map_err(|_| Errno::NOMEM)?);
                if !keep_old {
                    removed = layout.regions.remove(old.clone());
                    flush_rest = Some(self.space.unmap(old.clone()));
                }
            }
            layout.regions.insert(target..target + new_len, vma);
            layout.changed();
            target
        };
        drop(flush);
        drop(flush_rest);
        drop(removed);
        Ok(target)
    }

    /// Lets go of the pages of the range: they are zero, or the file's, when touched again (MADV_DONTNEED).
    pub fn discard(&self, range: Range<usize>) {
        let flush = {
            let layout = self.layout.lock();
            let mut flushes = alloc::vec::Vec::new();
            for (part, vma) in layout.regions.parts(range) {
                if !matches!(vma.backing, Backing::Placed) {
                    flushes.push(self.space.unmap(part));
                }
            }
            flushes
        };
        drop(flush);
    }

    /// True if every page of the range is mapped.
    pub fn covers(&self, range: Range<usize>) -> bool {
        range.is_empty() || self.layout.lock().regions.covers(range)
    }

    /// Sets or clears flags of what is mapped in the range.
    pub fn set_flags(&self, range: Range<usize>, set: VmaFlags, clear: VmaFlags) {
        let mut layout = self.layout.lock();
        layout.regions.update(range, |vma| vma.flags = (vma.flags - clear) | set);
        layout.changed();
    }

    /// brk(2): gives the end of the heap as it is after the call.
    pub fn set_heap_end(&self, wanted: usize, limit: u64) -> usize {
        let (heap, start, end) = {
            let layout = self.layout.lock();
            let heap = layout.heap.clone();
            let (Some(start), Some(end)) = (page_up(heap.end), page_up(wanted)) else { return heap.end };
            if wanted < heap.start || (wanted - heap.start) as u64 > limit || end > USER_END {
                return heap.end;
            }
            (heap, start, end)
        };
        if end < start && self.unmap(end..start).is_err() {
            return heap.end;
        }
        if end > start {
            let vma = Vma {
                prot: Prot::READ | Prot::WRITE,
                flags: VmaFlags::MAY_WRITE,
                backing: Backing::Anonymous,
                label: "[heap]",
            };
            if self.map(Place::FixedNoReplace(start), end - start, vma, false).is_err() {
                return heap.end;
            }
        }
        self.layout.lock().heap.end = wanted;
        wanted
    }

    /// Which pages of the range are present (mincore(2)): calls `tell` for each.
    pub fn resident_pages(&self, range: Range<usize>, mut tell: impl FnMut(bool)) {
        range.step_by(PAGE_SIZE).for_each(|page| tell(self.space.query(page).is_some()));
    }
}

fn vma_at(vma: &Vma, by: usize) -> Vma {
    coracle_vma::Attributes::advance(vma, by)
}
