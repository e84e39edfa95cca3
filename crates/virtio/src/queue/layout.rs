//! Where the parts of a split queue lie in its memory (virtio 1.2, section 2.7).

/// Most descriptors a split queue can have (section 2.7).
pub const MAX_SIZE: u16 = 32768;

/// Bytes of a descriptor (section 2.7.5).
pub(crate) const DESCRIPTOR_BYTES: usize = 16;
/// Bytes of `flags` and `idx` that head both rings.
pub(crate) const RING_HEADER: usize = 4;
/// Bytes of an entry of the available ring (section 2.7.6).
pub(crate) const AVAILABLE_BYTES: usize = 2;
/// Bytes of an element of the used ring (section 2.7.8).
pub(crate) const USED_BYTES: usize = 8;
/// Bytes of each of the two words of such an element.
const USED_WORD: usize = 4;
/// Legacy devices compute where the used ring is: at the next multiple of this behind the available ring (section 2.7.2).
/// They are given the number of the page of this size that the queue begins with.
pub const LEGACY_ALIGN: usize = 4096;

/// Offsets of the parts of one queue, in one piece of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Number of descriptors, a power of two.
    pub size: u16,
    /// Number of tables for indirect chains.
    pub tables: u16,
    /// Descriptors in each of these tables.
    pub table_len: u16,
    /// Offset of the available ring ("driver area"); the descriptor table is at 0.
    pub available: usize,
    /// Offset of the used ring ("device area").
    pub used: usize,
    /// Offset of the first indirect table.
    pub indirect: usize,
    /// Bytes of memory needed.
    pub bytes: usize,
}

impl Layout {
    /// The layout of a queue of `size` descriptors with `tables` indirect tables of `table_len` descriptors.
    /// `None` if `size` is no power of two or above [`MAX_SIZE`].
    pub fn new(size: u16, tables: u16, table_len: u16) -> Option<Layout> {
        // The elements, behind the header, lie at multiples of their size: none is in two lines of the cache.
        Self::with_used_ring(size, tables, table_len, USED_BYTES, RING_HEADER)
    }

    /// The same for a legacy device (section 2.7.2). The memory must begin at a multiple of [`LEGACY_ALIGN`].
    pub fn legacy(size: u16, tables: u16, table_len: u16) -> Option<Layout> {
        Self::with_used_ring(size, tables, table_len, LEGACY_ALIGN, 0)
    }

    /// The used ring has a multiple of `align` at offset `at`.
    fn with_used_ring(size: u16, tables: u16, table_len: u16, align: usize, at: usize) -> Option<Layout> {
        if !size.is_power_of_two() || size > MAX_SIZE {
            return None;
        }
        let n = size as usize;
        let available = n * DESCRIPTOR_BYTES;
        // Behind the available ring is the index at which the driver wants an interrupt.
        let free = available + RING_HEADER + AVAILABLE_BYTES * n + AVAILABLE_BYTES;
        let used = (free + at).next_multiple_of(align) - at;
        let indirect = (used + RING_HEADER + USED_BYTES * n + 2).next_multiple_of(DESCRIPTOR_BYTES);
        let bytes = indirect + tables as usize * table_len as usize * DESCRIPTOR_BYTES;
        Some(Layout { size, tables, table_len, available, used, indirect, bytes })
    }

    /// The rings by themselves.
    pub(crate) fn rings(&self) -> Rings {
        Rings {
            available: (self.available + RING_HEADER) / AVAILABLE_BYTES,
            used: (self.used + RING_HEADER) / USED_WORD,
        }
    }

    /// Offset of indirect table `index`.
    pub(crate) fn table(&self, index: u16) -> usize {
        self.indirect + index as usize * self.table_len as usize * DESCRIPTOR_BYTES
    }
}

/// Where the rings of a queue begin behind their headers, counted in words of their entries: so each offset is seen to be a
/// multiple of the size of the word there. Elements of a legacy device's used ring lie at multiples of their words only.
pub(crate) struct Rings {
    available: usize,
    used: usize,
}

impl Rings {
    /// Offset of an entry of the available ring.
    #[inline(always)]
    pub fn available(&self, entry: usize) -> usize {
        AVAILABLE_BYTES * (self.available + entry)
    }
    /// Offset of the driver's flags.
    #[inline(always)]
    pub fn available_flags(&self) -> usize {
        AVAILABLE_BYTES * self.available - 4
    }
    /// Offset of the index of the next available entry.
    #[inline(always)]
    pub fn available_index(&self) -> usize {
        AVAILABLE_BYTES * self.available - 2
    }
    /// Offset of an entry of the used ring.
    #[inline(always)]
    pub fn used(&self, entry: usize) -> usize {
        USED_WORD * (self.used + USED_BYTES / USED_WORD * entry)
    }
    /// Offset of the device's flags.
    #[inline(always)]
    pub fn used_flags(&self) -> usize {
        USED_WORD * self.used - 4
    }
    /// Offset of the index of the next used entry.
    #[inline(always)]
    pub fn used_index(&self) -> usize {
        USED_WORD * self.used - 2
    }
}
