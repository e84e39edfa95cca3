//! Whether a block of metadata is what it should be, and its checksum.
//!
//! A block is verified when it is read from the disk, and sealed when the transaction that changed it is committed.
use crate::bytes::{le16, le32, set_le16, set_le32};
use crate::cache::Kind;
use crate::crc::{crc32c, crc32c_zeroes};
use crate::directory::{self, Layout};
use crate::error::{Error, Result};
use crate::extent;
use crate::group;
use crate::superblock::{self, Superblock};

/// Where a block of attributes has its checksum.
const ATTRIBUTES_CHECKSUM: usize = 16;
const ATTRIBUTES_MAGIC: u32 = 0xea02_0000;
/// What stands at the end of a block of the orphan file, before its checksum.
const ORPHANS_MAGIC: u32 = 0x0b10_ca04;

/// Checks a block that was read.
pub(crate) fn verify(superblock: &Superblock, kind: Kind, block: u64, data: &[u8]) -> Result<()> {
    let checked = superblock.has_checksums();
    match kind {
        Kind::Super => {
            let from = superblock.superblock_offset();
            let bytes = data.get(from..from + superblock::BYTES).unwrap_or_default();
            if !superblock::checksum_holds(bytes) {
                return Err(Error::Corrupt(&"the superblock's checksum is wrong"));
            }
        }
        Kind::Descriptors(first) => {
            let descriptors = data.chunks_exact(superblock.descriptor_bytes as usize);
            for (group, descriptor) in (first..superblock.groups).zip(descriptors) {
                let right = le16(descriptor, group::field::CHECKSUM);
                if superblock.has_group_checksums()
                    && superblock.descriptor_checksum(group, descriptor) != right
                {
                    return Err(Error::Corrupt(&"a group descriptor's checksum is wrong"));
                }
            }
        }
        Kind::Directory(seed)
            if checked
                && directory_checksum(data, seed).is_none_or(|(at, checksum)| le32(data, at) != checksum) =>
        {
            return Err(Error::Corrupt(&"a directory block's checksum is wrong"));
        }
        Kind::Extents(seed) => {
            extent::check_node(superblock, data)?;
            let at = extent::tail(data);
            if checked && crc32c(seed, data.get(..at).unwrap_or_default()) != le32(data, at) {
                return Err(Error::Corrupt(&"an extent block's checksum is wrong"));
            }
        }
        Kind::Attributes => {
            if le32(data, 0) != ATTRIBUTES_MAGIC {
                return Err(Error::Corrupt(&"a block of attributes has no magic number"));
            }
            if checked && attributes_checksum(superblock, block, data) != le32(data, ATTRIBUTES_CHECKSUM) {
                return Err(Error::Corrupt(&"an attribute block's checksum is wrong"));
            }
        }
        Kind::Orphans(seed) => {
            let at = data.len() - 8;
            if le32(data, at) != ORPHANS_MAGIC {
                return Err(Error::Corrupt(&"a block of the orphan file has no magic number"));
            }
            if checked && orphans_checksum(block, data, seed) != le32(data, at + 4) {
                return Err(Error::Corrupt(&"a checksum in the orphan file is wrong"));
            }
        }
        _ => {}
    }
    Ok(())
}

/// Gives a block the checksum of what it holds now. Bitmaps have theirs in the group's descriptor, inodes one each.
pub(crate) fn seal(superblock: &Superblock, kind: Kind, block: u64, data: &mut [u8]) {
    if !superblock.has_checksums() {
        return;
    }
    let (at, checksum) = match kind {
        Kind::Super => {
            let from = superblock.superblock_offset();
            let bytes = data.get(from..from + superblock::BYTES).unwrap_or_default();
            (from + superblock::field::CHECKSUM, superblock::checksum(bytes))
        }
        Kind::Directory(seed) => match directory_checksum(data, seed) {
            Some(place) => place,
            None => return,
        },
        Kind::Extents(seed) => {
            let at = extent::tail(data);
            (at, crc32c(seed, data.get(..at).unwrap_or_default()))
        }
        Kind::Attributes => (ATTRIBUTES_CHECKSUM, attributes_checksum(superblock, block, data)),
        Kind::Orphans(seed) => (data.len() - 4, orphans_checksum(block, data, seed)),
        _ => return,
    };
    set_le32(data, at, checksum);
}

/// Where a block of a directory has its checksum, and which it should be; `None` if there is no room for one.
fn directory_checksum(data: &[u8], seed: u32) -> Option<(usize, u32)> {
    match directory::layout(data) {
        Layout::Index { countlimit } => {
            let (limit, count) = (le16(data, countlimit), le16(data, countlimit + 2));
            let used = countlimit + 8 * usize::from(count);
            let tail = countlimit + 8 * usize::from(limit);
            if count > limit || tail + 8 > data.len() {
                return None;
            }
            let crc = crc32c(crc32c(seed, data.get(..used)?), data.get(tail..tail + 4)?);
            Some((tail + 4, crc32c_zeroes(crc, 4)))
        }
        Layout::Leaf => {
            let tail = data.len().checked_sub(directory::TAIL_BYTES)?;
            directory::is_tail(data.get(tail..)?).then_some(())?;
            Some((tail + 8, crc32c(seed, data.get(..tail)?)))
        }
    }
}

fn attributes_checksum(superblock: &Superblock, block: u64, data: &[u8]) -> u32 {
    let crc = crc32c(superblock.checksum_seed, &block.to_le_bytes());
    let crc = crc32c(crc, data.get(..ATTRIBUTES_CHECKSUM).unwrap_or_default());
    crc32c(crc32c_zeroes(crc, 4), data.get(ATTRIBUTES_CHECKSUM + 4..).unwrap_or_default())
}

fn orphans_checksum(block: u64, data: &[u8], seed: u32) -> u32 {
    let entries = data.get(..data.len() - 8).unwrap_or_default();
    crc32c(crc32c(seed, &block.to_le_bytes()), entries)
}

/// The checksum of a bitmap, of which so many bits count; the descriptor has it in two halves.
pub(crate) fn bitmap_checksum(superblock: &Superblock, bits: u32, data: &[u8]) -> u32 {
    crc32c(superblock.checksum_seed, data.get(..bits as usize / 8).unwrap_or_default())
}

/// Gives a descriptor its checksum.
pub(crate) fn seal_descriptor(superblock: &Superblock, number: u32, descriptor: &mut [u8]) {
    if superblock.has_group_checksums() {
        let checksum = superblock.descriptor_checksum(number, descriptor);
        set_le16(descriptor, group::field::CHECKSUM, checksum);
    }
}
