//! What a disk can do.
use crate::Error;

/// A disk. Offsets and lengths are in bytes, and multiples of [`Disk::sector_bytes`].
///
/// The calls may block: a caller must hold no spinning lock. Several may be under way at once; two that touch the same sector
/// have no order among them but the one their callers make.
pub trait Disk: Send + Sync {
    /// Bytes of a sector, which is written whole or not at all: 512 or 4096.
    fn sector_bytes(&self) -> u32;

    /// Bytes of the disk.
    fn size_bytes(&self) -> u64;

    /// Whether writes are refused.
    fn read_only(&self) -> bool;

    /// Fills `into` with the bytes from an offset on.
    ///
    /// # Errors
    /// [`Error::Range`], or what the device says.
    fn read(&self, offset_bytes: u64, into: &mut [u8]) -> Result<(), Error>;

    /// Writes `from` from an offset on. It is durable only after a [`Disk::flush`] that begins later; until then any part of
    /// it may be lost when the power fails, sector by sector, and in any order with other writes.
    ///
    /// # Errors
    /// [`Error::Range`], [`Error::ReadOnly`], or what the device says. What the sectors hold is unknown then.
    fn write(&self, offset_bytes: u64, from: &[u8]) -> Result<(), Error>;

    /// Begins a write, which ends by the next [`Disk::flush`]: until that has returned, the caller neither reads nor writes these
    /// sectors, and gives the disk to no other caller.
    ///
    /// # Errors
    /// As [`Disk::write`]; what the device says of it may come from the flush.
    fn begin_write(&self, offset_bytes: u64, from: &[u8]) -> Result<(), Error> {
        self.write(offset_bytes, from)
    }

    /// Writes `from` from an offset on, and makes that durable when it returns. Of other writes it says nothing.
    ///
    /// # Errors
    /// As [`Disk::write`].
    fn write_durable(&self, offset_bytes: u64, from: &[u8]) -> Result<(), Error> {
        self.write(offset_bytes, from)?;
        self.flush()
    }

    /// Makes all writes that have returned durable, and those that were [begun](Disk::begin_write).
    ///
    /// # Errors
    /// What the device says. Writes since the last flush may be lost then, also after a later flush that succeeds.
    fn flush(&self) -> Result<(), Error>;

    /// A hint that the bytes are not needed. What they read as afterwards is not defined.
    ///
    /// # Errors
    /// [`Error::Range`], [`Error::ReadOnly`], [`Error::Unsupported`], or what the device says.
    fn discard(&self, offset_bytes: u64, len_bytes: u64) -> Result<(), Error>;
}

/// Whether a range is of whole sectors of the disk, and ends on it.
///
/// # Errors
/// [`Error::Range`].
pub fn check_range(disk: &(impl Disk + ?Sized), offset_bytes: u64, len_bytes: u64) -> Result<(), Error> {
    let sector = u64::from(disk.sector_bytes());
    let end = offset_bytes.checked_add(len_bytes).ok_or(Error::Range)?;
    let whole = offset_bytes.is_multiple_of(sector) && len_bytes.is_multiple_of(sector);
    if whole && end <= disk.size_bytes() { Ok(()) } else { Err(Error::Range) }
}
