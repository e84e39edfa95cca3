//! Mounting a share in the tree.
use super::caching::Caching;
use super::node::Node;
use super::session;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::fs::inode::Inode;
use coracle_core::fs::mount::{self, MountFlags, NewMount, Place};

/// Mounts the share of a type and with a mount tag over a directory; `options` are those of mount(8), without flags. Waits.
///
/// # Errors
/// EINVAL for unknown options; those of [`session::attach`] and [`mount::mount`].
pub fn mount(kind: &[u8], tag: Vec<u8>, at: Place, flags: MountFlags, options: &[u8]) -> Result<(), Errno> {
    let root = session::attach(kind, &tag, Caching::parse(options)?)?;
    let kind = root.session.server.kind().name;
    let new = NewMount { root: root.clone(), kind, source: tag, flags, file_system: None };
    let mounted = mount::mount(at, new);
    if mounted.is_err() {
        root.session.unmount()?;
    }
    mounted
}

/// Ends the mount whose root this is, if it is one of a share: what was written by mappings goes to the server.
pub fn unmount(root: &Arc<dyn Inode>) -> Result<(), Errno> {
    match root.as_any().downcast_ref::<Node>() {
        Some(node) => node.session.unmount(),
        None => Ok(()),
    }
}

/// Makes the file system durable that a root belongs to, if it is a share (syncfs(2)). Waits; hold no lock.
pub fn sync_of(root: &Arc<dyn Inode>) -> Result<(), Errno> {
    match root.as_any().downcast_ref::<Node>() {
        Some(node) => node.session.sync(),
        None => Ok(()),
    }
}
