//! What a mapping is made of (the attributes of a region).
use crate::errno::Errno;
use crate::fs::file::File;
use alloc::sync::Arc;
use coracle_hal::paging::Prot;
use coracle_vma::Attributes;

bitflags::bitflags! {
    /// Properties of a mapping beside its rights.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct VmaFlags: u16 {
        /// Writes are seen by all who map it (MAP_SHARED).
        const SHARED = 1;
        /// mprotect(2) may add PROT_WRITE (a shared mapping of a file opened for reading only may not have it).
        const MAY_WRITE = 2;
        /// A stack: grows towards lower addresses (MAP_GROWSDOWN).
        const GROWS_DOWN = 4;
        /// Not there after fork(2) (MADV_DONTFORK).
        const DONT_FORK = 8;
        /// Zeroes in the child of fork(2) (MADV_WIPEONFORK).
        const WIPE_ON_FORK = 16;
        /// Locked in memory (mlock(2)): its pages are made present, and count for RLIMIT_MEMLOCK. Nothing is ever paged out.
        const LOCKED = 32;
        /// mprotect(2) may not add PROT_EXEC (a file of a mount with MS_NOEXEC).
        const NEVER_EXEC = 64;
        /// Locked, but pages are made present when they are touched (MLOCK_ONFAULT).
        const LOCKED_ON_FAULT = 128;
        /// Neither changed nor removed any more (mseal(2)).
        const SEALED = 256;
        /// Left out of core dumps (MADV_DONTDUMP).
        const DONT_DUMP = 512;
        /// Reached by its own page table alone (memfd_secret(2)): neither by other processes and debuggers nor by devices.
        const SECRET = 1024;
        /// No access is allowed, whatever the rights are (MADV_GUARD_INSTALL).
        const GUARD = 2048;
    }
}

/// How memory may be locked.
pub const LOCKS: VmaFlags = VmaFlags::LOCKED.union(VmaFlags::LOCKED_ON_FAULT);

/// Where the pages of a mapping come from when they are first touched.
#[derive(Clone)]
pub enum Backing {
    /// Zeroes.
    Anonymous,
    /// A file, from this offset (a multiple of the page size).
    File {
        /// The file; also the kernel's object behind a shared anonymous mapping.
        file: Arc<dyn File>,
        /// Offset of the first page in bytes.
        offset: u64,
    },
    /// All pages were put in place when it was made (the vDSO).
    Placed,
}

/// Attributes of a mapped region.
#[derive(Clone)]
pub struct Vma {
    /// Rights asked for. Page tables may hold less (pages shared until written).
    pub prot: Prot,
    /// See [`VmaFlags`].
    pub flags: VmaFlags,
    /// What it is made of.
    pub backing: Backing,
    /// Name in /proc/self/maps where there is no file: `[heap]`, `[stack]`, `[vvar]`, `[vdso]`; else empty.
    pub label: &'static str,
}

/// What a page table holds for `prot`: a page that may be accessed at all may be read, as x86 has no other pages (mmap(2)).
/// `write`: it may be written at once; else a write faults first.
pub fn table_rights(prot: Prot, write: bool) -> Prot {
    let mut rights = prot;
    rights.set(Prot::READ, !prot.is_empty());
    if write { rights } else { rights - Prot::WRITE }
}

impl Vma {
    /// True for MAP_SHARED.
    pub fn shared(&self) -> bool {
        self.flags.contains(VmaFlags::SHARED)
    }
    /// True for memory of memfd_secret(2).
    pub fn is_secret(&self) -> bool {
        self.flags.contains(VmaFlags::SECRET)
    }
    /// True if its pages are to be present from the start.
    pub fn is_populated(&self) -> bool {
        self.flags & LOCKS == VmaFlags::LOCKED
    }
    /// True if its pages must not be let go of (mseal(2)): they are sealed, and the program could not overwrite them either.
    pub fn keeps_pages(&self) -> bool {
        self.flags.contains(VmaFlags::SEALED)
            && !self.prot.contains(Prot::WRITE)
            && matches!(self.backing, Backing::Anonymous)
    }
    /// True for private memory without a file.
    pub fn is_private_anonymous(&self) -> bool {
        !self.shared() && matches!(self.backing, Backing::Anonymous)
    }
}

impl Attributes for Vma {
    fn advance(&self, by: usize) -> Self {
        let mut rest = self.clone();
        if let Backing::File { offset, .. } = &mut rest.backing {
            *offset += by as u64;
        }
        rest
    }
    fn joins(&self, len: usize, next: &Self) -> bool {
        let continues = match (&self.backing, &next.backing) {
            (Backing::Anonymous, Backing::Anonymous) => true,
            (Backing::File { file, offset }, Backing::File { file: next_file, offset: next_offset }) => {
                Arc::ptr_eq(file, next_file) && offset + len as u64 == *next_offset
            }
            _ => false,
        };
        continues && self.prot == next.prot && self.flags == next.flags && self.label == next.label
    }
    fn is_locked(&self) -> bool {
        self.flags.contains(VmaFlags::LOCKED)
    }
    /// Private, writable, and no stack (Linux's `is_data_mapping`): counts for RLIMIT_DATA.
    fn is_data(&self) -> bool {
        self.prot.contains(Prot::WRITE) && !self.flags.intersects(VmaFlags::SHARED | VmaFlags::GROWS_DOWN)
    }
}

impl From<coracle_vma::Error> for Errno {
    fn from(error: coracle_vma::Error) -> Self {
        match error {
            coracle_vma::Error::Occupied => Errno::EXIST,
            coracle_vma::Error::OutOfMemory | coracle_vma::Error::TooMany => Errno::NOMEM,
        }
    }
}
