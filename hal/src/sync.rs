//! Locks and atomic values for the kernel. On a real machine they are those of `spin` and of `core`; on the machine of threads, where the
//! kernel is tested, each use of one is also a point at which the scheduler may let another CPU run, so that tests try
//! interleavings (`host::schedule`).
#[cfg(all(not(target_os = "none"), target_arch = "x86_64"))]
pub use crate::host::sync::{LazyLock, Mutex, MutexGuard, RwLock, atomic};
#[cfg(not(all(not(target_os = "none"), target_arch = "x86_64")))]
pub use core::sync::atomic;
#[cfg(not(all(not(target_os = "none"), target_arch = "x86_64")))]
pub use spin::{LazyLock, Mutex, MutexGuard, RwLock};
