//! What a program says it is going to do with an open file (posix_fadvise(2)).
use super::Backing;
use super::pages::{Cache, Reading};
use coracle_hal::sync::atomic::{AtomicU32, Ordering};
use linux_raw_sys::general::{
    POSIX_FADV_DONTNEED, POSIX_FADV_NORMAL, POSIX_FADV_RANDOM, POSIX_FADV_SEQUENTIAL, POSIX_FADV_WILLNEED,
};

/// The advice on how an open file is read.
#[derive(Default)]
pub struct Advice(AtomicU32);

impl Advice {
    /// How the file is read by it.
    pub fn reading(&self) -> Reading {
        match self.0.load(Ordering::Relaxed) {
            POSIX_FADV_RANDOM => Reading::RANDOM,
            POSIX_FADV_SEQUENTIAL => Reading::SEQUENTIAL,
            _ => Reading::NORMAL,
        }
    }

    /// Takes advice on a range of bytes: some holds for the file from now on, some is followed at once. May wait for the disk.
    pub fn take(&self, cache: &Cache, backing: &dyn Backing, advice: u32, start: u64, end: u64) {
        match advice {
            POSIX_FADV_NORMAL | POSIX_FADV_RANDOM | POSIX_FADV_SEQUENTIAL => {
                self.0.store(advice, Ordering::Relaxed);
            }
            POSIX_FADV_WILLNEED => cache.fetch(backing, start, end),
            POSIX_FADV_DONTNEED => {
                // An error is counted, and left to fsync(2).
                let _ = cache.write_back(backing, start, end);
                // The last page goes with the end of the file.
                let end = if end >= backing.size() { u64::MAX } else { end };
                cache.give_back(start, end);
            }
            _ => {}
        }
    }
}
