//! Which partitions a disk has.
use super::{gpt, mbr};
use crate::{Disk, Error};
use alloc::vec::Vec;
use coracle_fallible::filled;

/// Partitions that are read at most: as many as a GPT has as a rule.
pub const MAX_PARTITIONS: usize = 128;

/// How a disk is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// By a GUID partition table.
    Gpt,
    /// By a master boot record.
    Mbr,
    /// Not at all.
    None,
}

/// A partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its number as Linux counts: from 1, logical ones of an MBR from 5.
    pub number: u32,
    /// Where it begins on the disk.
    pub offset_bytes: u64,
    /// How long it is.
    pub len_bytes: u64,
    /// Its type: a GUID as it lies on the disk, or the byte of an MBR in front of zeroes.
    pub kind: [u8; 16],
}

/// What a disk says about its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// How it is divided.
    pub scheme: Scheme,
    /// The partitions, in the order of the table. All lie on the disk.
    pub partitions: Vec<Partition>,
}

/// Reads the partition table of a disk. A GPT counts only if its checksums hold, its backup where the first does not.
///
/// # Errors
/// What the disk says, [`Error::NoMemory`].
pub fn read_table(disk: &dyn Disk) -> Result<Table, Error> {
    let mut sector = filled(0, disk.sector_bytes() as usize)?;
    if disk.size_bytes() < sector.len() as u64 {
        return Ok(Table { scheme: Scheme::None, partitions: Vec::new() });
    }
    disk.read(0, &mut sector)?;
    if !mbr::is_signed(&sector) {
        return Ok(Table { scheme: Scheme::None, partitions: Vec::new() });
    }
    if mbr::is_protective(&sector)
        && let Some(partitions) = gpt::read(disk)?
    {
        return Ok(Table { scheme: Scheme::Gpt, partitions });
    }
    let partitions = mbr::read(disk, &sector)?;
    let scheme = if partitions.is_empty() { Scheme::None } else { Scheme::Mbr };
    Ok(Table { scheme, partitions })
}
