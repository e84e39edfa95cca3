//! What the loader handed over (PVH start info, Xen's `hvm/start_info.h`).
use crate::frame::Frame;

/// The kernel command line.
pub fn command_line() -> &'static str {
    todo!()
}
/// The archive that follows the kernel in memory, if its header is there.
pub fn image() -> Option<&'static [u8]> {
    todo!()
}
/// The frame that holds byte `page * 4096` of the image, to be mapped read-only in place.
pub fn image_frame(page: usize) -> Option<Frame> {
    let _ = page;
    todo!()
}
/// Bytes of memory the machine has.
pub fn memory_size() -> u64 {
    todo!()
}
/// Where the kernel's text starts in virtual memory, and its length, for turning addresses into symbol offsets.
pub fn kernel_text() -> core::ops::Range<usize> {
    todo!()
}
/// The virtual address that the kernel's ELF address 0 was moved to.
pub fn kernel_slide() -> usize {
    todo!()
}
