//! Files: descriptors, the trait that every open file implements, and the file systems.
pub mod access;
pub mod closing;
pub mod context;
pub mod descriptors;
pub mod dev;
pub mod ext4;
pub mod file;
pub mod inode;
pub mod locks;
pub mod lost;
pub mod memory;
pub mod mount;
pub mod notify;
pub mod open;
mod path_cache;
pub mod proc;
pub mod provided;
pub mod pty_limit;
pub mod root;
pub mod signal_io;
pub mod size_limit;
pub mod stat;
pub mod synthetic;
pub mod sys;
pub mod walk;
pub mod xattr;

pub use path_cache::names_changed;
