//! What a loader says of the machine, in the same form for every boot protocol.
use crate::mm::ranges::Ranges;

/// What the loader says. Addresses are physical.
pub struct Loader {
    /// RAM, in whole pages.
    pub ram: Ranges,
    /// Bytes of RAM.
    pub total: u64,
    /// Where the highest RAM ends.
    pub highest: u64,
    /// ACPI's root pointer, or 0.
    pub rsdp: u64,
    /// Where the command line is, and its length.
    pub command_line: (u64, usize),
    /// Start and length of what the loader wrote, and of memory that the firmware keeps.
    pub reserved: Ranges,
}

impl Loader {
    /// Takes what is reserved out of the memory that is free.
    pub fn reserve(&self, free: &mut Ranges) {
        self.reserved.iter().for_each(|(start, end)| free.remove(start, end - start));
    }
}
