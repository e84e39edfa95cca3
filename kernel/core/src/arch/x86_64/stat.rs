//! `struct stat` of x86-64 (Linux's arch/x86/include/uapi/asm/stat.h).
use crate::fs::stat::{BLOCK_SIZE, Metadata, SECTOR};
use linux_raw_sys::general::stat as Stat;

/// 64-bit words of a `struct stat`.
const WORDS: usize = size_of::<Stat>() / 8;

/// An object's `struct stat`.
pub fn stat(metadata: &Metadata) -> Stat {
    Stat {
        st_dev: metadata.device,
        st_ino: metadata.inode,
        st_nlink: metadata.links,
        st_mode: metadata.mode,
        st_uid: metadata.uid,
        st_gid: metadata.gid,
        __pad0: 0,
        st_rdev: metadata.rdev,
        st_size: metadata.size as i64,
        st_blksize: BLOCK_SIZE as i64,
        st_blocks: metadata.allocated.div_ceil(SECTOR) as i64,
        st_atime: metadata.accessed.seconds as u64,
        st_atime_nsec: u64::from(metadata.accessed.nanos),
        st_mtime: metadata.modified.seconds as u64,
        st_mtime_nsec: u64::from(metadata.modified.nanos),
        st_ctime: metadata.changed.seconds as u64,
        st_ctime_nsec: u64::from(metadata.changed.nanos),
        __unused: [0; 3],
    }
}

/// The number of links.
pub fn links(stat: &Stat) -> u32 {
    stat.st_nlink as u32
}

/// Seconds and nanoseconds: of the last access, modification and change.
pub fn times(stat: &Stat) -> [(u64, u64); 3] {
    [
        (stat.st_atime, stat.st_atime_nsec),
        (stat.st_mtime, stat.st_mtime_nsec),
        (stat.st_ctime, stat.st_ctime_nsec),
    ]
}

/// The words of `struct stat`.
pub fn words(stat: &Stat) -> [u64; WORDS] {
    [
        stat.st_dev,
        stat.st_ino,
        stat.st_nlink,
        u64::from(stat.st_mode) | u64::from(stat.st_uid) << 32,
        u64::from(stat.st_gid),
        stat.st_rdev,
        stat.st_size as u64,
        stat.st_blksize as u64,
        stat.st_blocks as u64,
        stat.st_atime,
        stat.st_atime_nsec,
        stat.st_mtime,
        stat.st_mtime_nsec,
        stat.st_ctime,
        stat.st_ctime_nsec,
        0,
        0,
        0,
    ]
}
