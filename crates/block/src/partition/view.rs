//! A partition as a disk of its own.
use super::Partition;
use crate::{Disk, Error, check_range};
use alloc::sync::Arc;

/// A part of a disk.
pub struct View {
    disk: Arc<dyn Disk>,
    offset_bytes: u64,
    len_bytes: u64,
}

impl View {
    /// The part of a disk that a partition names.
    ///
    /// # Errors
    /// [`Error::Range`], if it is not of whole sectors within the disk.
    pub fn new(disk: Arc<dyn Disk>, partition: &Partition) -> Result<View, Error> {
        check_range(&*disk, partition.offset_bytes, partition.len_bytes)?;
        Ok(View { disk, offset_bytes: partition.offset_bytes, len_bytes: partition.len_bytes })
    }

    /// Where a range of the part lies on the disk.
    fn place(&self, offset_bytes: u64, len_bytes: u64) -> Result<u64, Error> {
        check_range(self, offset_bytes, len_bytes)?;
        Ok(self.offset_bytes + offset_bytes)
    }
}

impl Disk for View {
    fn sector_bytes(&self) -> u32 {
        self.disk.sector_bytes()
    }
    fn size_bytes(&self) -> u64 {
        self.len_bytes
    }
    fn read_only(&self) -> bool {
        self.disk.read_only()
    }
    fn read(&self, offset_bytes: u64, into: &mut [u8]) -> Result<(), Error> {
        self.disk.read(self.place(offset_bytes, into.len() as u64)?, into)
    }
    fn write(&self, offset_bytes: u64, from: &[u8]) -> Result<(), Error> {
        self.disk.write(self.place(offset_bytes, from.len() as u64)?, from)
    }
    fn begin_write(&self, offset_bytes: u64, from: &[u8]) -> Result<(), Error> {
        self.disk.begin_write(self.place(offset_bytes, from.len() as u64)?, from)
    }
    fn write_durable(&self, offset_bytes: u64, from: &[u8]) -> Result<(), Error> {
        self.disk.write_durable(self.place(offset_bytes, from.len() as u64)?, from)
    }
    fn flush(&self) -> Result<(), Error> {
        self.disk.flush()
    }
    fn discard(&self, offset_bytes: u64, len_bytes: u64) -> Result<(), Error> {
        self.disk.discard(self.place(offset_bytes, len_bytes)?, len_bytes)
    }
}
