//! What of Linux's interface differs between architectures: one module for each, with the same names in all of them. The rest of
//! the kernel uses those names and knows no architecture; this is the one place that chooses.
#[cfg(target_arch = "aarch64")]
mod aarch64;
pub mod meaning;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub use aarch64::*;
#[cfg(target_arch = "x86_64")]
pub use x86_64::*;
