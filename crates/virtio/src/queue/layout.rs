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
        if !size.is_power_of_two() || size > MAX_SIZE {
            return None;
        }
        let n = size as usize;
        let available = n * DESCRIPTOR_BYTES;
        // Its entries, behind the header, lie at multiples of their size: each is read at once.
        let used =
            (available + RING_HEADER + 2 * n + 2 + RING_HEADER).next_multiple_of(USED_BYTES) - RING_HEADER;
        let indirect = (used + RING_HEADER + USED_BYTES * n + 2).next_multiple_of(DESCRIPTOR_BYTES);
        let bytes = indirect + tables as usize * table_len as usize * DESCRIPTOR_BYTES;
        Some(Layout { size, tables, table_len, available, used, indirect, bytes })
    }

    /// The rings by themselves.
    pub(crate) fn rings(&self) -> Rings {
        Rings {
            available: (self.available + RING_HEADER) / AVAILABLE_BYTES,
            used: (self.used + RING_HEADER) / USED_BYTES,
        }
    }

    /// Offset of indirect table `index`.
    pub(crate) fn table(&self, index: u16) -> usize {
        self.indirect + index as usize * self.table_len as usize * DESCRIPTOR_BYTES
    }
}

/// Where the rings of a queue begin behind their headers, counted in their entries: so each offset is seen to be a
/// multiple of what lies there.
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
        USED_BYTES * (self.used + entry)
    }
    /// Offset of the device's flags.
    #[inline(always)]
    pub fn used_flags(&self) -> usize {
        USED_BYTES * self.used - 4
    }
    /// Offset of the index of the next used entry.
    #[inline(always)]
    pub fn used_index(&self) -> usize {
        USED_BYTES * self.used - 2
    }
}
