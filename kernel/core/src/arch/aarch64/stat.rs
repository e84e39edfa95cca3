//! `struct stat` of aarch64 (Linux's include/uapi/asm-generic/stat.h).
use crate::fs::stat::{BLOCK_SIZE, Metadata, SECTOR};
use linux_raw_sys::general::stat as Stat;

/// 64-bit words of a `struct stat`.
const WORDS: usize = size_of::<Stat>() / 8;

/// An object's `struct stat`.
pub fn stat(metadata: &Metadata) -> Stat {
    Stat {
        st_dev: metadata.device,
        st_ino: metadata.inode,
        st_mode: metadata.mode,
        st_nlink: metadata.links as u32,
        st_uid: metadata.uid,
        st_gid: metadata.gid,
        st_rdev: metadata.rdev,
        __pad1: 0,
        st_size: metadata.size as i64,
        st_blksize: BLOCK_SIZE as i32,
        __pad2: 0,
        st_blocks: metadata.allocated.div_ceil(SECTOR) as i64,
        st_atime: metadata.accessed.seconds,
        st_atime_nsec: metadata.accessed.nanos.into(),
        st_mtime: metadata.modified.seconds,
        st_mtime_nsec: metadata.modified.nanos.into(),
        st_ctime: metadata.changed.seconds,
        st_ctime_nsec: metadata.changed.nanos.into(),
        __unused4: 0,
        __unused5: 0,
    }
}

/// The number of links.
pub fn links(stat: &Stat) -> u32 {
    stat.st_nlink
}

/// Seconds and nanoseconds: of the last access, modification and change.
pub fn times(stat: &Stat) -> [(u64, u64); 3] {
    [
        (stat.st_atime as u64, stat.st_atime_nsec),
        (stat.st_mtime as u64, stat.st_mtime_nsec),
        (stat.st_ctime as u64, stat.st_ctime_nsec),
    ]
}

/// The words of `struct stat`.
pub fn words(stat: &Stat) -> [u64; WORDS] {
    let [accessed, modified, changed] = times(stat);
    [
        stat.st_dev,
        stat.st_ino,
        u64::from(stat.st_mode) | u64::from(stat.st_nlink) << 32,
        u64::from(stat.st_uid) | u64::from(stat.st_gid) << 32,
        stat.st_rdev,
        0,
        stat.st_size as u64,
        stat.st_blksize as u64,
        stat.st_blocks as u64,
        accessed.0,
        accessed.1,
        modified.0,
        modified.1,
        changed.0,
        changed.1,
        0,
    ]
}
