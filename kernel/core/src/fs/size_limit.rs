//! The size beyond which a process may not have files grow: RLIMIT_FSIZE (getrlimit(2)).
use super::file::File;
use crate::errno::Errno;
use crate::mm::user_buf::UserBuf;
use linux_raw_sys::general::{S_IFMT, S_IFREG};

/// The running process's limit, if there is one.
#[inline(always)]
fn limit() -> Option<u64> {
    crate::this::with(|thread| thread.process.limits.file_size())
}

/// EFBIG, with SIGXFSZ.
fn too_large() -> Errno {
    crate::this::with(|thread| thread.process.limits.file_too_large())
}

/// Cuts what is to be written to `file` at the limit. `at`: the offset; none: its end. EFBIG if no byte may be written there.
#[inline(always)]
pub fn cut(file: &dyn File, src: &mut UserBuf, at: Option<u64>) -> Result<(), Errno> {
    limit().map_or(Ok(()), |limit| cut_at(file, src, at, limit))
}

#[cold]
#[inline(never)]
fn cut_at(file: &dyn File, src: &mut UserBuf, at: Option<u64>, limit: u64) -> Result<(), Errno> {
    if src.remaining() == 0 || file.stat()?.st_mode & S_IFMT != S_IFREG {
        return Ok(());
    }
    let at = at.unwrap_or_else(|| file.size());
    let room = limit.checked_sub(at).filter(|&room| room > 0).ok_or_else(too_large)?;
    if (room as usize) < src.remaining() {
        src.shorten(room as usize);
    }
    Ok(())
}

/// EFBIG if a regular file of `size` bytes may not become one of `wanted` bytes (truncate(2), fallocate(2)).
pub fn check(size: u64, wanted: u64) -> Result<(), Errno> {
    match limit() {
        Some(limit) if wanted > limit && wanted > size => Err(too_large()),
        _ => Ok(()),
    }
}
