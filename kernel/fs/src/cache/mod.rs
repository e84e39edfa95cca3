//! The page cache: pages of files and devices whose bytes are on a disk.
//!
//! A [`pages::Cache`] belongs to one file, and is shared by all that read, write and map it. What it lacks is read from the
//! file's [`Backing`], several pages at a time where a reader goes from front to back; what is written stays dirty until
//! [`pages::Cache::write_back`], which fsync(2), the thread that looks after the disks, and a writer of too much call.
//! No spinning lock is held while the backing works: a page is marked as being filled or written meanwhile, and threads that
//! want it sleep.
//!
//! Cached pages take memory that nothing else wants ([`pool`]): clean ones are given back when it is short.
//!
//! A page that is mapped to be written to by a program is dirty as long as it is mapped, because nothing notes the writes.
pub mod advice;
pub mod pages;
pub mod pool;

use coracle_core::errno::Errno;
use coracle_hal::frame::Frame;

/// Where the pages of a cache come from and go to. The calls wait for the disk.
pub trait Backing {
    /// Bytes of the file.
    fn size(&self) -> u64;
    /// Fills frames with the pages from `index` on. What lies past the end of the file is zeroes.
    fn read(&self, index: u64, frames: &[Frame]) -> Result<(), Errno>;
    /// Writes the pages from `index` on; of the last page of the file only what is within it.
    fn write(&self, index: u64, frames: &[Frame]) -> Result<(), Errno>;
    /// The same, and then makes the file durable, if that is best done together: how that went, if so. `data_only`: as fdatasync(2).
    fn write_and_sync(&self, index: u64, frames: &[Frame], data_only: bool) -> (Result<(), Errno>, Synced) {
        let _ = data_only;
        (self.write(index, frames), None)
    }
}

/// How making a file durable went, if that was done.
pub type Synced = Option<Result<(), Errno>>;
