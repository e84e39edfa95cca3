//! The superblock: what the file system is, and which features it has.
//!
//! Source: Linux's documentation of ext4's data structures, *Super Block*.
use crate::bytes::{le16, le32, le32_pair};
use crate::crc::{crc16, crc32c};
use crate::error::{Error, Result};

/// Where the superblock begins on the disk, and how long it is.
pub(crate) const OFFSET_BYTES: u64 = 1024;
pub(crate) const BYTES: usize = 1024;
const MAGIC: u16 = 0xef53;

/// Places of fields within the superblock.
pub(crate) mod field {
    pub const FREE_BLOCKS_LOW: usize = 0x0c;
    pub const FREE_INODES: usize = 0x10;
    pub const STATE: usize = 0x3a;
    pub const INCOMPAT: usize = 0x60;
    pub const RO_COMPAT: usize = 0x64;
    pub const LAST_ORPHAN: usize = 0xe8;
    pub const FREE_BLOCKS_HIGH: usize = 0x158;
    pub const CHECKSUM: usize = 0x3fc;
}

/// `s_state`: the file system was unmounted, and needs no check.
pub(crate) const STATE_CLEAN: u16 = 1;

/// Bits of `s_feature_compat`.
pub(crate) mod compat {
    pub const HAS_JOURNAL: u32 = 0x4;
    pub const EXT_ATTR: u32 = 0x8;
    pub const DIR_INDEX: u32 = 0x20;
    pub const SPARSE_SUPER2: u32 = 0x200;
    pub const ORPHAN_FILE: u32 = 0x1000;
}

/// Bits of `s_feature_incompat`.
pub(crate) mod incompat {
    pub const FILETYPE: u32 = 0x2;
    pub const RECOVER: u32 = 0x4;
    pub const EXTENTS: u32 = 0x40;
    pub const BITS_64: u32 = 0x80;
    pub const FLEX_BG: u32 = 0x200;
    pub const CSUM_SEED: u32 = 0x2000;
    pub const LARGEDIR: u32 = 0x4000;
    pub const INLINE_DATA: u32 = 0x8000;
    /// Those with which a file system can be used.
    pub const KNOWN: u32 =
        FILETYPE | RECOVER | EXTENTS | BITS_64 | FLEX_BG | CSUM_SEED | LARGEDIR | INLINE_DATA;
    /// The names of others.
    pub const REFUSED: [(u32, &str); 8] = [
        (0x1, "compression"),
        (0x8, "journal_dev"),
        (0x10, "meta_bg"),
        (0x100, "mmp"),
        (0x400, "ea_inode"),
        (0x1000, "dirdata"),
        (0x10000, "encrypt"),
        (0x20000, "casefold"),
    ];
}

/// Bits of `s_feature_ro_compat`.
pub(crate) mod ro_compat {
    pub const SPARSE_SUPER: u32 = 0x1;
    pub const LARGE_FILE: u32 = 0x2;
    pub const HUGE_FILE: u32 = 0x8;
    pub const GDT_CSUM: u32 = 0x10;
    pub const DIR_NLINK: u32 = 0x20;
    pub const EXTRA_ISIZE: u32 = 0x40;
    pub const BIGALLOC: u32 = 0x200;
    pub const METADATA_CSUM: u32 = 0x400;
    pub const ORPHAN_PRESENT: u32 = 0x10000;
    /// Those with which a file system can be written.
    pub const KNOWN: u32 = SPARSE_SUPER
        | LARGE_FILE
        | HUGE_FILE
        | GDT_CSUM
        | DIR_NLINK
        | EXTRA_ISIZE
        | METADATA_CSUM
        | ORPHAN_PRESENT;
}

/// `s_flags`: characters have no sign in the hashes of names.
const FLAG_UNSIGNED_HASH: u32 = 2;
/// The only `s_checksum_type`: CRC-32C.
const CHECKSUM_CRC32C: u8 = 1;
const REVISION_DYNAMIC: u32 = 1;
const LEAST_BLOCK_LOG: u32 = 10;
/// As on Linux, a block is at most a page.
const MOST_BLOCK_LOG: u32 = 12;
const OLD_INODE_BYTES: u32 = 128;
const OLD_FIRST_INODE: u32 = 11;
const OLD_DESCRIPTOR_BYTES: u32 = 32;
const DESCRIPTOR_BYTES_64: u32 = 64;

/// What the superblock says that does not change while the file system is mounted.
#[derive(Clone, Debug)]
pub(crate) struct Superblock {
    pub block_bytes: u32,
    pub block_log: u32,
    pub blocks: u64,
    pub reserved_blocks: u64,
    pub inodes: u32,
    pub first_data_block: u32,
    pub blocks_per_group: u32,
    pub inodes_per_group: u32,
    pub inode_bytes: u32,
    pub descriptor_bytes: u32,
    pub groups: u32,
    pub first_inode: u32,
    pub compat: u32,
    pub incompat: u32,
    pub ro_compat: u32,
    pub uuid: [u8; 16],
    pub label: [u8; 16],
    pub hash_seed: [u32; 4],
    pub hash_version: u8,
    pub hash_unsigned: bool,
    pub journal_inode: u32,
    pub orphan_inode: u32,
    pub reserved_descriptor_blocks: u32,
    pub extra_inode_bytes: u16,
    pub backup_groups: [u32; 2],
    pub checksum_seed: u32,
}

impl Superblock {
    /// Reads a superblock and checks that it makes sense. Its checksum is another matter: [`checksum_holds`].
    pub fn parse(bytes: &[u8]) -> Result<Superblock> {
        if bytes.len() != BYTES || le16(bytes, 0x38) != MAGIC {
            return Err(Error::NotExt4);
        }
        let (compat, incompat, ro_compat) = (le32(bytes, 0x5c), le32(bytes, 0x60), le32(bytes, 0x64));
        check_features(incompat, ro_compat)?;
        let dynamic = le32(bytes, 0x4c) >= REVISION_DYNAMIC;
        let bits_64 = incompat & incompat::BITS_64 != 0;
        let high = |at| if bits_64 { u64::from(le32(bytes, at)) << 32 } else { 0 };
        let block_log = LEAST_BLOCK_LOG.saturating_add(le32(bytes, 0x18));
        if block_log > MOST_BLOCK_LOG {
            return Err(Error::Feature(&"of blocks of more than 4096 bytes"));
        }
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&bytes[0x68..0x78]);
        let mut label = [0; 16];
        label.copy_from_slice(&bytes[0x78..0x88]);
        let checksum_seed =
            if incompat & incompat::CSUM_SEED != 0 { le32(bytes, 0x270) } else { crc32c(!0, &uuid) };
        let superblock = Superblock {
            block_bytes: 1 << block_log,
            block_log,
            blocks: u64::from(le32(bytes, 4)) | high(0x150),
            reserved_blocks: u64::from(le32(bytes, 8)) | high(0x154),
            inodes: le32(bytes, 0),
            first_data_block: le32(bytes, 0x14),
            blocks_per_group: le32(bytes, 0x20),
            inodes_per_group: le32(bytes, 0x28),
            inode_bytes: if dynamic { le16(bytes, 0x58).into() } else { OLD_INODE_BYTES },
            descriptor_bytes: if bits_64 { le16(bytes, 0xfe).into() } else { OLD_DESCRIPTOR_BYTES },
            groups: 0,
            first_inode: if dynamic { le32(bytes, 0x54) } else { OLD_FIRST_INODE },
            compat,
            incompat,
            ro_compat,
            uuid,
            label,
            hash_seed: [0xec, 0xf0, 0xf4, 0xf8].map(|at| le32(bytes, at)),
            hash_version: bytes[0xfc],
            hash_unsigned: le32(bytes, 0x160) & FLAG_UNSIGNED_HASH != 0,
            journal_inode: le32(bytes, 0xe0),
            orphan_inode: le32(bytes, 0x280),
            reserved_descriptor_blocks: le16(bytes, 0xce).into(),
            extra_inode_bytes: le16(bytes, 0x15e),
            backup_groups: [le32(bytes, 0x24c), le32(bytes, 0x250)],
            checksum_seed,
        };
        if superblock.has_checksums() && bytes[0x175] != CHECKSUM_CRC32C {
            return Err(Error::Feature(&"of a checksum other than crc32c"));
        }
        superblock.with_groups()
    }

    /// Checks the geometry, and counts the groups.
    fn with_groups(mut self) -> Result<Superblock> {
        let bits = self.block_bytes * 8;
        let data_blocks = self.blocks.saturating_sub(self.first_data_block.into());
        let right = (8..=bits).contains(&self.blocks_per_group)
            && self.blocks_per_group.is_multiple_of(8)
            && (1..=bits).contains(&self.inodes_per_group)
            && self.inode_bytes.is_power_of_two()
            && (OLD_INODE_BYTES..=self.block_bytes).contains(&self.inode_bytes)
            && self.descriptor_bytes.is_power_of_two()
            && (OLD_DESCRIPTOR_BYTES..=DESCRIPTOR_BYTES_64).contains(&self.descriptor_bytes)
            && (self.incompat & incompat::BITS_64 == 0 || self.descriptor_bytes >= DESCRIPTOR_BYTES_64)
            && self.first_data_block == u32::from(self.block_bytes == 1024)
            && self.blocks < 1 << 48
            && data_blocks > 0
            && self.first_inode >= OLD_FIRST_INODE;
        if !right {
            return Err(Error::Corrupt(&"the geometry in the superblock makes no sense"));
        }
        let groups = data_blocks.div_ceil(self.blocks_per_group.into());
        self.groups = u32::try_from(groups).map_err(|_| Error::Corrupt(&"there are too many groups"))?;
        if u64::from(self.inodes) != groups * u64::from(self.inodes_per_group) {
            return Err(Error::Corrupt(&"the superblock miscounts the inodes"));
        }
        Ok(self)
    }

    /// Whether metadata has CRC-32C checksums.
    pub fn has_checksums(&self) -> bool {
        self.ro_compat & ro_compat::METADATA_CSUM != 0
    }

    /// Whether group descriptors have checksums, so that groups may be uninitialised.
    pub fn has_group_checksums(&self) -> bool {
        self.ro_compat & (ro_compat::METADATA_CSUM | ro_compat::GDT_CSUM) != 0
    }

    /// The block that holds the superblock.
    pub fn superblock_block(&self) -> u64 {
        OFFSET_BYTES / u64::from(self.block_bytes)
    }

    /// Where the superblock begins in its block.
    pub fn superblock_offset(&self) -> usize {
        (OFFSET_BYTES % u64::from(self.block_bytes)) as usize
    }

    /// Whether a block can be one of a file or of a structure.
    pub fn has_block(&self, block: u64) -> bool {
        block > self.first_data_block.into() && block < self.blocks
    }

    /// Whether a run of blocks can be.
    pub fn has_run(&self, block: u64, count: u64) -> bool {
        self.has_block(block) && count <= self.blocks - block
    }

    /// The group that a block lies in, and its place there.
    pub fn group_of(&self, block: u64) -> (u32, u32) {
        let from_first = block.saturating_sub(self.first_data_block.into());
        let per_group = u64::from(self.blocks_per_group);
        ((from_first / per_group) as u32, (from_first % per_group) as u32)
    }

    /// The first block of a group.
    pub fn first_block(&self, group: u32) -> u64 {
        u64::from(self.first_data_block) + u64::from(group) * u64::from(self.blocks_per_group)
    }

    /// Blocks of a group: of the last one fewer, perhaps.
    pub fn blocks_in(&self, group: u32) -> u32 {
        (self.blocks.saturating_sub(self.first_block(group))).min(self.blocks_per_group.into()) as u32
    }

    /// Descriptors in a block.
    pub fn descriptors_per_block(&self) -> u32 {
        self.block_bytes / self.descriptor_bytes
    }

    /// The checksum that everything of an inode begins with.
    pub fn inode_seed(&self, number: u32, generation: u32) -> u32 {
        if !self.has_checksums() {
            return 0;
        }
        crc32c(crc32c(self.checksum_seed, &number.to_le_bytes()), &generation.to_le_bytes())
    }

    /// The checksum of a descriptor.
    pub fn descriptor_checksum(&self, group: u32, descriptor: &[u8]) -> u16 {
        const AT: usize = crate::group::field::CHECKSUM;
        let (before, after) = (&descriptor[..AT], &descriptor[AT + 2..]);
        if self.has_checksums() {
            let crc = crc32c(crc32c(self.checksum_seed, &group.to_le_bytes()), before);
            return crc32c(crate::crc::crc32c_zeroes(crc, 2), after) as u16;
        }
        let crc = crc16(crc16(crc16(!0, &self.uuid), &group.to_le_bytes()), before);
        if self.incompat & incompat::BITS_64 != 0 { crc16(crc, after) } else { crc }
    }

    /// Whether a group has a copy of the superblock and of the descriptors.
    pub fn has_backup(&self, group: u32) -> bool {
        if group == 0 {
            return true;
        }
        if self.compat & compat::SPARSE_SUPER2 != 0 {
            return self.backup_groups.contains(&group);
        }
        if group == 1 || self.ro_compat & ro_compat::SPARSE_SUPER == 0 {
            return true;
        }
        [3, 5, 7].into_iter().any(|base: u32| {
            let mut power = base;
            while power < group {
                power = power.saturating_mul(base);
            }
            power == group
        })
    }

    /// Blocks at the beginning of a group that hold copies of the superblock and the descriptors.
    pub fn backup_blocks(&self, group: u32) -> u32 {
        if !self.has_backup(group) {
            return 0;
        }
        1 + self.groups.div_ceil(self.descriptors_per_block()) + self.reserved_descriptor_blocks
    }
}

fn check_features(incompat: u32, ro_compat: u32) -> Result<()> {
    let unknown = incompat & !incompat::KNOWN;
    if let Some((_, name)) = incompat::REFUSED.iter().find(|(bit, _)| unknown & bit != 0) {
        return Err(Error::Feature(name));
    }
    if unknown != 0 {
        return Err(Error::UnknownFeatures(unknown));
    }
    if ro_compat & ro_compat::BIGALLOC != 0 {
        return Err(Error::Feature(&"bigalloc"));
    }
    Ok(())
}

/// The checksum of a superblock.
pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    crc32c(!0, bytes.get(..field::CHECKSUM).unwrap_or_default())
}

/// Whether a superblock's checksum holds, if it has one.
pub(crate) fn checksum_holds(bytes: &[u8]) -> bool {
    le32(bytes, field::RO_COMPAT) & ro_compat::METADATA_CSUM == 0
        || checksum(bytes) == le32(bytes, field::CHECKSUM)
}

/// Free blocks, as a superblock counts them.
pub(crate) fn free_blocks(bytes: &[u8]) -> u64 {
    if le32(bytes, field::INCOMPAT) & incompat::BITS_64 == 0 {
        return le32(bytes, field::FREE_BLOCKS_LOW).into();
    }
    le32_pair(bytes, field::FREE_BLOCKS_LOW, field::FREE_BLOCKS_HIGH)
}
