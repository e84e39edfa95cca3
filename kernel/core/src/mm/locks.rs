//! Locked memory: mlock(2) and its relatives. Nothing is ever paged out; locking makes pages present, keeps them present, and
//! counts for RLIMIT_MEMLOCK.
use super::memory::{Layout, Memory};
use super::vma::{Backing, LOCKS, Vma, VmaFlags};
use crate::errno::Errno;
use coracle_capabilities::number;
use coracle_hal::paging::{USER_END, USER_START};
use coracle_hal::sync::atomic::Ordering::Relaxed;
use core::ops::Range;
use linux_raw_sys::general as abi;

/// Bytes that the running process may lock: any number with CAP_IPC_LOCK.
pub fn limit() -> u64 {
    crate::this::with(|thread| {
        let process = &thread.process;
        let privileged = process.credentials.lock().can(number::IPC_LOCK);
        if privileged { u64::MAX } else { process.limits.soft(abi::RLIMIT_MEMLOCK) }
    })
}

/// EPERM if the running process may not lock any (mlock(2), "ERRORS").
pub fn check_allowed() -> Result<(), Errno> {
    if limit() == 0 { Err(Errno::PERM) } else { Ok(()) }
}

/// Locks what can be: not what the kernel itself put in place, nor what is locked for good (memfd_secret(2)).
fn set(vma: &mut Vma, locks: VmaFlags) {
    if !matches!(vma.backing, Backing::Placed) && !vma.is_secret() {
        vma.flags = (vma.flags - LOCKS) | locks;
    }
}

impl Layout {
    /// EAGAIN if `len` further bytes may not be locked. `limit`: `None` if they are not to be.
    pub(super) fn check_lock(&mut self, len: usize, limit: Option<u64>) -> Result<(), Errno> {
        let Some(limit) = limit else { return Ok(()) };
        self.lock_limit = limit;
        let locked = self.regions.locked_bytes().saturating_add(len);
        if locked as u64 > limit { Err(Errno::AGAIN) } else { Ok(()) }
    }
}

impl Memory {
    /// Flags that new mappings get.
    pub(super) fn future_locks(&self) -> VmaFlags {
        VmaFlags::from_bits_truncate(self.future_locks.load(Relaxed))
    }

    /// Locks what is mapped in the range, without making it present, or unlocks it (`locks` is empty). As on Linux, what lies
    /// before a hole is changed, too. ENOMEM for a hole, or beyond the limit.
    pub fn set_locks(&self, range: Range<usize>, locks: VmaFlags) -> Result<(), Errno> {
        let limit = limit();
        let mut layout = self.change();
        if !locks.is_empty() {
            let mut locked = layout.regions.locked_bytes().saturating_add(range.len());
            if locked as u64 > limit {
                // What is locked already counts once.
                let parts = layout.regions.parts(range.clone());
                locked -= parts
                    .filter(|(_, vma)| vma.flags.contains(VmaFlags::LOCKED))
                    .map(|(part, _)| part.len())
                    .sum::<usize>();
            }
            if locked as u64 > limit {
                return Err(Errno::NOMEM);
            }
            layout.lock_limit = limit;
        }
        let hole = layout.regions.covered_to(range.clone());
        layout.update(range.start..hole, |vma| set(vma, locks))?;
        if hole < range.end { Err(Errno::NOMEM) } else { Ok(()) }
    }

    /// mlockall(2) and, with no flags, munlockall(2): how all that is mapped is locked from now on (`None`: as before), and
    /// what will be mapped. ENOMEM beyond the limit.
    pub fn lock_all(&self, current: Option<VmaFlags>, future: VmaFlags) -> Result<(), Errno> {
        let limit = limit();
        let is_locked = current.is_some_and(|locks| !locks.is_empty());
        {
            let mut layout = self.change();
            if is_locked && layout.regions.bytes() as u64 > limit {
                return Err(Errno::NOMEM);
            }
            layout.lock_limit = limit;
            self.future_locks.store(future.bits(), Relaxed);
            if let Some(locks) = current {
                layout.update(USER_START..USER_END, |vma| set(vma, locks))?;
            }
        }
        if is_locked {
            self.populate_locked(USER_START..USER_END);
        }
        Ok(())
    }

    /// Makes pages of locked regions present, as far as that can be done. Hold no lock.
    pub(super) fn populate_locked(&self, range: Range<usize>) {
        let mut at = range.start;
        while at < range.end {
            let (part, populated) = {
                let layout = self.layout();
                let Some((part, vma)) = layout.regions.parts(at..range.end).next() else { return };
                (part, vma.is_populated())
            };
            at = part.end;
            if populated {
                let _ = self.populate_for_good(part);
            }
        }
    }
}
