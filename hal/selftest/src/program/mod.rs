//! Small programs for the tests, each ending in the call [`call::EXIT`], and what the tests must know of the architecture.
#![allow(unsafe_code)]
mod crash;
pub use crash::crash;

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub use aarch64::*;
#[cfg(target_arch = "x86_64")]
pub use x86_64::*;

/// System calls of the test.
pub mod call {
    pub const NULL: u64 = 0;
    pub const REPORT: u64 = 1;
    pub const EXIT: u64 = 2;
    pub const YIELD: u64 = 3;
    pub const ALARM: u64 = 4;
    pub const COPY: u64 = 5;
    pub const REMAP: u64 = 6;
}
