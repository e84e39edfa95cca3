//! Types of requests (Linux's include/net/9p/9p.h, `enum p9_msg_t`). The type of an answer is one more.

/// Rlerror: the answer to any request that failed.
pub const ERROR: u8 = 7;
pub const STATFS: u8 = 8;
pub const OPEN: u8 = 12;
pub const CREATE: u8 = 14;
pub const SYMLINK: u8 = 16;
pub const MKNOD: u8 = 18;
pub const READLINK: u8 = 22;
pub const GETATTR: u8 = 24;
pub const SETATTR: u8 = 26;
pub const XATTR_WALK: u8 = 30;
pub const XATTR_CREATE: u8 = 32;
pub const READDIR: u8 = 40;
pub const FSYNC: u8 = 50;
pub const LINK: u8 = 70;
pub const MKDIR: u8 = 72;
pub const RENAME_AT: u8 = 74;
pub const UNLINK_AT: u8 = 76;
pub const VERSION: u8 = 100;
pub const ATTACH: u8 = 104;
pub const FLUSH: u8 = 108;
pub const WALK: u8 = 110;
pub const READ: u8 = 116;
pub const WRITE: u8 = 118;
pub const CLUNK: u8 = 120;
