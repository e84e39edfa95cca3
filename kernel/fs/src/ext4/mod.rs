//! ext4 (the crate `coracle-ext4`) as a file system of the tree.
//!
//! The crate's file system is behind a lock that sleeps ([`volume::Volume`]); what path walking and stat(2) ask of an inode is kept in its
//! `node::Node`, so that they take that lock only for names that were not looked up before. The bytes of a file are in its page
//! cache: pages come straight from the disk into their frames, by the map of the file's blocks. A write takes its blocks at once, so
//! that a full disk is reported there, and goes to them when the pages are written back.
//!
//! A file without a name lives until the last reference to its node is dropped. That may be anywhere, so its blocks are freed
//! later: by the next change of the volume, or by the thread that looks after the disks.
mod backing;
mod direct;
mod extents;
mod file;
pub mod mount;
mod node;
mod runs;
pub mod volume;

pub(crate) use node::Node;
