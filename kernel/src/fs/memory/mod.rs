//! The file system in memory: tmpfs, and the root, whose files come from the image until they are changed.
mod content;
mod directory;
mod file;
mod node;

pub use content::Content;
pub use file::{DirectoryFile, MemoryFile};
pub use node::{MemoryFs, Node};
