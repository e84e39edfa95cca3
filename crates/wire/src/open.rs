//! Flags by which a file is opened on a server: those of Linux's open(2) on most architectures, which 9P (`P9_DOTL_*`) and FUSE have on all.
#![allow(missing_docs)]
pub const READ: u32 = 0;
pub const WRITE: u32 = 1;
pub const READ_WRITE: u32 = 2;
pub const CREATE: u32 = 0o100;
pub const EXCLUSIVE: u32 = 0o200;
pub const APPEND: u32 = 0o2000;
pub const DATA_SYNC: u32 = 0o10000;
pub const DIRECTORY: u32 = 0o200_000;
/// With [`DATA_SYNC`].
pub const SYNC: u32 = 0o4_000_000;
