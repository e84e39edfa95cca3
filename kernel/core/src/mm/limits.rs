//! How much a process may map: RLIMIT_AS and RLIMIT_DATA (getrlimit(2)).
use super::memory::{Layout, Memory};
use super::vma::Vma;
use crate::errno::Errno;
use coracle_hal::paging::Prot;
use coracle_hal::sync::atomic::Ordering::Relaxed;
use coracle_vma::Attributes;
use core::ops::Range;
use linux_raw_sys::general as abi;

/// The soft limits of a process, in bytes.
#[derive(Clone, Copy)]
pub(super) struct SpaceLimits {
    /// Of all that is mapped.
    space: u64,
    /// Of private memory that may be written to.
    data: u64,
}

impl SpaceLimits {
    /// Those of the running process, for `memory`. None hold for a program that is being loaded: the first one has no process yet.
    #[inline(never)]
    pub fn of_caller(memory: &Memory) -> SpaceLimits {
        if !memory.is_limited.load(Relaxed) {
            return SpaceLimits { space: u64::MAX, data: u64::MAX };
        }
        crate::this::with(|thread| {
            let limits = &thread.process.limits;
            SpaceLimits { space: limits.soft(abi::RLIMIT_AS), data: limits.soft(abi::RLIMIT_DATA) }
        })
    }

    /// RLIMIT_DATA.
    pub fn data(self) -> u64 {
        self.data
    }
}

impl Layout {
    /// ENOMEM if `added` further bytes with the attributes of `vma` may not be mapped (Linux's `may_expand_vm`).
    pub(super) fn check_space(&self, limits: SpaceLimits, added: usize, vma: &Vma) -> Result<(), Errno> {
        let beyond = |have: usize, limit: u64| have.saturating_add(added) as u64 > limit;
        if beyond(self.regions.bytes(), limits.space)
            || (vma.is_data() && beyond(self.regions.data_bytes(), limits.data))
        {
            return Err(Errno::NOMEM);
        }
        Ok(())
    }

    /// The same for a mapping in place of what lies in `range`.
    pub(super) fn check_space_at(
        &self,
        limits: SpaceLimits,
        range: Range<usize>,
        vma: &Vma,
    ) -> Result<(), Errno> {
        self.check_space(limits, range.len(), vma).or_else(|_| {
            let there: usize = self.regions.parts(range.clone()).map(|(part, _)| part.len()).sum();
            self.check_space(limits, range.len() - there, vma)
        })
    }

    /// ENOMEM if what lies in `range` may not all become data, as it would with the rights `prot` (Linux's `mprotect_fixup`).
    #[inline(never)]
    pub(super) fn check_new_data(
        &self,
        limits: SpaceLimits,
        range: Range<usize>,
        prot: Prot,
    ) -> Result<(), Errno> {
        let becomes_data = |vma: &Vma| !vma.is_data() && Vma { prot, ..vma.clone() }.is_data();
        let parts = self.regions.parts(range).filter(|(_, vma)| becomes_data(vma));
        let added: usize = parts.map(|(part, _)| part.len()).sum();
        let data = self.regions.data_bytes() as u64;
        if data.saturating_add(added as u64) > limits.data { Err(Errno::NOMEM) } else { Ok(()) }
    }
}
