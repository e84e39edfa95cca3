//! Programs enter the kernel by [`crate::host::program`].
use crate::local::Local;

/// Nothing is to be set up.
pub fn init_syscall(_: &'static Local) {}
