//! A directory of the host by 9P. Virtio 1.2 names only the device's number, 9 (section 5); the rest is as QEMU and Linux have it
//! (Linux's include/uapi/linux/virtio_9p.h).

/// Feature VIRTIO_9P_MOUNT_TAG: the configuration has a tag.
pub const MOUNT_TAG: u64 = 1;

/// Offsets in the configuration: the tag's length, and the tag.
#[allow(missing_docs)]
pub mod config {
    pub const TAG_LEN: usize = 0;
    pub const TAG: usize = 2;
}

/// Bytes of the longest tag (QEMU's MAX_TAG_LEN).
pub const LONGEST_TAG: usize = 32;
