//! The memory of a process: its regions and its page tables.
use super::fault::Refused;
use super::map::MAX_MAPPINGS;
use super::patch::Patches;
use super::vma::{Backing, LOCKS, Vma, VmaFlags};
use crate::errno::Errno;
use crate::fs::file::File;
use crate::task::long_call;
use alloc::sync::Arc;
use coracle_fallible::{NoMemory, Text, try_arc};
use coracle_hal::once::Once;
use coracle_hal::paging::{self, AddressSpace, Prot, USER_END, USER_START};
use coracle_hal::sync::Mutex;
use coracle_hal::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering::Relaxed};
use coracle_heap_sort::heap_sort;
use coracle_vma::RegionMap;
use core::ops::Range;

/// Bytes in a page.
pub const PAGE_SIZE: usize = coracle_hal::frame::FRAME_SIZE;
/// Free addresses kept between a growing stack and what lies below it (Linux's stack_guard_gap: 256 pages).
pub const STACK_GUARD_GAP: usize = 256 * PAGE_SIZE;

/// The memory of a process; threads and vfork(2) children share it.
pub struct Memory {
    /// Tells this address space from every other of this boot, for futex keys.
    pub id: u64,
    /// Page tables.
    pub space: Arc<AddressSpace>,
    pub(super) layout: Mutex<Layout>,
    /// Flags that new mappings get (mlockall(2), MCL_FUTURE).
    pub(super) future_locks: AtomicU16,
    /// There may be regions with [`VmaFlags::SECRET`].
    has_secrets: AtomicBool,
    /// The commands of membarrier(2) that were registered for.
    pub membarrier: AtomicUsize,
    /// Limits of its process hold: its program was loaded.
    pub is_limited: AtomicBool,
    /// System-call sites made into calls.
    pub(super) patches: Patches,
}

/// What is mapped where.
pub(super) struct Layout {
    pub regions: RegionMap<Vma>,
    /// A change of it pauses ([`super::change`]), and is half made.
    pub is_changing: bool,
    /// Changes with every change of `regions`: a fault that let go of the lock sees whether it must look again.
    pub generation: u64,
    /// The heap of brk(2): where it starts and ends.
    pub heap: Range<usize>,
    /// mmap(2) looks for free addresses from here downwards.
    pub map_top: usize,
    /// Where signal handlers return to that name no place of their own; 0: there is none.
    pub sigreturn: usize,
    /// RLIMIT_STACK as it was at exec, for growing stacks.
    pub stack_limit: usize,
    /// RLIMIT_MEMLOCK as it was when memory was locked last, for growing stacks.
    pub lock_limit: u64,
    /// There are sealed regions (mseal(2)).
    pub has_seals: bool,
    /// Its pages were taken away from it, see [`Memory::give_up`]: it gets no others.
    pub given_up: bool,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);
/// See [`Memory::none`].
static NONE: Once<Arc<Memory>> = Once::new();

/// A region as /proc/self/maps shows it.
pub struct RegionInfo {
    /// Its addresses.
    pub range: Range<usize>,
    /// Its rights.
    pub prot: Prot,
    /// MAP_SHARED.
    pub shared: bool,
    /// It may be written to, or made so by mprotect(2).
    pub may_write: bool,
    /// MAP_GROWSDOWN.
    pub grows_down: bool,
    /// Core dumps have it (MADV_DONTDUMP).
    pub is_dumped: bool,
    /// mlock(2).
    pub is_locked: bool,
    /// MLOCK_ONFAULT.
    pub is_locked_on_fault: bool,
    /// Offset in the file.
    pub offset: u64,
    /// A name like `[heap]`, if no file is behind it.
    pub label: &'static str,
    /// The file behind it.
    pub file: Option<Arc<dyn File>>,
}

impl RegionInfo {
    /// Writes the file's path, or the label, or nothing. ENOMEM.
    pub fn name(&self, text: &mut Text) -> Result<(), NoMemory> {
        match &self.file {
            Some(file) => file.path(text),
            None => text.push(self.label.as_bytes()),
        }
    }
}

/// Rounds up to a page; `None` on overflow.
pub fn page_up(value: usize) -> Option<usize> {
    value.checked_next_multiple_of(PAGE_SIZE)
}

/// Rounds down to a page.
pub const fn page_down(value: usize) -> usize {
    value & !(PAGE_SIZE - 1)
}

/// The pages `addr..addr+len` of the program's half: EINVAL if `addr` isn't a page boundary, `outside` if they leave
/// the half or wrap around. An empty range is fine.
pub fn page_range(addr: usize, len: usize, outside: Errno) -> Result<Range<usize>, Errno> {
    if !addr.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::INVAL);
    }
    let len = page_up(len).ok_or(outside)?;
    let end = addr.checked_add(len).filter(|&end| end <= USER_END).ok_or(outside)?;
    Ok(addr..end)
}

impl Memory {
    /// Nothing mapped. ENOMEM.
    pub fn new() -> Result<Arc<Memory>, Errno> {
        let space = AddressSpace::new().ok_or(Errno::NOMEM)?;
        Ok(try_arc(Memory {
            id: NEXT_ID.fetch_add(1, Relaxed),
            space,
            layout: Mutex::new(Layout {
                regions: RegionMap::bounded(MAX_MAPPINGS),
                is_changing: false,
                generation: 0,
                heap: 0..0,
                map_top: USER_END,
                sigreturn: 0,
                stack_limit: 0,
                lock_limit: u64::MAX,
                has_seals: false,
                given_up: false,
            }),
            future_locks: AtomicU16::new(0),
            has_secrets: AtomicBool::new(false),
            is_limited: AtomicBool::new(false),
            membarrier: AtomicUsize::new(0),
            patches: Patches::default(),
        })?)
    }

    /// The memory of what has no program: of idle CPUs, and of processes that have ended, which must not need a new one for that.
    /// Nothing is ever mapped in it.
    pub fn none() -> &'static Arc<Memory> {
        NONE.wait()
    }

    /// Makes that, at boot. ENOMEM.
    pub fn make_none() -> Result<(), Errno> {
        let none = Memory::new()?;
        NONE.call_once(|| none);
        Ok(())
    }

    /// A copy for fork(2): private pages are shared until written. ENOMEM; EINTR if the process is about to end.
    pub fn duplicate(&self) -> Result<Arc<Memory>, Errno> {
        let child = Memory::new()?;
        match self.copy_to(&child) {
            Ok(()) => Ok(child),
            Err(error) => {
                Memory::end(child);
                Err(error)
            }
        }
    }

    fn copy_to(&self, child: &Memory) -> Result<(), Errno> {
        let mut ours = self.change();
        let mut at = USER_START;
        while let Some((range, vma)) = ours.regions.find_at_or_after(at) {
            if ours.given_up {
                return Err(Errno::NOMEM);
            }
            at = range.end;
            if !vma.flags.contains(VmaFlags::DONT_FORK) {
                let is_wiped = vma.flags.contains(VmaFlags::WIPE_ON_FORK);
                let private = !vma.shared() && !matches!(vma.backing, Backing::Placed);
                // Locks are not inherited (mlock(2)).
                let copy = Vma { flags: vma.flags - LOCKS, ..vma.clone() };
                child.layout.lock().regions.insert(range.clone(), copy)?;
                let mut rest = if is_wiped { range.end..range.end } else { range };
                while !rest.is_empty() {
                    let shared = self.space.share(&child.space, &mut rest, private, &mut ours.flush);
                    shared.map_err(|_| Errno::NOMEM)?;
                    if !rest.is_empty() {
                        ours.pause_unless_killed()?;
                    }
                }
            }
            if ours.ends_step() {
                ours.pause_unless_killed()?;
            }
        }
        let mut theirs = child.layout.lock();
        theirs.heap = ours.heap.clone();
        theirs.map_top = ours.map_top;
        theirs.sigreturn = ours.sigreturn;
        theirs.stack_limit = ours.stack_limit;
        theirs.has_seals = ours.has_seals;
        child.has_secrets.store(self.has_secrets.load(Relaxed), Relaxed);
        child.is_limited.store(self.is_limited.load(Relaxed), Relaxed);
        if ours.given_up { Err(Errno::NOMEM) } else { Ok(()) }
    }

    /// Drops a memory that is not used any more. If no other reference to it is left, its pages go in steps. Hold no lock.
    pub fn end(mut memory: Arc<Memory>) {
        let Some(own) = Arc::get_mut(&mut memory) else { return };
        let Some(space) = Arc::get_mut(&mut own.space) else { return };
        let mut rest = paging::ALL;
        while !rest.is_empty() {
            space.free(&mut rest);
            long_call::pause();
        }
    }

    /// Sets where signal handlers return to that name no place of their own.
    pub fn set_sigreturn(&self, address: usize) {
        self.layout.lock().sigreturn = address;
    }
    /// Where signal handlers return to that name no place of their own; 0: there is none.
    pub fn sigreturn(&self) -> usize {
        self.layout.lock().sigreturn
    }
    /// Sets where the heap begins, where mmap(2) looks from, and how far a stack may grow (exec).
    pub fn set_bounds(&self, heap_start: usize, map_top: usize, stack_limit: usize) {
        let mut layout = self.layout();
        layout.heap = heap_start..heap_start;
        layout.map_top = map_top;
        layout.stack_limit = stack_limit;
    }

    /// Where the heap is now.
    pub fn heap(&self) -> Range<usize> {
        self.layout.lock().heap.clone()
    }

    /// The first region that ends after `addr`, for /proc/self/maps. Like its kin here it waits for no change, and may see one that
    /// is half made.
    pub fn region_from(&self, addr: usize) -> Option<RegionInfo> {
        let (range, vma) = {
            let layout = self.layout.lock();
            let (range, vma) = layout.regions.find_at_or_after(addr)?;
            (range, vma.clone())
        };
        Some(info(range, &vma))
    }

    /// The region that holds `addr`.
    pub fn region_at(&self, addr: usize) -> Option<RegionInfo> {
        let (range, vma) = {
            let layout = self.layout.lock();
            let (range, vma) = layout.regions.find(addr)?;
            (range, vma.clone())
        };
        Some(info(range, &vma))
    }

    /// A number that is another after each change of what is mapped.
    pub fn generation(&self) -> u64 {
        self.layout.lock().generation
    }

    /// Mapped bytes, and resident bytes.
    pub fn sizes(&self) -> (usize, usize) {
        let mapped = self.layout.lock().regions.bytes();
        (mapped, self.space.resident() * PAGE_SIZE)
    }

    /// Locked bytes (VmLck).
    pub fn locked_bytes(&self) -> usize {
        self.layout.lock().regions.locked_bytes()
    }

    /// Resident pages that are not the image's own, which take no memory. Looks at every page.
    pub fn own_pages(&self) -> usize {
        let mut rest = USER_START..USER_END;
        let mut of_image = 0;
        while !rest.is_empty() {
            of_image += self.space.image_pages(&mut rest);
        }
        self.space.resident().saturating_sub(of_image)
    }

    /// Lets go of all private pages, for good (Linux's `__oom_reap_task_mm`): for a process that was killed so that others get
    /// its memory, which need not wait for its threads to end. A thread that touches such a page is refused. Hold no lock.
    pub fn give_up(&self) {
        let mut at = USER_START;
        loop {
            // The lock is let go after each step: the shoot-down waits for other CPUs. A change that pauses is not waited for,
            // since it may want memory itself.
            let flush = {
                let mut layout = self.layout.lock();
                layout.given_up = true;
                layout.changed();
                let Some((mut part, vma)) = layout.regions.parts(at..USER_END).next() else { return };
                let is_private = !vma.shared() && !matches!(vma.backing, Backing::Placed);
                let flush = is_private.then(|| self.space.unmap(&mut part));
                at = if is_private { part.start } else { part.end };
                flush
            };
            drop(flush);
            long_call::pause();
        }
    }

    /// There is, or will be, a region with [`VmaFlags::SECRET`].
    pub fn expect_secrets(&self) {
        self.has_secrets.store(true, Relaxed);
    }

    /// [`Refused::NoPage`] if any of `len` bytes at `addr` is secret (memfd_secret(2)): for accesses that do not go by the page table of this
    /// memory's own programs.
    pub fn check_not_secret(&self, addr: usize, len: usize) -> Result<(), Refused> {
        if !self.has_secrets.load(Relaxed) {
            return Ok(());
        }
        let end = addr.saturating_add(len).min(USER_END);
        let has_secret = || self.layout().regions.parts(addr..end).any(|(_, vma)| vma.is_secret());
        if addr < end && has_secret() { Err(Refused::NoPage) } else { Ok(()) }
    }

    /// Whether [`Memory::give_up`] was called.
    pub fn is_given_up(&self) -> bool {
        self.layout.lock().given_up
    }

    /// Identity of the 4 bytes at `addr` for a futex that processes may share: the physical address if it is in a
    /// shared mapping, else `None`. The page must be present. EFAULT for private memory that can't be written to, whose page
    /// would be another after a write (Linux's `get_futex_key`).
    pub fn shared_word(&self, addr: usize) -> Result<Option<u64>, Errno> {
        let layout = self.layout();
        let (_, vma) = layout.regions.find(addr).ok_or(Errno::FAULT)?;
        if vma.is_secret() {
            return Err(Errno::FAULT);
        }
        if !vma.shared() {
            let fixed = vma.prot.contains(Prot::WRITE) || !vma.is_private_anonymous();
            return if fixed { Ok(None) } else { Err(Errno::FAULT) };
        }
        let mapping = self.space.query(page_down(addr));
        Ok(mapping.map(|mapping| mapping.frame.phys() + (addr % PAGE_SIZE) as u64))
    }
}

coracle_hal::hook! {
    $
    /// Calls a function with the memory of each process, one after the other, with no lock held.
    each_memory: fn(&mut dyn FnMut(&crate::mm::memory::Memory)) = "coracle_each_memory", given by give_each_memory
}

/// A file was cut off at `size` bytes: its pages past that are no longer mapped anywhere. `is_file` knows the file. Hold
/// no lock.
pub fn forget_file_pages(size: u64, is_file: impl Fn(&dyn File) -> bool) {
    each_memory()(&mut |memory| memory.forget_file_pages(size, &is_file));
}

/// Takes pages of files out of the private mappings that are not locked, of all programs: those in the frames with these physical
/// addresses, which are caches' own and the same as on the disk. A program that touches one gets it from the file again. Hold no lock.
pub fn unmap_cached(frames: &mut [u64]) {
    heap_sort(frames, |frame| *frame);
    each_memory()(&mut |memory| memory.unmap_cached(frames));
}

impl Memory {
    fn unmap_cached(&self, frames: &[u64]) {
        let mut at = USER_START;
        loop {
            // The lock is let go after each step, as below. A change that pauses is not waited for, since it may want memory itself; where it
            // leaves the pages of a file makes no difference.
            let flush = {
                let layout = self.layout.lock();
                let is_taken = |vma: &Vma| {
                    let is_kept = vma.shared() || vma.flags.contains(VmaFlags::LOCKED);
                    !is_kept && matches!(vma.backing, Backing::File { .. })
                };
                let part = layout.regions.parts(at..USER_END).find(|(_, vma)| is_taken(vma));
                let Some((mut part, _)) = part else { return };
                let flush = self.space.unmap_frames(&mut part, frames);
                at = part.start;
                flush
            };
            drop(flush);
            long_call::pause();
        }
    }

    fn forget_file_pages(&self, size: u64, is_file: &impl Fn(&dyn File) -> bool) {
        let kept = size.next_multiple_of(PAGE_SIZE as u64);
        let mut at = 0;
        loop {
            // The lock is let go after each step: the shoot-down waits for other CPUs.
            let flush = {
                let layout = self.layout();
                let gone = layout.regions.parts(at..USER_END).find_map(|(range, vma)| match &vma.backing {
                    Backing::File { file, offset } if is_file(&**file) => {
                        let kept = kept.saturating_sub(*offset).min(range.len() as u64) as usize;
                        let start = range.start + kept;
                        (start < range.end).then_some(start..range.end)
                    }
                    _ => None,
                });
                let Some(mut gone) = gone else { return };
                let flush = self.space.unmap(&mut gone);
                at = gone.start;
                flush
            };
            drop(flush);
            long_call::pause();
        }
    }
}

fn info(range: Range<usize>, vma: &Vma) -> RegionInfo {
    let (offset, label, file) = match &vma.backing {
        Backing::File { file, offset } => (*offset, "", Some(file.clone())),
        _ => (0, vma.label, None),
    };
    let grows_down = vma.flags.contains(VmaFlags::GROWS_DOWN);
    let may_write = vma.flags.contains(VmaFlags::MAY_WRITE);
    let is_dumped = !vma.flags.contains(VmaFlags::DONT_DUMP);
    RegionInfo {
        range,
        prot: vma.prot,
        shared: vma.shared(),
        may_write,
        grows_down,
        is_dumped,
        is_locked: vma.flags.contains(VmaFlags::LOCKED),
        is_locked_on_fault: vma.flags.contains(VmaFlags::LOCKED_ON_FAULT),
        offset,
        label,
        file,
    }
}

impl Layout {
    /// EPERM if anything in the range is sealed (mseal(2)).
    pub fn check_seals(&self, range: Range<usize>) -> Result<(), Errno> {
        let is_sealed = |(_, vma): (_, Vma)| vma.flags.contains(VmaFlags::SEALED);
        if self.has_seals && self.regions.parts(range).any(is_sealed) { Err(Errno::PERM) } else { Ok(()) }
    }

    /// Notes that the regions changed.
    pub fn changed(&mut self) {
        self.generation += 1;
    }

    /// Where a program wishes a mapping of `len` bytes, if all of it is free and ends at `end` at the latest. A wish that is
    /// too low means the lowest address (Linux's `round_hint_to_min`); 0 is none.
    pub fn free_at(&self, wish: usize, len: usize, end: usize) -> Option<usize> {
        let wish = Some(page_down(wish)).filter(|&wish| wish != 0)?.max(USER_START);
        let fits = wish.checked_add(len).is_some_and(|top| top <= end && self.regions.is_free(wish..top));
        fits.then_some(wish)
    }

    /// Free addresses for `len` bytes.
    pub fn find_free(&self, len: usize, below: usize) -> Option<usize> {
        let top = self.map_top.min(below);
        self.regions
            .highest_gap(USER_START..top, len, PAGE_SIZE)
            .or_else(|| self.regions.lowest_gap(top..below.min(USER_END), len, PAGE_SIZE))
    }
}
