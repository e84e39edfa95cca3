//! Mounting a volume in the tree.
use super::volume;
use crate::block::registry::Entry;
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::fs::mount::{self, MountFlags, NewMount, Place};

/// Mounts the volume on a device over a directory; `source` is what /proc/mounts shows. What can be read only is mounted so.
/// Returns whether it was.
///
/// # Errors
/// EACCES if the device is read-only and the mount is not to be; those of [`volume::mount`] and [`mount::mount`].
pub fn mount(
    entry: &'static Entry,
    source: Vec<u8>,
    at: Place,
    mut flags: MountFlags,
) -> Result<bool, Errno> {
    let read_only = flags.contains(MountFlags::READ_ONLY);
    if entry.disk.limits().is_read_only && !read_only {
        return Err(Errno::ACCES);
    }
    let (root, is_read_only) = volume::mount(entry, read_only)?;
    flags.set(MountFlags::READ_ONLY, is_read_only);
    // Reading changes no times.
    flags = (flags - MountFlags::RELATIVE_ATIME) | MountFlags::NO_ATIME;
    let new = NewMount { root: root.clone(), kind: "ext4", source, flags, file_system: None };
    let mounted = mount::mount(at, new);
    if mounted.is_err() {
        volume::unmount(&root, false);
    }
    mounted.map(|()| is_read_only)
}
