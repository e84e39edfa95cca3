//! Changes of a memory's layout: mmap(2), munmap(2), mprotect(2), mremap(2), madvise(2), brk(2).
use super::change::Change;
use super::limits::SpaceLimits;
use super::locks;
use super::memory::{Memory, PAGE_SIZE, page_down, page_range, page_up};
use super::vma::{Backing, LOCKS, Vma, VmaFlags};
use crate::errno::Errno;
use crate::random;
use crate::task::long_call;
use coracle_hal::paging::{Prot, USER_END, USER_START};
use core::ops::Range;
use linux_raw_sys::general as abi;

/// Mappings of a process at most (Linux's vm.max_map_count).
pub const MAX_MAPPINGS: usize = 65_530;
/// Regions that moving one may add: the old and the new range are cut out of others (Linux's move_vma checks the same).
const REGIONS_OF_A_MOVE: usize = 3;
/// MAP_32BIT: in the second GiB (mmap(2)), from up to 32 MiB after its begin, or wherever the program asks below its end
/// (Linux's `arch_get_unmapped_area`).
const LOW: Range<usize> = 1 << 30..1 << 31;
/// Bits of randomness, in pages, of the first such address.
const LOW_RANDOM_BITS: u32 = 13;

/// Where a mapping is to lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Anywhere, here if it is free (0: no wish).
    Hint(usize),
    /// Below 2 GiB, here if it is free (MAP_32BIT; 0: no wish).
    Low(usize),
    /// Here, in place of what is there (MAP_FIXED).
    Fixed(usize),
    /// Here, EEXIST if something is there (MAP_FIXED_NOREPLACE).
    FixedNoReplace(usize),
}

impl Memory {
    /// Maps `len` bytes (not 0). Gives the address. EINVAL, ENOMEM, EEXIST, EPERM; EAGAIN where it would be locked beyond the
    /// caller's limit.
    pub fn map(&self, place: Place, len: usize, mut vma: Vma, populate: bool) -> Result<usize, Errno> {
        let len = page_up(len).filter(|&len| len != 0 && len <= USER_END).ok_or(Errno::NOMEM)?;
        let accessible = !vma.prot.is_empty();
        vma.flags |= self.future_locks();
        let lock_limit = vma.flags.contains(VmaFlags::LOCKED).then(locks::limit);
        let populate = populate || vma.is_populated();
        let limits = SpaceLimits::of_caller(self);
        let start = {
            let mut layout = self.change();
            let start = match place {
                Place::Hint(wish) => match layout.free_at(wish, len, USER_END) {
                    Some(start) => start,
                    None => layout.find_free(len, USER_END).ok_or(Errno::NOMEM)?,
                },
                Place::Low(wish) => match layout.free_at(wish, len, LOW.end) {
                    Some(start) => start,
                    None => {
                        let within = LOW.start + random::layout_pages(LOW_RANDOM_BITS)..LOW.end;
                        layout.regions.lowest_gap(within, len, PAGE_SIZE).ok_or(Errno::NOMEM)?
                    }
                },
                Place::Fixed(addr) | Place::FixedNoReplace(addr) => {
                    let range = page_range(addr, len, Errno::NOMEM)?;
                    if addr < USER_START {
                        return Err(Errno::PERM);
                    }
                    if matches!(place, Place::FixedNoReplace(_)) && !layout.regions.is_free(range) {
                        return Err(Errno::EXIST);
                    }
                    addr
                }
            };
            layout.check_lock(len, lock_limit)?;
            let range = start..start + len;
            layout.check_space_at(limits, range.clone(), &vma)?;
            match place {
                Place::Fixed(_) => {
                    layout.check_seals(range.clone())?;
                    layout.replace(range, vma)?
                }
                _ => layout.regions.insert(range, vma)?,
            }
            start
        };
        if populate && accessible {
            // MAP_POPULATE doesn't fail where it can't.
            let _ = self.populate_for_good(start..start + len);
        }
        Ok(start)
    }

    /// munmap(2). EINVAL, ENOMEM.
    pub fn unmap(&self, range: Range<usize>) -> Result<(), Errno> {
        if range.is_empty() {
            return Err(Errno::INVAL);
        }
        let range = range.start.max(USER_START)..range.end.max(USER_START);
        if range.is_empty() {
            return Ok(());
        }
        let mut layout = self.change();
        layout.check_seals(range.clone())?;
        layout.remove(range)?;
        Ok(())
    }

    /// Drops what was removed from the layout, one by one: dropping a file may take its locks, and ours is let go.
    pub(super) fn drop_removed(&self) {
        loop {
            let removed = self.layout.lock().regions.take_removed();
            if removed.is_none() {
                break;
            }
            drop(removed);
            long_call::pause();
        }
    }

    /// mprotect(2). ENOMEM where nothing is mapped or no further region can be, EACCES.
    pub fn protect(&self, range: Range<usize>, prot: Prot) -> Result<(), Errno> {
        if range.is_empty() {
            return Ok(());
        }
        let limits = SpaceLimits::of_caller(self);
        let has_locks = {
            let mut layout = self.change();
            if range.start < USER_START || !layout.regions.covers(range.clone()) {
                return Err(Errno::NOMEM);
            }
            layout.check_seals(range.clone())?;
            let refuses = |vma: &Vma| {
                prot.contains(Prot::WRITE) && !vma.flags.contains(VmaFlags::MAY_WRITE)
                    || prot.contains(Prot::EXEC) && vma.flags.contains(VmaFlags::NEVER_EXEC)
            };
            if prot.intersects(Prot::WRITE | Prot::EXEC)
                && layout.regions.parts(range.clone()).any(|(_, vma)| refuses(&vma))
            {
                return Err(Errno::ACCES);
            }
            if prot.contains(Prot::WRITE) && limits.data() != u64::MAX {
                layout.check_new_data(limits, range.clone(), prot)?;
            }
            layout.protect(range.clone(), prot)?;
            layout.regions.locked_bytes() > 0
        };
        if has_locks && prot.contains(Prot::WRITE) {
            // Writes to locked memory find their pages (Linux's `mprotect_fixup`).
            self.populate_locked(range);
        }
        Ok(())
    }

    /// mremap(2) with checked, page-aligned arguments. `fixed`: the new address. EFAULT, EINVAL, ENOMEM.
    ///
    /// All of it is one step: no other thread's mapping comes between.
    pub fn remap(
        &self,
        old: Range<usize>,
        new_len: usize,
        may_move: bool,
        fixed: Option<usize>,
        keep_old: bool,
    ) -> Result<usize, Errno> {
        if let Some(target) = fixed {
            let new = page_range(target, new_len, Errno::INVAL)?;
            if new.start < USER_START || (new.start < old.end && old.start < new.end) {
                return Err(Errno::INVAL);
            }
        }
        let lock_limit = (self.locked_bytes() > 0).then(locks::limit);
        let limits = SpaceLimits::of_caller(self);
        let old_len = old.len();
        let result = {
            let mut layout = self.change();
            layout.lock_limit = lock_limit.unwrap_or(layout.lock_limit);
            Self::remap_locked(&mut layout, old, new_len, may_move, fixed, keep_old, limits)
        };
        if let Ok(start) = result
            && lock_limit.is_some()
            && old_len < new_len
        {
            self.populate_locked(start + old_len..start + new_len);
        }
        result
    }

    fn remap_locked(
        layout: &mut Change,
        old: Range<usize>,
        new_len: usize,
        may_move: bool,
        fixed: Option<usize>,
        keep_old: bool,
        limits: SpaceLimits,
    ) -> Result<usize, Errno> {
        let old_len = old.len();
        layout.check_seals(old.start..old.start + old_len.max(1))?;
        if let Some(target) = fixed {
            layout.check_seals(target..target + new_len)?;
        }
        if fixed.is_none() && !keep_old && new_len <= old_len && old_len != 0 {
            let rest = old.start + new_len..old.end;
            if !layout.regions.covers(old.start..rest.start) {
                return Err(Errno::FAULT);
            }
            layout.remove(rest)?;
            return Ok(old.start);
        }
        let (region, vma) = layout.regions.find(old.start).ok_or(Errno::FAULT)?;
        let vma = vma_at(vma, old.start - region.start);
        if old_len == 0 && !vma.shared() {
            return Err(Errno::INVAL);
        }
        if old.end > region.end {
            return Err(Errno::FAULT);
        }
        if vma.flags.contains(VmaFlags::LOCKED) {
            let limit = layout.lock_limit;
            layout.check_lock(new_len.saturating_sub(old_len), Some(limit))?;
        }
        let added = if keep_old { new_len } else { new_len.saturating_sub(old_len) };
        layout.check_space(limits, added, &vma)?;
        let grown = old.start.checked_add(new_len).filter(|&end| end <= USER_END);
        let in_place = fixed.is_none() && !keep_old && old_len != 0 && old.end == region.end;
        if let (true, Some(end)) = (in_place, grown)
            && layout.regions.is_free(old.end..end)
        {
            layout.regions.insert(old.end..end, vma_at(&vma, old_len))?;
            return Ok(old.start);
        }
        if !may_move {
            return Err(Errno::NOMEM);
        }
        // Refused before anything is changed, as Linux does: a move cuts two regions and adds one.
        if layout.regions.len() + REGIONS_OF_A_MOVE > MAX_MAPPINGS {
            return Err(Errno::NOMEM);
        }
        let target = match fixed {
            Some(target) => target,
            None => layout.find_free(new_len, USER_END).ok_or(Errno::NOMEM)?,
        };
        let new = target..target + new_len;
        layout.regions.isolate(old.clone())?;
        layout.remove(new.clone())?;
        layout.regions.insert(new.clone(), vma)?;
        let moved = old_len.min(new_len);
        if moved == 0 {
            return Ok(target);
        }
        if layout.move_pages(old.start..old.start + moved, target).is_err() {
            // Without memory for page tables. Those that the pages come from are still there.
            let _ = layout.move_pages(target..target + moved, old.start);
            layout.remove(new)?;
            return Err(Errno::NOMEM);
        }
        if keep_old {
            layout.update(old, |vma| vma.flags -= LOCKS)?;
        } else {
            layout.remove(old)?;
        }
        Ok(target)
    }

    /// Lets go of the pages of the range: they are zero, or the file's, when touched again (MADV_DONTNEED).
    pub fn discard(&self, range: Range<usize>) {
        let mut at = range.start;
        while at < range.end {
            // The lock is let go after each step: the shoot-down waits for other CPUs.
            let flush = {
                let layout = self.layout();
                let Some((mut part, vma)) = layout.regions.parts(at..range.end).next() else { return };
                let is_placed = matches!(vma.backing, Backing::Placed);
                let flush = (!is_placed).then(|| self.space.unmap(&mut part));
                at = if is_placed { part.end } else { part.start };
                flush
            };
            drop(flush);
            long_call::pause();
        }
    }

    /// mseal(2): what is mapped in the range is neither changed nor removed from now on. ENOMEM if not all of it is mapped.
    pub fn seal(&self, range: Range<usize>) -> Result<(), Errno> {
        let mut layout = self.change();
        if range.start < USER_START || !layout.regions.covers(range.clone()) {
            return Err(Errno::NOMEM);
        }
        layout.has_seals = true;
        layout.update(range, |vma| vma.flags |= VmaFlags::SEALED)
    }

    /// MADV_GUARD_INSTALL and MADV_GUARD_REMOVE (madvise(2)): no access to the range is allowed from now on, and its pages are gone; or that is
    /// taken back. EINVAL for locked memory and the kernel's own; ENOMEM.
    pub fn guard(&self, range: Range<usize>, installs: bool) -> Result<(), Errno> {
        let mut layout = self.change();
        let refuses = |vma: &Vma| {
            matches!(vma.backing, Backing::Placed) || installs && vma.flags.contains(VmaFlags::LOCKED)
        };
        if layout.regions.parts(range.clone()).any(|(_, vma)| refuses(&vma)) {
            return Err(Errno::INVAL);
        }
        layout.update(range.clone(), |vma| vma.flags.set(VmaFlags::GUARD, installs))?;
        if installs {
            layout.unmap(range);
        }
        Ok(())
    }

    /// True if every page of the range is mapped.
    pub fn covers(&self, range: Range<usize>) -> bool {
        range.is_empty() || self.layout().regions.covers(range)
    }

    /// True if `holds` for all that is mapped in the range.
    pub fn all(&self, range: Range<usize>, holds: impl Fn(&Vma) -> bool) -> bool {
        self.layout().regions.parts(range).all(|(_, vma)| holds(&vma))
    }

    /// Frees the pages of the files behind shared mappings in the range (madvise(2), MADV_REMOVE). EINVAL for others, EACCES
    /// for those that may not be written to, what the file says.
    pub fn punch(&self, range: Range<usize>) -> Result<(), Errno> {
        const MODE: u32 = abi::FALLOC_FL_PUNCH_HOLE | abi::FALLOC_FL_KEEP_SIZE;
        let mut at = range.start;
        while at < range.end {
            // The file takes locks of its own, with ours let go.
            let (part, file, offset) = {
                let layout = self.layout();
                let Some((part, vma)) = layout.regions.parts(at..range.end).next() else { return Ok(()) };
                let Backing::File { file, offset } = &vma.backing else { return Err(Errno::INVAL) };
                if vma.flags.contains(VmaFlags::LOCKED) {
                    return Err(Errno::INVAL);
                }
                if !vma.flags.contains(VmaFlags::SHARED | VmaFlags::MAY_WRITE) {
                    return Err(Errno::ACCES);
                }
                (part, file.clone(), *offset)
            };
            at = part.end;
            file.allocate(MODE, offset, part.len() as u64)?;
            long_call::pause();
        }
        Ok(())
    }

    /// Makes durable what was written by way of shared mappings in the range, if `waits` (msync(2), MS_SYNC). EBUSY at locked pages that
    /// it `invalidates`; errors of the files; ENOMEM at the end if there is nothing mapped somewhere.
    pub fn sync(&self, range: Range<usize>, waits: bool, invalidates: bool) -> Result<(), Errno> {
        let is_whole = self.covers(range.clone());
        let mut at = range.start;
        while at < range.end {
            // The file may wait for a disk, with our locks let go.
            let (end, file) = {
                let layout = self.layout();
                let Some((part, vma)) = layout.regions.parts(at..range.end).next() else { break };
                if invalidates && vma.flags.contains(VmaFlags::LOCKED) {
                    return Err(Errno::BUSY);
                }
                let file = match &vma.backing {
                    Backing::File { file, .. } if waits && vma.shared() => Some(file.clone()),
                    _ => None,
                };
                (part.end, file)
            };
            at = end;
            if let Some(file) = file {
                file.sync(true)?;
            }
            long_call::pause();
        }
        if is_whole { Ok(()) } else { Err(Errno::NOMEM) }
    }

    /// Sets or clears flags of what is mapped in the range. ENOMEM.
    pub fn set_flags(&self, range: Range<usize>, set: VmaFlags, clear: VmaFlags) -> Result<(), Errno> {
        self.change().update(range, |vma| vma.flags = (vma.flags - clear) | set)
    }

    /// brk(2): gives the end of the heap as it is after the call.
    pub fn set_heap_end(&self, wanted: usize) -> usize {
        let locks = self.future_locks();
        let lock_limit = (!locks.is_empty()).then(locks::limit);
        let limits = SpaceLimits::of_caller(self);
        let (before, end) = {
            let mut layout = self.change();
            let before = layout.heap.end;
            if move_heap_end(&mut layout, wanted, limits, locks, lock_limit).is_ok() {
                layout.heap.end = wanted;
            }
            (before, layout.heap.end)
        };
        if lock_limit.is_some() && before < end {
            self.populate_locked(page_down(before)..end);
        }
        end
    }

    /// Which pages of the range are present (mincore(2)): calls `tell` for each.
    pub fn resident_pages(&self, range: Range<usize>, mut tell: impl FnMut(bool)) {
        range.step_by(PAGE_SIZE).for_each(|page| tell(self.space.query(page).is_some()));
    }
}

fn vma_at(vma: &Vma, by: usize) -> Vma {
    coracle_vma::Attributes::advance(vma, by)
}

/// Moves the end of the heap, if that can be. ENOMEM, EAGAIN.
fn move_heap_end(
    layout: &mut Change,
    wanted: usize,
    limits: SpaceLimits,
    locks: VmaFlags,
    lock_limit: Option<u64>,
) -> Result<(), Errno> {
    let heap = layout.heap.clone();
    let (Some(start), Some(end)) = (page_up(heap.end), page_up(wanted)) else { return Err(Errno::NOMEM) };
    if wanted < heap.start || (wanted - heap.start) as u64 > limits.data() || end > USER_END {
        return Err(Errno::NOMEM);
    }
    if end < start {
        layout.check_seals(end..start)?;
        layout.remove(end..start)?;
    }
    if end > start {
        if !layout.regions.is_free(start..end) {
            return Err(Errno::NOMEM);
        }
        layout.check_lock(end - start, lock_limit)?;
        let vma = Vma {
            prot: Prot::READ | Prot::WRITE,
            flags: VmaFlags::MAY_WRITE | locks,
            backing: Backing::Anonymous,
            label: "[heap]",
        };
        layout.check_space(limits, end - start, &vma)?;
        layout.regions.insert(start..end, vma)?;
    }
    Ok(())
}
