//! Files of memfd_secret(2): nothing but mappings leads to their bytes.
use super::file::MemoryFile;
use super::node::{MemoryFs, Node};
use alloc::sync::Arc;
use coracle_core::errno::Errno;
use coracle_core::fs::file::File;
use coracle_core::fs::inode::Inode;
use coracle_fallible::{NoMemory, Text, try_arc, try_arc_bytes};
use coracle_hal::frame::Frame;
use core::any::Any;
use linux_raw_sys::general::stat as Stat;

/// As readlink(2) of /proc/self/fd shows it, without the slash and `(deleted)`.
const NAME: &[u8] = b"secretmem";
/// Its owner's alone.
const MODE: u32 = 0o600;

/// A file of memfd_secret(2). It has no position, and is read and written by mappings alone.
pub struct SecretFile(MemoryFile);

impl SecretFile {
    /// An empty one. ENOMEM.
    pub fn new(fs: &Arc<MemoryFs>) -> Result<Arc<SecretFile>, Errno> {
        let node = Node::nameless_file(fs, MODE)?;
        // Linux counts the name that it does not have.
        node.add_links(1);
        Ok(try_arc(SecretFile(MemoryFile::nameless(node, try_arc_bytes(NAME)?)?))?)
    }
}

impl File for SecretFile {
    fn size(&self) -> u64 {
        self.0.size()
    }
    fn stat(&self) -> Result<Stat, Errno> {
        self.0.stat()
    }
    /// Its size is set once.
    fn truncate(&self, size: u64) -> Result<(), Errno> {
        if self.size() != 0 {
            return Err(Errno::INVAL);
        }
        Inode::truncate(&**self.0.node(), size)
    }
    fn allocate(&self, _mode: u32, _offset: u64, _len: u64) -> Result<(), Errno> {
        Err(Errno::OPNOTSUPP)
    }
    fn sync(&self, _data_only: bool) -> Result<(), Errno> {
        Err(Errno::INVAL)
    }
    fn page(&self, index: u64, for_write: bool) -> Result<Frame, Errno> {
        self.0.page(index, for_write)
    }
    fn mapping_written(&self) {
        self.0.mapping_written();
    }
    fn may_execute(&self) -> bool {
        false
    }
    fn path(&self, text: &mut Text) -> Result<(), NoMemory> {
        self.0.path(text)
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
