//! The constants of the archive's layout, in one place for the reader and the writer.

/// The first bytes of every archive.
pub const MAGIC: [u8; 8] = *b"CORACLE1";

/// Version of the layout that this crate reads and writes.
pub(crate) const VERSION: u32 = 4;

/// Alignment of the archive and of the data of files that are mapped in place: a page of x86-64.
pub const PAGE_SIZE: usize = 4096;

/// Files shorter than this are packed at [`SMALL_ALIGN`]; others begin on a page, so that pages can be mapped.
#[cfg(feature = "write")]
pub(crate) const LARGE_FILE: usize = PAGE_SIZE;

/// Alignment of packed files and of sections.
#[cfg(feature = "write")]
pub(crate) const SMALL_ALIGN: usize = 16;

/// Bytes of the header: magic, version, its own length, total length, checksum of the kernel, its pages, the section table,
/// checksum of all this, padding.
pub(crate) const HEADER_LEN: usize = 176;

/// Offset of the version in the header.
pub(crate) const HEADER_VERSION: usize = 8;
/// Offset of the header's own length.
pub(crate) const HEADER_OWN_LEN: usize = 12;
/// Offset of the archive's whole length.
pub(crate) const HEADER_TOTAL_LEN: usize = 16;
/// Offset of the CRC-32C of what is before the archive in the image's file: the kernel.
pub(crate) const HEADER_KERNEL_SUM: usize = 24;
/// Offset of the pages of the kernel in the image's file, where the archive begins: 0 unless the files are paged in from a disk with the bytes
/// of that file. Of such an archive the machine loads the pages before the symbols, and the checksums behind them.
pub(crate) const HEADER_KERNEL_PAGES: usize = 28;
/// Offset of the section table: an (offset, length) pair of 64-bit numbers per [`Section`].
pub(crate) const HEADER_SECTIONS: usize = 32;
/// Offset of the checksum, which covers the header up to here.
pub(crate) const HEADER_CHECKSUM: usize = HEADER_SECTIONS + Section::COUNT * 16;

/// The parts of an archive, in the order of the header's table.
#[derive(Clone, Copy)]
pub(crate) enum Section {
    Config = 0,
    Inodes = 1,
    Entries = 2,
    Names = 3,
    Symbols = 4,
    SymbolNames = 5,
    Data = 6,
    /// A CRC-32C, 4 bytes, for each page of the archive before this section, which begins on a page. That of the first
    /// page leaves the header out. Then one of those before it in this section: the header is written before they are known.
    Checksums = 7,
}

impl Section {
    pub(crate) const COUNT: usize = 8;
}

/// Bytes of an inode record: mode, uid, gid, nlink, mtime (i64 s, u32 ns), parent, place (u64), size (u64).
pub(crate) const INODE_LEN: usize = 48;
/// Bytes of a directory entry: offset and length of its name, inode number, mode of that inode.
pub(crate) const ENTRY_LEN: usize = 16;
/// Bytes of a symbol: address relative to the kernel's first byte, and place of its name: the offset of the name's block times
/// [`NAMES_PER_BLOCK`], and how many names are before it there.
pub(crate) const SYMBOL_LEN: usize = 8;
/// Names of symbols in a block, of which only the first is whole.
pub(crate) const NAMES_PER_BLOCK: usize = 16;
/// Bytes of a checksum.
pub(crate) const SUM_LEN: usize = 4;
/// Bytes before the value of a config record: tag and length.
pub(crate) const RECORD_HEAD: usize = 8;

/// The tag of a config record. Readers skip tags that they do not know.
pub(crate) mod tag {
    pub(crate) const PROGRAM: u32 = 1;
    pub(crate) const ARGUMENT: u32 = 2;
    pub(crate) const ENVIRONMENT: u32 = 3;
    pub(crate) const DIRECTORY: u32 = 4;
    pub(crate) const MODE: u32 = 5;
    pub(crate) const HOSTNAME: u32 = 6;
    pub(crate) const KERNEL_VERSION: u32 = 7;
    pub(crate) const MEMORY: u32 = 8;
    pub(crate) const FIXED_ARGUMENTS: u32 = 9;
    pub(crate) const USER: u32 = 10;
    pub(crate) const ACCESS: u32 = 11;
    pub(crate) const HEALTH: u32 = 12;
    pub(crate) const CRON: u32 = 13;
    pub(crate) const CRON_NAME: u32 = 14;
    pub(crate) const METRICS_PORT: u32 = 15;
    pub(crate) const NTP: u32 = 24;
    pub(crate) const SYSLOG: u32 = 25;
    /// A path, a zero, and options.
    pub(crate) const TMPFS: u32 = 26;
    /// The number of an inode, and the value of its attribute `security.capability`.
    pub(crate) const CAPABILITIES: u32 = 27;
}

/// The checksum of a header: 32-bit FNV-1a, which distinguishes a stray page from an archive and needs no table.
pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    const OFFSET_BASIS: u32 = 0x811c_9dc5;
    const PRIME: u32 = 0x0100_0193;
    bytes.iter().fold(OFFSET_BASIS, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(PRIME))
}

/// The little-endian number at `at`, if the bytes reach that far.
pub(crate) fn get_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The little-endian number at `at`, if the bytes reach that far.
pub(crate) fn get_u64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
