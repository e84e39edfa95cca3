//! The structures of the journal. Its numbers are big endian.
use crate::bytes::{be16, be32, set_be32};
use crate::crc::{crc32c, crc32c_zeroes};

pub const MAGIC: u32 = 0xc03b_3998;
pub const HEADER_BYTES: usize = 12;

/// `h_blocktype`.
pub mod kind {
    pub const DESCRIPTOR: u32 = 1;
    pub const COMMIT: u32 = 2;
    pub const SUPERBLOCK_1: u32 = 3;
    pub const SUPERBLOCK_2: u32 = 4;
    pub const REVOKE: u32 = 5;
}

/// Bits of `s_feature_incompat`.
pub mod incompat {
    pub const REVOKE: u32 = 1;
    pub const BITS_64: u32 = 2;
    pub const ASYNC_COMMIT: u32 = 4;
    pub const CSUM_V2: u32 = 8;
    pub const CSUM_V3: u32 = 0x10;
    pub const FAST_COMMIT: u32 = 0x20;
}

/// Places in the journal's superblock.
pub mod field {
    pub const BLOCK_BYTES: usize = 0xc;
    pub const BLOCKS: usize = 0x10;
    pub const FIRST: usize = 0x14;
    pub const SEQUENCE: usize = 0x18;
    pub const START: usize = 0x1c;
    pub const COMPAT: usize = 0x24;
    pub const INCOMPAT: usize = 0x28;
    pub const RO_COMPAT: usize = 0x2c;
    pub const UUID: usize = 0x30;
    pub const USERS: usize = 0x40;
    pub const CHECKSUM_TYPE: usize = 0x50;
    pub const FAST_COMMIT_BLOCKS: usize = 0x54;
    pub const CHECKSUM: usize = 0xfc;
}

/// `s_checksum_type`: CRC-32C.
pub const CHECKSUM_CRC32C: u8 = 4;
/// Bytes of the journal's superblock.
pub const SUPERBLOCK_BYTES: usize = 1024;
/// Bytes at the end of a descriptor or revocation block, for its checksum.
pub const TAIL_BYTES: usize = 4;
/// Where a commit block has its checksum.
pub const COMMIT_CHECKSUM: usize = 16;
/// Where the entries of a revocation block begin, and where it says how many of its bytes are used.
pub const REVOKE_COUNT: usize = 12;
pub const REVOKE_HEADER_BYTES: usize = 16;

/// Flags of a tag.
pub mod tag {
    /// The block began with the journal's magic number, which is replaced by zero.
    pub const ESCAPED: u16 = 1;
    /// No UUID follows.
    pub const SAME_UUID: u16 = 2;
    pub const LAST: u16 = 8;
}
const UUID_BYTES: usize = 16;

/// What the features say about the form of blocks.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    pub wide: bool,
    pub csum_v2: bool,
    pub csum_v3: bool,
    /// What checksums begin with.
    pub seed: u32,
}

/// What a descriptor says about one block.
#[derive(Clone, Copy, Debug)]
pub struct Tag {
    pub block: u64,
    pub flags: u16,
    pub checksum: u32,
}

impl Form {
    /// The form that a journal's superblock asks for.
    pub fn of(superblock: &[u8]) -> Form {
        let features = be32(superblock, field::INCOMPAT);
        let uuid = superblock.get(field::UUID..field::UUID + UUID_BYTES).unwrap_or_default();
        Form {
            wide: features & incompat::BITS_64 != 0,
            csum_v2: features & incompat::CSUM_V2 != 0,
            csum_v3: features & incompat::CSUM_V3 != 0,
            seed: crc32c(!0, uuid),
        }
    }

    pub fn has_checksums(&self) -> bool {
        self.csum_v2 || self.csum_v3
    }

    /// Bytes of a tag (Linux's `journal_tag_bytes`).
    pub fn tag_bytes(&self) -> usize {
        if self.csum_v3 {
            return 16;
        }
        8 + if self.csum_v2 { 2 } else { 0 } + if self.wide { 4 } else { 0 }
    }

    /// Bytes of a block's number in a revocation block.
    pub fn number_bytes(&self) -> usize {
        if self.wide { 8 } else { 4 }
    }

    /// The bytes of a descriptor or revocation block that hold entries end there.
    pub fn end(&self, block: &[u8]) -> usize {
        block.len() - if self.has_checksums() { TAIL_BYTES } else { 0 }
    }

    /// The tag at a place of a descriptor, and where the next is.
    pub fn tag(&self, descriptor: &[u8], at: usize) -> Option<(Tag, usize)> {
        let end = at.checked_add(self.tag_bytes())?;
        if end > self.end(descriptor) {
            return None;
        }
        let low = u64::from(be32(descriptor, at));
        let (flags, checksum, high) = if self.csum_v3 {
            (be32(descriptor, at + 4) as u16, be32(descriptor, at + 12), be32(descriptor, at + 8))
        } else {
            (be16(descriptor, at + 6), be16(descriptor, at + 4).into(), be32(descriptor, at + 8))
        };
        let block = if self.wide { low | u64::from(high) << 32 } else { low };
        let next = if flags & tag::SAME_UUID == 0 { end + UUID_BYTES } else { end };
        Some((Tag { block, flags, checksum }, next))
    }

    /// Writes a tag, and returns where the next is. There is room for it.
    pub fn set_tag(&self, descriptor: &mut [u8], at: usize, tag: Tag, uuid: &[u8]) -> usize {
        set_be32(descriptor, at, tag.block as u32);
        if self.csum_v3 {
            set_be32(descriptor, at + 4, tag.flags.into());
            set_be32(descriptor, at + 8, (tag.block >> 32) as u32);
            set_be32(descriptor, at + 12, tag.checksum);
        } else {
            crate::bytes::set_be16(descriptor, at + 4, if self.csum_v2 { tag.checksum as u16 } else { 0 });
            crate::bytes::set_be16(descriptor, at + 6, tag.flags);
            if self.wide {
                set_be32(descriptor, at + 8, (tag.block >> 32) as u32);
            }
        }
        let end = at + self.tag_bytes();
        if tag.flags & tag::SAME_UUID != 0 {
            return end;
        }
        if let Some(place) = descriptor.get_mut(end..end + UUID_BYTES) {
            place.copy_from_slice(uuid);
        }
        end + UUID_BYTES
    }

    /// How many tags a descriptor of so many bytes has room for.
    pub fn tags_per_block(&self, block_bytes: usize) -> usize {
        let tail = if self.has_checksums() { TAIL_BYTES } else { 0 };
        (block_bytes - HEADER_BYTES - UUID_BYTES - tail) / self.tag_bytes()
    }

    /// The checksum of a block as the log has it, for its tag.
    pub fn data_checksum(&self, sequence: u32, data: &[u8]) -> u32 {
        crc32c(crc32c(self.seed, &sequence.to_be_bytes()), data)
    }

    /// The same of a block whose first four bytes the log has as zeroes.
    pub fn escaped_checksum(&self, sequence: u32, data: &[u8]) -> u32 {
        let crc = crc32c_zeroes(crc32c(self.seed, &sequence.to_be_bytes()), 4);
        crc32c(crc, data.get(4..).unwrap_or_default())
    }

    /// Whether the checksum of a block is that of its tag.
    pub fn data_checksum_holds(&self, sequence: u32, data: &[u8], tag: &Tag) -> bool {
        let mask = if self.csum_v3 { u32::MAX } else { u16::MAX.into() };
        !self.has_checksums() || self.data_checksum(sequence, data) & mask == tag.checksum
    }

    /// The checksum of a block that has it at a place, where it counts as zero.
    fn checksum(&self, block: &[u8], at: usize) -> u32 {
        let crc = crc32c(self.seed, block.get(..at).unwrap_or_default());
        crc32c(crc32c_zeroes(crc, 4), block.get(at + 4..).unwrap_or_default())
    }

    /// Zeroes a block of the log of which so many bytes were used, and the checksum.
    pub fn clear(&self, block: &mut [u8], used: usize) {
        let at = self.checksum_place(block);
        block.get_mut(..used).unwrap_or_default().fill(0);
        set_be32(block, at, 0);
    }

    /// Whether a descriptor, revocation or commit block is whole.
    pub fn checksum_holds(&self, block: &[u8]) -> bool {
        let at = self.checksum_place(block);
        !self.has_checksums() || self.checksum(block, at) == be32(block, at)
    }

    /// Gives such a block its checksum.
    pub fn seal(&self, block: &mut [u8]) {
        if self.has_checksums() {
            let at = self.checksum_place(block);
            let checksum = self.checksum(block, at);
            set_be32(block, at, checksum);
        }
    }

    fn checksum_place(&self, block: &[u8]) -> usize {
        if be32(block, 4) == kind::COMMIT { COMMIT_CHECKSUM } else { block.len() - TAIL_BYTES }
    }
}

/// Whether a journal's superblock is whole.
pub fn superblock_holds(superblock: &[u8]) -> bool {
    let form = Form::of(superblock);
    !form.has_checksums() || superblock_checksum(superblock) == be32(superblock, field::CHECKSUM)
}

/// Gives a journal's superblock its checksum.
pub fn seal_superblock(superblock: &mut [u8]) {
    let checksum = if Form::of(superblock).has_checksums() { superblock_checksum(superblock) } else { 0 };
    set_be32(superblock, field::CHECKSUM, checksum);
}

fn superblock_checksum(superblock: &[u8]) -> u32 {
    let bytes = superblock.get(..SUPERBLOCK_BYTES).unwrap_or_default();
    let crc = crc32c(!0, bytes.get(..field::CHECKSUM).unwrap_or_default());
    crc32c(crc32c_zeroes(crc, 4), bytes.get(field::CHECKSUM + 4..).unwrap_or_default())
}

/// Writes the header of a block.
pub fn set_header(block: &mut [u8], kind: u32, sequence: u32) {
    set_be32(block, 0, MAGIC);
    set_be32(block, 4, kind);
    set_be32(block, 8, sequence);
}

/// The superblock of an empty journal, in a block of zeroes.
pub fn format_superblock(block: &mut [u8], blocks: u32, uuid: &[u8; UUID_BYTES]) {
    const FIRST_BLOCK: u32 = 1;
    set_header(block, kind::SUPERBLOCK_2, 0);
    let words = [
        (field::BLOCK_BYTES, block.len() as u32),
        (field::BLOCKS, blocks),
        (field::FIRST, FIRST_BLOCK),
        (field::SEQUENCE, 1),
        (field::USERS, 1),
    ];
    for (at, word) in words {
        set_be32(block, at, word);
    }
    if let Some(place) = block.get_mut(field::UUID..field::UUID + UUID_BYTES) {
        place.copy_from_slice(uuid);
    }
}
