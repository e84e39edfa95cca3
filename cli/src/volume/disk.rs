//! A file of the host as a disk, for the file system's own code.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use coracle_block::{Disk, Error, check_range};
use rustix::fs::{FallocateFlags, fallocate};

/// A file as a disk.
#[derive(Debug)]
pub struct FileDisk {
    file: File,
    bytes: u64,
    read_only: bool,
}

impl FileDisk {
    /// Bytes of a sector, as the disks of guests have them.
    const SECTOR: u32 = 512;

    /// The disk that a file is; a last part of a sector is left out.
    ///
    /// # Errors
    /// Those of looking at the file.
    pub fn new(file: File, read_only: bool) -> std::io::Result<Self> {
        let bytes = file.metadata()?.len() / u64::from(Self::SECTOR) * u64::from(Self::SECTOR);
        Ok(FileDisk { file, bytes, read_only })
    }

    fn check_change(&self, offset_bytes: u64, len_bytes: u64) -> Result<(), Error> {
        if self.read_only { Err(Error::ReadOnly) } else { check_range(self, offset_bytes, len_bytes) }
    }
}

impl Disk for FileDisk {
    fn sector_bytes(&self) -> u32 {
        Self::SECTOR
    }

    fn size_bytes(&self) -> u64 {
        self.bytes
    }

    fn read_only(&self) -> bool {
        self.read_only
    }

    fn read(&self, offset_bytes: u64, into: &mut [u8]) -> Result<(), Error> {
        check_range(self, offset_bytes, into.len() as u64)?;
        self.file.read_exact_at(into, offset_bytes).map_err(|_| Error::Io)
    }

    fn write(&self, offset_bytes: u64, from: &[u8]) -> Result<(), Error> {
        self.check_change(offset_bytes, from.len() as u64)?;
        self.file.write_all_at(from, offset_bytes).map_err(|_| Error::Io)
    }

    fn flush(&self) -> Result<(), Error> {
        self.file.sync_data().map_err(|_| Error::Io)
    }

    fn discard(&self, offset_bytes: u64, len_bytes: u64) -> Result<(), Error> {
        self.check_change(offset_bytes, len_bytes)?;
        let how = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(&self.file, how, offset_bytes, len_bytes).map_err(|_| Error::Unsupported)
    }
}
