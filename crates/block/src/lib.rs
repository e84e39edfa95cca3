//! Block devices without a machine around them: what a disk can do ([`Disk`]), how it is divided ([`partition`]), and for
//! tests a disk in memory whose power fails (the feature `simulated`).
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;
#[cfg(feature = "simulated")]
extern crate std;

mod disk;
mod error;
pub mod partition;
#[cfg(feature = "simulated")]
pub mod simulated;

pub use disk::{Disk, check_range};
pub use error::Error;
