//! The ext4 file system with its journal, read and written, over any [`coracle_block::Disk`].
//!
//! The format is that of Linux: "ext4 Data Structures and Algorithms" in its documentation, and `fs/jbd2` for the journal.
//! Nothing here knows a kernel. Every allocation is fallible, nothing recurses over what a disk says, and damaged
//! structures end in [`Error::Corrupt`].
//!
//! # Use
//! [`FileSystem::mount`] replays the journal and returns the file system; [`FileSystem::access`] says whether it can be written,
//! and if not, why. Inodes are numbers, [`ROOT`] the root's. All methods take `&mut self` and may wait for the disk, so the
//! file system belongs under a lock that sleeps.
//!
//! | for | methods |
//! |---|---|
//! | names | [`lookup`](FileSystem::lookup), [`read_directory`](FileSystem::read_directory), [`create`](FileSystem::create) (files, directories, devices, pipes, sockets), [`symlink`](FileSystem::symlink), [`link`](FileSystem::link), [`create_unnamed`](FileSystem::create_unnamed), [`unlink`](FileSystem::unlink), [`rmdir`](FileSystem::rmdir), [`rename`](FileSystem::rename) |
//! | inodes | [`attributes`](FileSystem::attributes), [`set_attributes`](FileSystem::set_attributes), [`read_link`](FileSystem::read_link), [`xattr`](FileSystem::xattr), [`set_xattr`](FileSystem::set_xattr), [`xattr_names`](FileSystem::xattr_names), [`remove_xattr`](FileSystem::remove_xattr) |
//! | content | [`map`](FileSystem::map), [`read`](FileSystem::read), [`write`](FileSystem::write), [`set_size`](FileSystem::set_size), [`allocate`](FileSystem::allocate), [`collapse`](FileSystem::collapse), [`insert`](FileSystem::insert) |
//! | durability | [`begin_write`](FileSystem::begin_write) and [`sync_after`](FileSystem::sync_after) (content and journal together), [`sync_file`](FileSystem::sync_file), [`sync_data`](FileSystem::sync_data), [`commit`](FileSystem::commit) (syncfs, and every few seconds), [`unmount`](FileSystem::unmount) |
//! | the volume | [`format`] makes one, [`probe`] recognises one, [`statistics`](FileSystem::statistics), [`label`](FileSystem::label), [`uuid`](FileSystem::uuid), [`shrink`](FileSystem::shrink) |
//!
//! What the caller does:
//! - **Permissions** (path_resolution(7)), `.` and `..` at mount points, and which of two files a lock or an open belongs to. That
//!   a file's size fits RLIMIT_FSIZE, and that `uid` and `gid` of [`NewFile`] are right in a directory with the set-group-ID bit.
//! - **The end of files**: a file whose last name is gone ([`unlink`](FileSystem::unlink), [`rmdir`](FileSystem::rmdir) and
//!   [`rename`](FileSystem::rename) return its number) lives until [`evict`](FileSystem::evict), to be called when nothing has it
//!   open. If that does not come, by a crash, the next mount does it.
//! - **Cached content**: nothing of files' content is kept here. A page cache reads pages by [`map`](FileSystem::map) and the disk,
//!   or by [`read`](FileSystem::read), and writes them back by [`write`](FileSystem::write), no further than the file's size:
//!   writing makes a file as long as what is written. To know at once that there is space for what is written back later,
//!   [`allocate`](FileSystem::allocate) with [`Allocation::AllocateKeepSize`] takes it. Before [`sync_file`](FileSystem::sync_file)
//!   and before [`set_size`](FileSystem::set_size) the cache writes back what is dirty. After a truncation, a hole, or
//!   [`evict`](FileSystem::evict) what [`map`](FileSystem::map) returned no longer holds.
//! - **Access times**: by [`set_attributes`](FileSystem::set_attributes), as the mount options want them.
//!
//! - **Speed**: [`use_crc32c`] names a function for the checksums that uses the CPU's instruction.
//!
//! # What holds when
//! An operation is there as a whole or not at all, for other callers, after an error, and after a crash; [`write`](FileSystem::write),
//! [`set_size`](FileSystem::set_size) and [`allocate`](FileSystem::allocate) of long ranges are several such operations, one after
//! the other. Operations become durable in their order. After [`commit`](FileSystem::commit) all before it are durable, content
//! and metadata; content is on the disk before metadata speaks of it (ordered mode), so that no file shows what another
//! deleted. Blocks that are freed are used again only after the commit.
//!
//! After an error of the disk in a commit the file system refuses every change ([`Access::Aborted`]), as Linux does with
//! `errors=remount-ro`.
//!
//! # Limits
//! Refused: `bigalloc`, `encrypt`, `casefold`, `meta_bg`, `mmp`, `ea_inode`, `compression`, a journal on another disk. Read only: quotas,
//! `verity`, `project`, `inline_data`, and file systems without extents. Blocks have 1024, 2048 or 4096 bytes. Group descriptors'
//! backups are not rewritten, as on Linux.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

mod allocate;
mod attributes;
mod bytes;
mod cache;
mod crc;
mod directory;
mod error;
mod extent;
mod extent_change;
mod file;
mod filesystem;
mod format;
mod group;
mod hash;
mod htree;
mod indirect;
mod inode;
mod journal;
mod mount;
mod names;
mod orphan;
mod superblock;
mod transaction;
mod verify;
mod xattr;

pub use attributes::{Attributes, Changes, Device};
pub use crc::{Crc32c, use_crc32c};
pub use directory::Entry;
pub use error::{Error, Result};
pub use extent::Run;
pub use file::Allocation;
pub use filesystem::{Access, FileSystem};
pub use format::{Format, format};
pub use inode::Time;
pub use mount::{Options, Statistics, probe};
pub use names::{NewFile, Rename};
pub use xattr::Existence;

/// The number of the root directory's inode.
pub const ROOT: u32 = 2;
