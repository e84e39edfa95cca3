//! What the answers of servers of files have in common.

/// The largest error number that a program may see: Linux keeps those from 512 on to itself (its include/linux/errno.h).
const LARGEST_ERROR: u32 = 511;

/// Why an answer is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The server reports this error (errno(3), by Linux's numbers).
    Error(u16),
    /// The server breaks the protocol's rules.
    Malformed,
}

impl Failure {
    /// For an error number of a server's.
    pub fn of(number: u32) -> Self {
        match number {
            1..=LARGEST_ERROR => Failure::Error(number as u16),
            _ => Failure::Malformed,
        }
    }
}

/// A time since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Time {
    /// Seconds.
    pub seconds: i64,
    /// Nanoseconds, below a second.
    pub nanoseconds: u32,
}

impl Time {
    /// Takes seconds, and what a server says that nanoseconds are.
    pub fn new(seconds: u64, nanoseconds: u64) -> Self {
        const SECOND_NS: u64 = 1_000_000_000;
        Time { seconds: seconds.cast_signed(), nanoseconds: nanoseconds.min(SECOND_NS - 1) as u32 }
    }
}

/// Whether bytes can be the name of a file: some, without a slash or a zero among them.
pub fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && !name.iter().any(|byte| matches!(byte, 0 | b'/'))
}
