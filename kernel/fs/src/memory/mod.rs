//! The file system in memory: tmpfs, and the root, whose files come from the image until they are changed.
mod content;
mod directory;
mod file;
mod image;
mod node;
mod options;
pub mod remains;
mod secret;
mod xattr;

pub use content::{Content, WRITE_SEALS};
pub use directory::name_hash;
pub use file::{DirectoryFile, MemoryFile};
pub use image::{Absent, check_tables, find_disk};
pub use node::{MemoryFs, Node, next_device};
pub use options::Options;
pub use secret::SecretFile;
