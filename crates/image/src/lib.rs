//! The formats that the command and the kernel share: the archive inside an image, and the kernel command line.
//!
//! * [`archive`] reads the archive of files, settings and symbols that is appended to the kernel. It copies nothing
//!   and trusts nothing: every offset is checked where it is used, so that foreign bytes cause an [`Error`], never a panic.
//! * [`cmdline`] parses and builds the words of the kernel's command line.
//! * `write` (feature `write`, needs `std`) lays an archive out.
//!
//! # Layout of an archive
//!
//! All numbers are little-endian. The archive begins on a page boundary, in the file and in memory.
//!
//! | part | content |
//! |---|---|
//! | header | magic, version, length, checksum of the kernel, one (offset, length) per section, checksum of the header |
//! | config | records of tag, length and bytes: program, arguments, environment, … |
//! | inodes | one [`archive::Inode`] record per file; number 0 is the root directory |
//! | entries | directory entries, those of one directory together, sorted by the bytes of their names |
//! | names | names of entries and targets of symbolic links |
//! | symbols | addresses of the kernel's functions relative to its first byte, ascending, and their names |
//! | data | small files packed to 16 bytes; files of a page or more on page boundaries, the rest of their last page zero |
//! | checksums | a CRC-32C of each page before, from a page boundary on; then one of these |
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(feature = "write")]
extern crate std;

mod access;
pub mod archive;
pub mod cmdline;
mod error;
mod format;
mod mode;
mod peer;
pub mod secrets;
mod user;
#[cfg(feature = "write")]
pub mod write;

pub use access::{Access, ParseAccessError};
pub use error::Error;
pub use format::{MAGIC, PAGE_SIZE};
pub use mode::Mode;
pub use peer::{NTP_PORT, Peer, SyslogServer};
pub use user::User;
