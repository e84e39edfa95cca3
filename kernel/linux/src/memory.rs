//! Memory: mmap(2) and its relatives.
use super::call::Call;
use super::other_process::{self, Iovecs};
use super::seals;
use alloc::sync::Arc;
use coracle_core::arch::machine;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::access::{capability, check_capability};
use coracle_core::mm::fault::Refused;
use coracle_core::mm::locks;
use coracle_core::mm::map::Place;
use coracle_core::mm::memory::{Memory, PAGE_SIZE, page_down, page_range, page_up};
use coracle_core::mm::shared::SharedAnonymous;
use coracle_core::mm::user::{self, Access};
use coracle_core::mm::vma::{Backing, LOCKS, Vma, VmaFlags};
use coracle_core::task::{long_call, look_into};
use coracle_fs::memory::SecretFile;
use coracle_hal::paging::{Prot, USER_END};
use coracle_hal::sync::atomic::Ordering::*;
use coracle_hal::{boot, cpu};
use core::ops::Range;
use linux_raw_sys::general as abi;

/// A single private writable mapping may be this much larger than the machine's memory (Linux's heuristic overcommit
/// refuses what is obviously too much; small machines still want the reserves that run-time systems ask for).
const OVERCOMMIT_SLACK: u64 = 8 << 30;

/// Advice that has pages never be accessed, and that takes that back (asm-generic/mman-common.h).
const MADV_GUARD_INSTALL: u32 = 102;
const MADV_GUARD_REMOVE: u32 = 103;

/// Rights from PROT_*; EINVAL for bits there aren't.
fn prot_from(bits: u32) -> Result<Prot, Errno> {
    if bits & !(abi::PROT_READ | abi::PROT_WRITE | abi::PROT_EXEC | abi::PROT_SEM) != 0 {
        return Err(Errno::INVAL);
    }
    let mut prot = Prot::empty();
    prot.set(Prot::READ, bits & abi::PROT_READ != 0);
    prot.set(Prot::WRITE, bits & abi::PROT_WRITE != 0);
    prot.set(Prot::EXEC, bits & abi::PROT_EXEC != 0);
    Ok(prot)
}

/// Flags that MAP_SHARED_VALIDATE accepts (mmap(2); Linux's LEGACY_MAP_MASK).
const VALIDATED: u32 = abi::MAP_TYPE
    | abi::MAP_FIXED
    | abi::MAP_ANONYMOUS
    | abi::MAP_DENYWRITE
    | abi::MAP_EXECUTABLE
    | abi::MAP_GROWSDOWN
    | abi::MAP_LOCKED
    | abi::MAP_NORESERVE
    | abi::MAP_POPULATE
    | abi::MAP_NONBLOCK
    | abi::MAP_STACK
    | abi::MAP_HUGETLB
    | abi::MAP_HUGE_2MB
    | abi::MAP_HUGE_1GB
    | machine::MAP_32BIT;

/// mmap(2).
pub fn mmap(call: &Call) -> SysResult {
    let (addr, len, prot, flags, fd, offset) = (
        call.usize(0),
        call.usize(1),
        // Bits that there aren't are ignored, other than by mprotect(2).
        prot_from(call.u32(2) & (abi::PROT_READ | abi::PROT_WRITE | abi::PROT_EXEC))?,
        call.u32(3),
        call.i32(4),
        call.raw(5),
    );
    if len == 0 || offset % PAGE_SIZE as u64 != 0 {
        return Err(Errno::INVAL);
    }
    let anonymous = flags & abi::MAP_ANONYMOUS != 0;
    let shared = match flags & abi::MAP_TYPE {
        abi::MAP_PRIVATE => false,
        abi::MAP_SHARED => true,
        abi::MAP_SHARED_VALIDATE if !anonymous && flags & !VALIDATED != 0 => return Err(Errno::OPNOTSUPP),
        abi::MAP_SHARED_VALIDATE if !anonymous => true,
        _ => return Err(Errno::INVAL),
    };
    if flags & abi::MAP_GROWSDOWN != 0 && (shared || !anonymous) {
        return Err(Errno::INVAL);
    }
    let obviously_too_much = len as u64 > boot::memory_size().saturating_add(OVERCOMMIT_SLACK);
    let reserved = !shared && prot.contains(Prot::WRITE) && flags & abi::MAP_NORESERVE == 0;
    if flags & abi::MAP_HUGETLB != 0 && !anonymous {
        // No file system here has huge pages.
        return Err(Errno::INVAL);
    }
    if flags & abi::MAP_HUGETLB != 0 || (reserved && obviously_too_much) {
        return Err(Errno::NOMEM);
    }
    let place = if flags & abi::MAP_FIXED_NOREPLACE != 0 {
        Place::FixedNoReplace(addr)
    } else if flags & abi::MAP_FIXED != 0 {
        Place::Fixed(addr)
    } else if machine::wants_low(flags) {
        Place::Low(addr)
    } else {
        Place::Hint(addr)
    };
    let mut vma = Vma { prot, flags: VmaFlags::MAY_WRITE, backing: Backing::Anonymous, label: "" };
    vma.flags.set(VmaFlags::SHARED, shared);
    vma.flags.set(VmaFlags::GROWS_DOWN, flags & abi::MAP_GROWSDOWN != 0);
    vma.flags.set(VmaFlags::LOCKED, flags & abi::MAP_LOCKED != 0);
    if !anonymous {
        let open = call.thread().process.descriptors.usable(fd)?;
        if len > USER_END {
            return Err(Errno::NOMEM);
        }
        if offset.checked_add(len as u64).is_none_or(|end| end > i64::MAX as u64) {
            return Err(Errno::OVERFLOW);
        }
        // Every mapping of a file needs it open for reading, a shared writable one also for writing (mmap(2), EACCES).
        open.check_readable().map_err(|_| Errno::ACCES)?;
        if !open.file.may_execute() {
            if prot.contains(Prot::EXEC) {
                return Err(Errno::PERM);
            }
            vma.flags |= VmaFlags::NEVER_EXEC;
        }
        if open.file.as_any().is::<SecretFile>() {
            if !shared {
                return Err(Errno::INVAL);
            }
            vma.flags |= VmaFlags::SECRET | VmaFlags::LOCKED | VmaFlags::DONT_DUMP;
            call.thread().process.memory().expect_secrets();
        }
        let writable = open.check_writable().is_ok();
        if shared && !writable {
            if prot.contains(Prot::WRITE) {
                return Err(Errno::ACCES);
            }
            vma.flags -= VmaFlags::MAY_WRITE;
        }
        if shared && writable && seals::keeps_from_mapping(&open.file) {
            if prot.contains(Prot::WRITE) {
                return Err(Errno::PERM);
            }
            vma.flags -= VmaFlags::MAY_WRITE;
        }
        // What can't be mapped at all says so now; a page that isn't there yet is a fault's business.
        let first = open.file.page(offset / PAGE_SIZE as u64, false);
        if let Err(error @ (Errno::NODEV | Errno::ACCES | Errno::PERM)) = first {
            return Err(error);
        }
        // Shared zeroes are an object of their own, as without a file (/dev/zero: zero(4), Linux's `mmap_zero`).
        vma.backing = if shared && first.is_ok_and(|frame| frame.is_zero_page()) {
            Backing::File { file: SharedAnonymous::file()?, offset: 0 }
        } else {
            Backing::File { file: open.file.clone(), offset }
        };
    } else if shared {
        vma.backing = Backing::File { file: SharedAnonymous::file()?, offset: 0 };
    }
    if flags & abi::MAP_LOCKED != 0 {
        locks::check_allowed()?;
    }
    let populate = flags & (abi::MAP_POPULATE | abi::MAP_NONBLOCK) == abi::MAP_POPULATE;
    let memory = call.thread().process.memory();
    // A seal that comes at the same time is looked for again when the mapping can be seen.
    let sealable = match &vma.backing {
        Backing::File { file, .. } if shared && vma.flags.contains(VmaFlags::MAY_WRITE) => Some(file.clone()),
        _ => None,
    };
    let at = memory.map(place, len, vma, populate)?;
    if sealable.is_some_and(|file| seals::keeps_from_mapping(&file)) {
        memory.unmap(at..at + page_up(len).ok_or(Errno::NOMEM)?)?;
        return Err(Errno::PERM);
    }
    Ok(at)
}

/// munmap(2).
pub fn munmap(call: &Call) -> SysResult {
    let range = page_range(call.usize(0), call.usize(1), Errno::INVAL)?;
    call.thread().process.memory().unmap(range)?;
    Ok(0)
}

/// mprotect(2).
pub fn mprotect(call: &Call) -> SysResult {
    let bits = call.u32(2);
    let mut range = page_range(call.usize(0), call.usize(1), Errno::NOMEM)?;
    let memory = call.thread().process.memory();
    if bits & abi::PROT_GROWSUP != 0 {
        // No mapping of x86 grows upwards.
        return Err(Errno::INVAL);
    }
    if bits & abi::PROT_GROWSDOWN != 0 && !range.is_empty() {
        // From the start of the stack that the range lies in.
        let region = memory.region_at(range.start).ok_or(Errno::NOMEM)?;
        if !region.grows_down {
            return Err(Errno::INVAL);
        }
        range.start = region.range.start;
    }
    memory.protect(range, prot_from(bits & !abi::PROT_GROWSDOWN)?)?;
    Ok(0)
}

/// pkey_mprotect(2): without a key it is mprotect(2); there are no keys.
pub fn pkey_mprotect(call: &Call) -> SysResult {
    if call.i32(3) != -1 {
        return Err(Errno::INVAL);
    }
    mprotect(call)
}

/// brk(2).
pub fn brk(call: &Call) -> SysResult {
    Ok(call.thread().process.memory().set_heap_end(call.usize(0)))
}

/// mremap(2).
pub fn mremap(call: &Call) -> SysResult {
    let (addr, old_len, new_len, flags, target) =
        (call.usize(0), call.usize(1), call.usize(2), call.u32(3), call.usize(4));
    let known = abi::MREMAP_MAYMOVE | abi::MREMAP_FIXED | abi::MREMAP_DONTUNMAP;
    let (may_move, fixed, keep) = (
        flags & abi::MREMAP_MAYMOVE != 0,
        flags & abi::MREMAP_FIXED != 0,
        flags & abi::MREMAP_DONTUNMAP != 0,
    );
    // As on Linux, a length that wraps around when it is rounded up is none.
    let (old_len, new_len) = (page_up(old_len).unwrap_or(0), page_up(new_len).unwrap_or(0));
    if flags & !known != 0
        || ((fixed || keep) && !may_move)
        || (keep && old_len != new_len)
        || !(1..=USER_END).contains(&new_len)
    {
        return Err(Errno::INVAL);
    }
    let outside = if old_len < new_len { Errno::FAULT } else { Errno::INVAL };
    let old = page_range(addr, old_len, outside)?;
    call.thread().process.memory().remap(old, new_len, may_move, fixed.then_some(target), keep)
}

/// madvise(2), "ERRORS": why MADV_POPULATE_READ and _WRITE ended early.
fn not_populated(memory: &Memory, range: Range<usize>, refused: Refused) -> Errno {
    match refused {
        // All of it is mapped: there is a guard (MADV_GUARD_INSTALL).
        Refused::NotMapped if memory.covers(range) => Errno::FAULT,
        Refused::NotMapped | Refused::OutOfMemory => Errno::NOMEM,
        Refused::Access => Errno::INVAL,
        Refused::NoPage => Errno::FAULT,
        Refused::Ending => Errno::INTR,
    }
}

fn populate(memory: &Memory, range: Range<usize>, access: Access) -> Result<(), Errno> {
    memory.populate(range.clone(), access).map_err(|refused| not_populated(memory, range, refused))
}

/// madvise(2).
pub fn madvise(call: &Call) -> SysResult {
    advise(&call.thread().process.memory(), (call.usize(0), call.usize(1)), call.u32(2))
}

/// process_madvise(2). To another process only what changes nothing of what it sees may be advised.
pub fn process_madvise(call: &Call) -> SysResult {
    let (advice, flags) = (call.u32(3), call.u32(4));
    if flags != 0 {
        return Err(Errno::INVAL);
    }
    let me = &call.thread().process;
    let mut pieces = Iovecs::new(call.usize(1), call.usize(2))?;
    let target = other_process::process_of_descriptor(me, call.i32(0))?;
    let is_harmless =
        matches!(advice, abi::MADV_COLD | abi::MADV_PAGEOUT | abi::MADV_WILLNEED | abi::MADV_COLLAPSE);
    if !Arc::ptr_eq(me, &target) {
        if !is_harmless {
            return Err(Errno::INVAL);
        }
        look_into::check(&target)?;
        check_capability(capability::SYS_NICE)?;
    }
    let memory = target.memory();
    let mut done = 0;
    while let Some((start, len)) = pieces.next()? {
        match advise(&memory, (start, len), advice) {
            Ok(_) => {}
            Err(_) if done > 0 => return Ok(done),
            Err(error) => return Err(error),
        }
        done += len;
        pieces.advance(len);
        long_call::pause_unless_killed()?;
    }
    Ok(done)
}

/// mseal(2).
pub fn mseal(call: &Call) -> SysResult {
    let range = page_range(call.usize(0), call.usize(1), Errno::INVAL)?;
    if call.raw(2) != 0 {
        return Err(Errno::INVAL);
    }
    if !range.is_empty() {
        call.thread().process.memory().seal(range)?;
    }
    Ok(0)
}

/// Advice about a range of a memory.
fn advise(memory: &Memory, (start, len): (usize, usize), advice: u32) -> SysResult {
    let wraps = page_up(len).and_then(|len| start.checked_add(len)).is_none();
    let range = page_range(start, len, if wraps { Errno::INVAL } else { Errno::NOMEM })?;
    let none = VmaFlags::empty();
    match advice {
        abi::MADV_DONTNEED
        | abi::MADV_FREE
        | abi::MADV_DONTNEED_LOCKED
        | abi::MADV_REMOVE
        | abi::MADV_DONTFORK
        | abi::MADV_WIPEONFORK
            if !memory.all(range.clone(), |vma| !vma.keeps_pages()) =>
        {
            return Err(Errno::PERM);
        }
        abi::MADV_DONTNEED | abi::MADV_FREE | abi::MADV_COLD | abi::MADV_PAGEOUT
            if !memory.all(range.clone(), |vma| !vma.flags.contains(VmaFlags::LOCKED)) =>
        {
            return Err(Errno::INVAL);
        }
        abi::MADV_NORMAL
        | abi::MADV_RANDOM
        | abi::MADV_SEQUENTIAL
        | abi::MADV_WILLNEED
        | abi::MADV_MERGEABLE
        | abi::MADV_UNMERGEABLE
        | abi::MADV_HUGEPAGE
        | abi::MADV_NOHUGEPAGE
        | abi::MADV_COLD
        | abi::MADV_PAGEOUT
        | abi::MADV_COLLAPSE => {}
        abi::MADV_FREE | abi::MADV_WIPEONFORK if !memory.all(range.clone(), Vma::is_private_anonymous) => {
            return Err(Errno::INVAL);
        }
        abi::MADV_DONTNEED | abi::MADV_FREE | abi::MADV_DONTNEED_LOCKED => memory.discard(range.clone()),
        abi::MADV_REMOVE => memory.punch(range.clone())?,
        MADV_GUARD_INSTALL => memory.guard(range.clone(), true)?,
        MADV_GUARD_REMOVE => memory.guard(range.clone(), false)?,
        abi::MADV_DONTFORK => memory.set_flags(range.clone(), VmaFlags::DONT_FORK, none)?,
        abi::MADV_DONTDUMP => memory.set_flags(range.clone(), VmaFlags::DONT_DUMP, none)?,
        abi::MADV_DODUMP => memory.set_flags(range.clone(), none, VmaFlags::DONT_DUMP)?,
        abi::MADV_DOFORK => memory.set_flags(range.clone(), none, VmaFlags::DONT_FORK)?,
        abi::MADV_WIPEONFORK => memory.set_flags(range.clone(), VmaFlags::WIPE_ON_FORK, none)?,
        abi::MADV_KEEPONFORK => memory.set_flags(range.clone(), none, VmaFlags::WIPE_ON_FORK)?,
        abi::MADV_POPULATE_READ => populate(memory, range.clone(), Access::Read)?,
        abi::MADV_POPULATE_WRITE => populate(memory, range.clone(), Access::Write)?,
        _ => return Err(Errno::INVAL),
    }
    if memory.covers(range) { Ok(0) } else { Err(Errno::NOMEM) }
}

/// msync(2).
pub fn msync(call: &Call) -> SysResult {
    let flags = call.u32(2);
    let both = abi::MS_ASYNC | abi::MS_SYNC;
    if flags & !(both | abi::MS_INVALIDATE) != 0 || flags & both == both {
        return Err(Errno::INVAL);
    }
    if call.usize(0).is_multiple_of(PAGE_SIZE) && page_up(call.usize(1)).is_none() {
        // A length whose pages can't be counted is one of no pages.
        return Ok(0);
    }
    let range = page_range(call.usize(0), call.usize(1), Errno::NOMEM)?;
    let (waits, invalidates) = (flags & abi::MS_SYNC != 0, flags & abi::MS_INVALIDATE != 0);
    call.thread().process.memory().sync(range, waits, invalidates).map(|()| 0)
}

/// mincore(2).
pub fn mincore(call: &Call) -> SysResult {
    let range = page_range(call.usize(0), call.usize(1), Errno::NOMEM)?;
    let memory = call.thread().process.memory();
    if !memory.covers(range.clone()) {
        return Err(Errno::NOMEM);
    }
    // A piece at a time: the range may have more pages than memory has bytes.
    const PIECE: usize = 64;
    let mut to = call.usize(2);
    for start in range.clone().step_by(PIECE * PAGE_SIZE) {
        let mut pages = [0; PIECE];
        let mut count = 0;
        memory.resident_pages(start..range.end.min(start + PIECE * PAGE_SIZE), |present| {
            pages[count] = u8::from(present);
            count += 1;
        });
        user::write(to, &pages[..count])?;
        to += count;
        long_call::pause_unless_killed()?;
    }
    Ok(0)
}

/// mlock(2), "ERRORS": why some pages are not there.
fn not_locked(refused: Refused) -> Errno {
    match refused {
        Refused::OutOfMemory => Errno::AGAIN,
        Refused::Ending => Errno::INTR,
        _ => Errno::NOMEM,
    }
}

/// The whole pages that the range in the first two arguments touches. As on Linux, a length that wraps around when it is
/// rounded up is none. EINVAL if the range wraps around.
fn touched_pages(call: &Call) -> Result<Range<usize>, Errno> {
    let start = page_down(call.usize(0));
    let len = call.usize(1).checked_add(call.usize(0) - start).and_then(page_up).unwrap_or(0);
    let end = start.checked_add(len).ok_or(Errno::INVAL)?;
    Ok(start..end)
}

fn lock_range(call: &Call, locks: VmaFlags) -> SysResult {
    locks::check_allowed()?;
    let range = touched_pages(call)?;
    let memory = call.thread().process.memory();
    memory.set_locks(range.clone(), locks)?;
    memory.populate_for_good(range).map_err(not_locked)?;
    Ok(0)
}

/// mlock(2).
pub fn mlock(call: &Call) -> SysResult {
    lock_range(call, VmaFlags::LOCKED)
}

/// mlock2(2).
pub fn mlock2(call: &Call) -> SysResult {
    match call.u32(2) {
        0 => lock_range(call, VmaFlags::LOCKED),
        abi::MLOCK_ONFAULT => lock_range(call, LOCKS),
        _ => Err(Errno::INVAL),
    }
}

/// munlock(2).
pub fn munlock(call: &Call) -> SysResult {
    call.thread().process.memory().set_locks(touched_pages(call)?, VmaFlags::empty())?;
    Ok(0)
}

/// mlockall(2).
pub fn mlockall(call: &Call) -> SysResult {
    let flags = call.u32(0);
    if flags == 0
        || flags & !(abi::MCL_CURRENT | abi::MCL_FUTURE | abi::MCL_ONFAULT) != 0
        || flags == abi::MCL_ONFAULT
    {
        return Err(Errno::INVAL);
    }
    locks::check_allowed()?;
    let locks = if flags & abi::MCL_ONFAULT != 0 { LOCKS } else { VmaFlags::LOCKED };
    let current = (flags & abi::MCL_CURRENT != 0).then_some(locks);
    let future = if flags & abi::MCL_FUTURE != 0 { locks } else { VmaFlags::empty() };
    call.thread().process.memory().lock_all(current, future)?;
    Ok(0)
}

/// munlockall(2).
pub fn munlockall(call: &Call) -> SysResult {
    call.thread().process.memory().lock_all(Some(VmaFlags::empty()), VmaFlags::empty())?;
    Ok(0)
}

/// membarrier(2): by making every other CPU enter the kernel.
pub fn membarrier(call: &Call) -> SysResult {
    use abi::membarrier_cmd as c;
    let (command, flags) = (call.u32(0), call.u32(1));
    if flags != 0 {
        return Err(Errno::INVAL);
    }
    let registrations = [
        (c::MEMBARRIER_CMD_PRIVATE_EXPEDITED as u32, c::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED as u32),
        (c::MEMBARRIER_CMD_GLOBAL_EXPEDITED as u32, c::MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED as u32),
        (
            c::MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE as u32,
            c::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE as u32,
        ),
    ];
    let global = c::MEMBARRIER_CMD_GLOBAL as u32;
    if command == 0 {
        return Ok(registrations.iter().fold(global, |all, (run, register)| all | run | register) as usize);
    }
    let memory = call.thread().process.memory();
    if command == c::MEMBARRIER_CMD_GET_REGISTRATIONS as u32 {
        let used = memory.membarrier.load(Relaxed);
        let made = registrations.iter().filter(|(run, _)| used & *run as usize != 0);
        return Ok(made.fold(0, |all, (_, register)| all | *register as usize));
    }
    if command == global {
        barrier();
        return Ok(0);
    }
    for (run, register) in registrations {
        if command == register {
            memory.membarrier.fetch_or(run as usize, Relaxed);
            return Ok(0);
        }
        if command == run {
            // Only GLOBAL_EXPEDITED may be used without having registered.
            let registered = memory.membarrier.load(Relaxed) & run as usize != 0;
            if !registered && run != c::MEMBARRIER_CMD_GLOBAL_EXPEDITED as u32 {
                return Err(Errno::PERM);
            }
            barrier();
            return Ok(0);
        }
    }
    Err(Errno::INVAL)
}

/// Returns after every CPU has executed a full barrier.
fn barrier() {
    cpu::barrier_all();
}
