//! Seals of memory files (fcntl(2), "File Sealing"; memfd_create(2)).
use alloc::sync::Arc;
use coracle_core::errno::Errno;
use coracle_core::fs::file::{File, OpenFile};
use coracle_core::task::long_call;
use coracle_core::task::process;
use coracle_fs::memory::{Content, MemoryFile, WRITE_SEALS};
use linux_raw_sys::general::{
    F_SEAL_EXEC, F_SEAL_FUTURE_WRITE, F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_WRITE,
};

/// The seals of the content.
const OF_CONTENT: u32 = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE;
/// All seals.
const SEALS: u32 = F_SEAL_SEAL | F_SEAL_EXEC | OF_CONTENT;
/// The permission bits for executing a file.
const EXECUTE: u32 = 0o111;

/// What seals of `file` are about; `None` if it can have none.
pub fn content(file: &Arc<dyn File>) -> Option<&Content> {
    file.as_any().downcast_ref::<MemoryFile>()?.node().content()
}

/// F_ADD_SEALS. EINVAL, EPERM; EBUSY for F_SEAL_WRITE while a shared mapping may be written to.
pub fn add(open: &OpenFile, mut seals: u32) -> Result<(), Errno> {
    if seals & !SEALS != 0 {
        return Err(Errno::INVAL);
    }
    open.check_writable().map_err(|_| Errno::PERM)?;
    let content = content(&open.file).ok_or(Errno::INVAL)?;
    if content.seals() & F_SEAL_SEAL != 0 {
        return Err(Errno::PERM);
    }
    if seals & F_SEAL_EXEC != 0 && open.file.stat()?.st_mode & EXECUTE != 0 {
        // What is a program for ever keeps its bytes, too.
        seals |= OF_CONTENT;
    }
    // First the seal, then the look: mmap(2) looks for seals when its mapping is there, so that one sees the other.
    if seals & F_SEAL_WRITE & !content.seals() != 0 {
        content.add_seals(F_SEAL_WRITE)?;
        if may_be_written(content) {
            content.remove_seals(F_SEAL_WRITE);
            return Err(Errno::BUSY);
        }
    }
    content.add_seals(seals)
}

/// Whether `file` is sealed against mappings that could write to it.
pub fn keeps_from_mapping(file: &Arc<dyn File>) -> bool {
    content(file).is_some_and(|content| content.seals() & WRITE_SEALS != 0)
}

/// Whether a process has a shared mapping of `sealed` that can be written to, or made so.
fn may_be_written(sealed: &Content) -> bool {
    process::all().any(|process| {
        let memory = process.memory();
        let mut from = 0;
        while let Some(region) = memory.region_from(from) {
            let is_sealed =
                || region.file.as_ref().and_then(content).is_some_and(|it| core::ptr::eq(it, sealed));
            if region.shared && region.may_write && is_sealed() {
                return true;
            }
            from = region.range.end;
            long_call::pause();
        }
        false
    })
}
