//! Flags of requests, the same on every architecture (Linux's include/net/9p/9p.h).

/// Bits of Tsetattr's `valid` (`P9_ATTR_*`).
#[allow(missing_docs)]
pub mod change {
    pub const MODE: u32 = 1;
    pub const UID: u32 = 1 << 1;
    pub const GID: u32 = 1 << 2;
    pub const SIZE: u32 = 1 << 3;
    pub const ACCESSED: u32 = 1 << 4;
    pub const MODIFIED: u32 = 1 << 5;
    pub const CHANGED: u32 = 1 << 6;
    /// The time is the one in the request, not that of the server.
    pub const ACCESSED_SET: u32 = 1 << 7;
    pub const MODIFIED_SET: u32 = 1 << 8;
}

/// Bits of Tgetattr's `request_mask` and of its answer's `valid` (`P9_STATS_*`).
pub mod wanted {
    /// The fields of stat(2).
    pub const BASIC: u64 = 0x7ff;
    /// The time at which the file was made.
    pub const CREATED: u64 = 0x800;
}

/// Flag of Tunlinkat: a directory is to be removed (AT_REMOVEDIR).
pub const REMOVE_DIRECTORY: u32 = 0x200;
