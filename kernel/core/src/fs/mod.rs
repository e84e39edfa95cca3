//! The part of files that knows no file system: descriptors, the trait that every open file implements, mounts, and the walk of paths.
pub mod access;
pub mod closing;
pub mod context;
pub mod descriptors;
pub mod file;
pub mod handle;
pub mod inode;
pub mod leases;
pub mod locks;
pub mod mount;
pub mod mount_space;
pub mod notify;
pub mod open;
mod path_cache;
pub mod pty_limit;
pub mod signal_io;
pub mod size_limit;
pub mod stat;
pub mod walk;

pub use path_cache::names_changed;
