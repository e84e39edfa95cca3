//! Errors of parsing an archive.

use core::fmt;

/// What is wrong with the bytes of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The bytes do not begin with the magic of an archive.
    NotAnArchive,
    /// The archive was written by another version of the format.
    Version(u32),
    /// The length in the header is larger than the number of bytes given.
    Truncated,
    /// The header does not match its own checksum.
    Checksum,
    /// What is before the archive in the image's file, the kernel, does not have its checksum.
    Kernel,
    /// The table of the pages' checksums does not have its own checksum.
    Table,
    /// The page of that number does not have its checksum.
    Page(usize),
    /// An offset, a length or a number points outside its section; the part that said so is named.
    Corrupt(&'static str),
    /// The inode is not of the requested kind.
    WrongKind,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotAnArchive => f.write_str("not a Coracle archive"),
            Error::Version(found) => {
                write!(f, "archive format version {found}, but this is version {}", crate::format::VERSION)
            }
            Error::Truncated => f.write_str("the archive is cut short"),
            Error::Checksum => f.write_str("the header of the archive is damaged (wrong checksum)"),
            Error::Kernel => f.write_str("the kernel is damaged (wrong checksum)"),
            Error::Table => f.write_str("the checksums of the archive are damaged"),
            Error::Page(page) => write!(f, "page {page} of the archive is damaged (wrong checksum)"),
            Error::Corrupt(part) => write!(f, "the archive is damaged ({part})"),
            Error::WrongKind => f.write_str("the file is of another kind"),
        }
    }
}

impl core::error::Error for Error {}
