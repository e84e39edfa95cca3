//! What handles of files are made of (name_to_handle_at(2), fanotify(7)): device and inode.
use super::mount::Path;
use super::notify::Identity;
use crate::errno::Errno;

/// Bytes of a handle, behind its `struct file_handle`.
pub const BYTES: usize = 16;
/// The type of our handles.
pub const TYPE: u32 = 1;
/// File systems whose files have handles.
const KINDS: [&str; 3] = ["overlay", "tmpfs", "ext4"];

/// EOPNOTSUPP for a file that has none.
pub fn check(path: &Path) -> Result<(), Errno> {
    if KINDS.contains(&path.mount.kind) { Ok(()) } else { Err(Errno::OPNOTSUPP) }
}

/// The `struct file_handle` of a file, with the handle.
pub fn words((device, inode): Identity) -> [u64; 3] {
    [BYTES as u64 | u64::from(TYPE) << 32, inode, device]
}
