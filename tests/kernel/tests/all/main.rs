//! Tests of the kernel on the host.
#![cfg(all(target_arch = "x86_64", not(target_os = "none")))]
mod descriptors;
mod disks;
mod exec;
mod futex;
mod interleavings;
mod memory;
mod paths;
mod pipes;
mod readiness;
mod scheduler;
mod signals;
mod sockets;
mod storage;
mod sysv;
mod uring;
mod virtio;
mod vsock;
