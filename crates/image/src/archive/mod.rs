//! Reading an archive in place: settings, inodes, directories, file data, kernel symbols.
//!
//! ```no_run
//! # fn f(bytes: &'static [u8]) -> Result<(), coracle_image::Error> {
//! use coracle_image::archive::{Archive, InodeId};
//! let archive = Archive::parse(bytes)?;
//! let root = archive.inode(InodeId::ROOT)?;
//! if let Some(entry) = archive.lookup(&root, b"etc")? {
//!     let etc = archive.inode(entry.inode)?;
//!     assert!(etc.is_dir());
//! }
//! # Ok(()) }
//! ```

mod config;
mod inode;
mod reader;
mod symbols;
mod verify;

pub use config::Config;
pub use inode::{DirEntry, FileKind, Inode, InodeId};
pub use reader::{Archive, Entries};
pub use symbols::{Name, Symbol, Symbols};
pub use verify::Sum;
