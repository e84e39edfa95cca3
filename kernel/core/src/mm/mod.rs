//! Memory of processes: mappings, page faults, copies from and to programs.
mod change;
pub mod fault;
mod limits;
pub mod locks;
pub mod map;
pub mod memory;
pub mod patch;
mod poke;
pub mod reclaim;
pub mod shared;
pub mod user;
pub mod user_buf;
pub mod vma;
