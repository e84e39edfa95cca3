//! A file system that speaks FUSE (virtio 1.2, section 5.11).

/// Offset of the tag in the configuration: UTF-8, with zeroes behind it if it is shorter than [`TAG_BYTES`].
pub const TAG: usize = 0;
/// Bytes of the tag.
pub const TAG_BYTES: usize = 36;
/// The queue of what overtakes requests: forgetting and interrupting.
pub const URGENT_QUEUE: u16 = 0;
/// The first queue of requests.
pub const REQUEST_QUEUE: u16 = 1;
