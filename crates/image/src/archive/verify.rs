//! Checking an archive against its checksums: the whole archive, or a page when it is first needed.
use core::ops::Range;

use super::reader::Archive;
use super::{FileKind, InodeId};
use crate::Error;
use crate::format::{ENTRY_LEN, HEADER_KERNEL_SUM, HEADER_LEN, PAGE_SIZE, SUM_LEN, get_u32};

/// Computes a CRC-32C: [`coracle_crc32c::crc32c`], or a faster one.
pub type Sum = fn(&[u8]) -> u32;

/// The bytes of a page that its checksum covers: the header has one of its own.
fn page_of(bytes: &[u8], page: usize) -> &[u8] {
    let start = if page == 0 { HEADER_LEN } else { page * PAGE_SIZE };
    bytes.get(start..(page + 1) * PAGE_SIZE).unwrap_or_default()
}

impl<'a> Archive<'a> {
    /// How many pages have a checksum, counted from the start: all but those of the checksums themselves.
    pub const fn pages(&self) -> usize {
        self.pages
    }

    /// The pages of what the kernel reads whatever the program does: settings and the tables of files.
    pub const fn table_pages(&self) -> Range<usize> {
        0..(self.symbols_start as usize).div_ceil(PAGE_SIZE)
    }

    /// The pages of the names of the kernel's functions.
    pub const fn symbol_pages(&self) -> Range<usize> {
        self.symbols_start as usize / PAGE_SIZE..(self.data_start as usize).div_ceil(PAGE_SIZE)
    }

    /// Checks the table of checksums.
    ///
    /// # Errors
    /// [`Error::Table`].
    pub fn check_table(&self, sum: Sum) -> Result<(), Error> {
        let (table, own) = self.checksums.split_at_checked(self.pages * SUM_LEN).ok_or(Error::Table)?;
        if get_u32(own, 0) == Some(sum(table)) { Ok(()) } else { Err(Error::Table) }
    }

    /// What tells its tree from that of other archives: in those with the same identity the same paths lead to inodes of the
    /// same numbers.
    pub fn tree_identity(&self, sum: Sum) -> u64 {
        u64::from(sum(self.entries)) << u32::BITS | u64::from(sum(self.names))
    }

    /// Checks a page; the table of checksums is known to be right.
    ///
    /// # Errors
    /// [`Error::Page`], also for a page without a checksum.
    pub fn check_page(&self, page: usize, sum: Sum) -> Result<(), Error> {
        self.check_sum(page, sum(page_of(self.bytes, page)))
    }

    /// Checks a page of an archive that was opened by [`Archive::parse_tables`], from its bytes.
    ///
    /// # Errors
    /// As [`Archive::check_page`].
    pub fn check_bytes(&self, page: usize, bytes: &[u8], sum: Sum) -> Result<(), Error> {
        let covered = if page == 0 { bytes.get(HEADER_LEN..) } else { Some(bytes) };
        self.check_sum(page, sum(covered.unwrap_or_default()))
    }

    /// Checks a page by the checksum of its bytes, without the header in page 0.
    ///
    /// # Errors
    /// As [`Archive::check_page`].
    pub fn check_sum(&self, page: usize, found: u32) -> Result<(), Error> {
        if get_u32(self.checksums, page * SUM_LEN) == Some(found) { Ok(()) } else { Err(Error::Page(page)) }
    }

    /// The CRC-32C of what is before the archive in the image's file.
    pub fn kernel_sum(&self) -> u32 {
        get_u32(self.bytes, HEADER_KERNEL_SUM).unwrap_or_default()
    }

    /// Names of the files with bytes in a page, for messages. Looks at every file.
    pub fn names_in_page(&self, page: usize) -> impl Iterator<Item = &'a [u8]> {
        let archive = *self;
        let (start, end) = ((page * PAGE_SIZE) as u64, ((page + 1) * PAGE_SIZE) as u64);
        let files = (0..self.inode_count()).filter_map(move |id| archive.inode(InodeId(id)).ok());
        let within = files.filter(move |inode| {
            inode.kind() == FileKind::Regular
                && inode.place < end
                && start < inode.place.saturating_add(inode.size)
        });
        within.filter_map(move |inode| archive.name_of(inode.id))
    }

    /// A name of an inode. Looks at every entry.
    fn name_of(&self, id: InodeId) -> Option<&'a [u8]> {
        let entry = self.entries.chunks_exact(ENTRY_LEN).find(|entry| get_u32(entry, 8) == Some(id.0))?;
        let start = get_u32(entry, 0)? as usize;
        self.names.get(start..start.checked_add(get_u32(entry, 4)? as usize)?)
    }
}
