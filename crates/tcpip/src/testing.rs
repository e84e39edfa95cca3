//! Helpers that the crate's unit tests share.

use crate::device::{Buffer, Chunk};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

/// Packet memory on the heap.
#[derive(Clone, Debug)]
pub struct TestBuffer(Arc<Vec<u8>>);

impl TestBuffer {
    /// A buffer of `size` bytes.
    pub fn new(size: usize) -> Self {
        TestBuffer(Arc::new(vec![0; size]))
    }

    /// `bytes` at `start` of a buffer of `size` bytes.
    pub fn chunk(bytes: &[u8], size: usize, start: usize) -> Chunk<Self> {
        let mut data = vec![0; size.max(start + bytes.len())];
        data[start..start + bytes.len()].copy_from_slice(bytes);
        Chunk { buffer: TestBuffer(Arc::new(data)), start: start as u32, len: bytes.len() as u32 }
    }
}

impl Buffer for TestBuffer {
    fn as_slice(&self) -> &[u8] {
        &self.0
    }

    fn as_mut_slice(&mut self) -> Option<&mut [u8]> {
        Arc::get_mut(&mut self.0).map(|all| &mut all[..])
    }
}
