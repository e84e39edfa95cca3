//! Block devices: disks and their partitions, of any driver.
//!
//! A driver implements [`device::BlockDevice`] and adds its disks to the registry of `coracle-fs`. Above, a [`disk::Disk`] moves frames: it cuts
//! a transfer into requests that the device takes, gives it all of them, and the calling thread sleeps until the last one is
//! done ([`batch`]). No lock is held meanwhile. A device that never answers keeps that thread, and nothing else; what it was given
//! stays in the hands of its queue.
pub mod batch;
pub mod device;
pub mod disk;
pub mod foreign;
