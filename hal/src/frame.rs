//! Physical memory: reference-counted 4-KiB frames.

/// Bytes in a frame.
pub const FRAME_SIZE: usize = 4096;

/// One reference to a 4-KiB frame; the frame is freed with its last reference. Contents are reached by copies only,
/// because the program may write to a mapped frame at any time.
#[derive(Debug)]
pub struct Frame {
    #[allow(dead_code)]
    number: u32,
}

impl Frame {
    /// A frame with unspecified contents. `None`: out of memory.
    pub fn alloc() -> Option<Frame> {
        todo!()
    }
    /// A frame of zeroes.
    pub fn alloc_zeroed() -> Option<Frame> {
        todo!()
    }
    /// Physical address.
    pub fn phys(&self) -> u64 {
        todo!()
    }
    /// True if this is the only reference (and the frame isn't part of the image).
    pub fn is_unique(&self) -> bool {
        todo!()
    }
    /// Copies out `dst.len()` bytes from `offset`; panics if that leaves the frame.
    pub fn read(&self, offset: usize, dst: &mut [u8]) {
        let _ = (offset, dst);
        todo!()
    }
    /// Copies `src` in at `offset`; panics if that leaves the frame, or if the frame is part of the read-only image.
    pub fn write(&self, offset: usize, src: &[u8]) {
        let _ = (offset, src);
        todo!()
    }
    /// Zeroes `len` bytes from `offset`.
    pub fn zero(&self, offset: usize, len: usize) {
        let _ = (offset, len);
        todo!()
    }
    /// Copies all of `from`.
    pub fn copy_from(&self, from: &Frame) {
        let _ = from;
        todo!()
    }
}

impl Clone for Frame {
    fn clone(&self) -> Frame {
        todo!()
    }
}

impl Drop for Frame {
    fn drop(&mut self) {}
}

/// Frames free now, and frames in all.
pub fn counts() -> (usize, usize) {
    todo!()
}
