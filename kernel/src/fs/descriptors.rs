//! The descriptor table of a process.
use super::file::OpenFile;
use crate::errno::Errno;
use alloc::sync::Arc;

/// Descriptors of a process, shared by its threads.
pub struct DescriptorTable {}

impl DescriptorTable {
    /// An empty table.
    pub fn new() -> Self {
        todo!("FS")
    }
    /// The open file of `fd`; EBADF.
    pub fn get(&self, fd: i32) -> Result<Arc<OpenFile>, Errno> {
        let _ = fd;
        todo!("FS")
    }
    /// The lowest free descriptor, at least `from`, now refers to `file`; EMFILE by RLIMIT_NOFILE.
    pub fn insert(&self, file: Arc<OpenFile>, close_on_exec: bool, from: i32) -> Result<i32, Errno> {
        let _ = (file, close_on_exec, from);
        todo!("FS")
    }
    /// A copy that shares the open files (fork).
    pub fn duplicate(&self) -> Self {
        todo!("FS")
    }
    /// Closes those marked close-on-exec (exec).
    pub fn close_on_exec(&self) {
        todo!("FS")
    }
    /// Closes everything (exit).
    pub fn close_all(&self) {
        todo!("FS")
    }
}
