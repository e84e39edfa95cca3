//! A process: an address space, descriptors, signal actions, and the threads that share them.
use crate::fs::context::FsContext;
use crate::fs::descriptors::DescriptorTable;

/// A process.
pub struct Process {
    /// Process id (getpid(2)).
    pub pid: i32,
    /// Open descriptors.
    pub descriptors: DescriptorTable,
    /// Root, working directory, umask.
    pub fs: FsContext,
}
