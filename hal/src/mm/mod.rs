//! Memory: frames, the heap, the kernel's own mappings, and programs' address spaces.
pub(crate) mod buddy;
mod depot;
pub mod frame;
pub(crate) mod heap;
pub(crate) mod kmap;
pub(crate) mod layout;
pub mod paging;
pub(crate) mod ranges;
pub(crate) mod stack;
pub(crate) mod vmap;
