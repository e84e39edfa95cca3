//! The content of files.
mod allocate;
mod evict;
mod read;
mod shift;
mod size;
mod sync;
mod write;

pub use allocate::Allocation;
