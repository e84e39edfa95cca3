//! What differs between architectures: one module for each, with the same names in all of them. The rest of the crate uses those
//! names and knows no architecture; this is the one place that chooses.
//!
//! On a host there is a machine of threads and of the host's memory ([`crate::host`]). It has the registers and the page tables of the
//! host's architecture, and its own modules where code would need the machine's privileges.
#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(all(not(target_os = "none"), target_arch = "x86_64"))]
mod host;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub use aarch64::*;
#[cfg(all(not(target_os = "none"), target_arch = "x86_64"))]
pub use host::*;
#[cfg(all(target_os = "none", target_arch = "x86_64"))]
pub use x86_64::*;
