//! The memory of a ring, shared with the program.
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_fallible::prelude::*;
use coracle_hal::frame::{FRAME_SIZE, Frame};
use coracle_uring::{Completion, ENTRY_WORDS, Entry, Layout, at};
use linux_raw_sys::io_uring as abi;

/// Frames with the indices and the completions, and frames with the submissions.
pub struct Memory {
    layout: Layout,
    ring: Vec<Frame>,
    entries: Vec<Frame>,
}

fn frames(bytes: u32) -> Result<Vec<Frame>, Errno> {
    let count = (bytes as usize).div_ceil(FRAME_SIZE);
    let mut frames = Vec::new();
    frames.make_room(count)?;
    for _ in 0..count {
        frames.push_reserved(Frame::alloc_zeroed().ok_or(Errno::NOMEM)?);
    }
    Ok(frames)
}

impl Memory {
    /// Empty rings. ENOMEM.
    pub fn new(layout: Layout) -> Result<Memory, Errno> {
        let memory =
            Memory { layout, ring: frames(layout.ring_bytes)?, entries: frames(layout.entries_bytes())? };
        memory.store(at::SQ_MASK, layout.entries - 1);
        memory.store(at::SQ_ENTRIES, layout.entries);
        memory.store(at::CQ_MASK, layout.completions - 1);
        memory.store(at::CQ_ENTRIES, layout.completions);
        Ok(memory)
    }

    /// Sizes and places.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The page that mmap(2) finds at an offset (`index` counts pages): IORING_OFF_*. ENXIO past the end.
    pub fn page(&self, index: u64) -> Result<Frame, Errno> {
        const PAGE: u64 = FRAME_SIZE as u64;
        const AREA: u64 = !(abi::IORING_OFF_CQ_RING as u64 - 1);
        let offset = index.checked_mul(PAGE).ok_or(Errno::NXIO)?;
        let (frames, start) = match (offset & AREA) as u32 {
            area @ (abi::IORING_OFF_SQ_RING | abi::IORING_OFF_CQ_RING) => (&self.ring, area),
            area @ abi::IORING_OFF_SQES => (&self.entries, area),
            _ => return Err(Errno::NXIO),
        };
        let page = (offset - u64::from(start)) / PAGE;
        frames.get(page as usize).cloned().ok_or(Errno::NXIO)
    }

    /// A shared word of the rings.
    pub fn load(&self, offset: u32) -> u32 {
        let offset = offset as usize;
        self.ring[offset / FRAME_SIZE].load_u32(offset % FRAME_SIZE)
    }

    /// Stores one.
    pub fn store(&self, offset: u32, value: u32) {
        let offset = offset as usize;
        self.ring[offset / FRAME_SIZE].store_u32(offset % FRAME_SIZE, value);
    }

    /// Sets and clears bits of one.
    pub fn change(&self, offset: u32, set: u32, clear: u32) {
        let offset = offset as usize;
        self.ring[offset / FRAME_SIZE].change_u32(offset % FRAME_SIZE, set, clear);
    }

    /// The submission at index `head`; `None`: its place in the array names none.
    pub fn entry(&self, head: u32) -> Option<Entry> {
        let index = match self.layout.indirection(head) {
            Some(place) => self.load(place),
            None => head & (self.layout.entries - 1),
        };
        if index >= self.layout.entries {
            return None;
        }
        let at = (index * self.layout.entry_bytes) as usize;
        let mut bytes = [[0; 8]; ENTRY_WORDS];
        self.entries[at / FRAME_SIZE].read(at % FRAME_SIZE, bytes.as_flattened_mut());
        Some(Entry::from_words(bytes.map(u64::from_le_bytes)))
    }

    /// Writes a completion at index `tail`, which the program doesn't see before the index is stored.
    pub fn write_completion(&self, tail: u32, completion: Completion) {
        let at = self.layout.completion(tail) as usize;
        let [data, result] = completion.words();
        // The second half of a long one, which nothing that is done here fills.
        let bytes = [data, result, 0, 0].map(u64::to_le_bytes);
        let bytes = &bytes.as_flattened()[..self.layout.completion_bytes as usize];
        self.ring[at / FRAME_SIZE].write(at % FRAME_SIZE, bytes);
    }
}
