//! Writing an archive that is laid out: from start to end, with a small part of it in memory.

use alloc::vec::Vec;
use core::ops::Range;
use std::io::{self, Write};

use super::{Content, WriteError};
use crate::archive::Archive;
use crate::format::{
    HEADER_CHECKSUM, HEADER_KERNEL_PAGES, HEADER_KERNEL_SUM, HEADER_LEN, PAGE_SIZE, SUM_LEN, checksum,
};
use coracle_crc32c::{START, crc32c, update};

/// An archive that is laid out, ready to be written.
#[derive(Debug)]
pub struct Layout<'b> {
    /// The header and the tables.
    pub(super) head: Vec<u8>,
    /// Where the data of each file begins, ascending, and the data.
    pub(super) files: Vec<(usize, &'b Content<'b>)>,
    /// Where the checksums begin: on a page.
    pub(super) table_at: usize,
    pub(super) total: usize,
}

impl Layout<'_> {
    /// Bytes of the archive: a whole number of pages.
    pub const fn total_len(&self) -> usize {
        self.total
    }

    /// Notes that the files stay on a disk with the bytes of the image's file, and are paged in from there.
    pub fn set_on_disk(&mut self) {
        // How many pages of the disk are before the archive, `set_kernel` says.
        put(&mut self.head, HEADER_KERNEL_PAGES, &u32::MAX.to_le_bytes());
        seal(&mut self.head);
    }

    /// Whether that was noted.
    pub fn is_on_disk(&self) -> bool {
        matches!(Archive::on_disk(&self.head), Ok(Some(_)))
    }

    /// The parts that the machine loads, one behind the other: their places in the archive.
    pub fn loaded(&self) -> [Range<u64>; 2] {
        Archive::loaded(&self.head).unwrap_or_default()
    }

    /// Notes the checksum of what is before the archive in the image's file: whole pages.
    pub fn set_kernel(&mut self, kernel: &[u8]) {
        // Asked while the header has its checksum.
        let is_on_disk = self.is_on_disk();
        put(&mut self.head, HEADER_KERNEL_SUM, &crc32c(kernel).to_le_bytes());
        if is_on_disk {
            let pages = (kernel.len() / PAGE_SIZE) as u32;
            put(&mut self.head, HEADER_KERNEL_PAGES, &pages.to_le_bytes());
        }
        seal(&mut self.head);
    }

    /// Writes the archive from its start to its end, without a seek.
    ///
    /// # Errors
    /// If a file cannot be read, or `out` not be written.
    pub fn write(&self, out: impl Write) -> Result<(), WriteError> {
        let mut out = Summed { out, at: 0, sum: START, sums: Vec::with_capacity(self.total - self.table_at) };
        let failed = WriteError::Output;
        out.write_all(&self.head).map_err(failed)?;
        for (place, content) in &self.files {
            out.fill(*place).map_err(failed)?;
            content.copy_to(&mut out)?;
        }
        out.fill(self.table_at).map_err(failed)?;
        let mut sums = core::mem::take(&mut out.sums);
        let own = crc32c(&sums);
        sums.extend_from_slice(&own.to_le_bytes());
        out.write_all(&sums).map_err(failed)?;
        out.fill(self.total).map_err(failed)?;
        out.flush().map_err(failed)
    }
}

/// Passes an archive on, and takes the checksum of each page.
struct Summed<W> {
    out: W,
    /// Bytes passed on.
    at: usize,
    /// The checksum of those of the current page.
    sum: u32,
    /// The checksums of the pages before.
    sums: Vec<u8>,
}

impl<W: Write> Summed<W> {
    /// Writes zeros up to a place: less than a page, since nothing is aligned to more.
    fn fill(&mut self, place: usize) -> io::Result<()> {
        self.write_all(&[0; PAGE_SIZE][..place - self.at])
    }
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        let mut rest = &bytes[..written];
        while !rest.is_empty() {
            let in_page = PAGE_SIZE - self.at % PAGE_SIZE;
            let (piece, later) = rest.split_at(in_page.min(rest.len()));
            // The header has a checksum of its own.
            let header = HEADER_LEN.saturating_sub(self.at).min(piece.len());
            self.sum = update(self.sum, &piece[header..]);
            self.at += piece.len();
            if piece.len() == in_page {
                self.sums.extend_from_slice(&(!self.sum).to_le_bytes());
                self.sum = START;
            }
            rest = later;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Bytes of the checksums of an archive whose checksums begin at a page: one for each page before, and their own.
pub(super) const fn sums_len(table_at: usize) -> usize {
    (table_at / PAGE_SIZE + 1) * SUM_LEN
}

pub(super) fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// Writes the checksum of the header at the start of `archive`, without checking the header. Tests that damage an archive
/// damage what lies behind the checksum with it. Panics if there is no room for a header.
pub fn seal(archive: &mut [u8]) {
    let sum = checksum(&archive[..HEADER_CHECKSUM]);
    put(archive, HEADER_CHECKSUM, &sum.to_le_bytes());
}
