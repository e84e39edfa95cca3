//! Memory-mapped device registers, bounds-checked. Never over RAM.

/// A mapped range of device registers.
pub struct Mmio {
    address: usize,
    len: usize,
    /// A test's device in place of memory.
    #[cfg(not(target_os = "none"))]
    played: Option<&'static crate::host::virtio::Device>,
}

macro_rules! register {
    ($read:ident, $write:ident, $type:ty) => {
        /// Reads the register at `offset`; panics outside of the range or if it is not aligned.
        #[inline]
        pub fn $read(&self, offset: usize) -> $type {
            #[cfg(not(target_os = "none"))]
            if let Some(device) = self.played {
                return device.read(offset) as $type;
            }
            // SAFETY: in the mapped range and aligned (checked); device registers, never Rust's memory.
            unsafe { core::ptr::read_volatile(self.at::<$type>(offset)) }
        }
        /// Writes the register at `offset`; panics outside of the range or if it is not aligned.
        #[inline]
        pub fn $write(&self, offset: usize, value: $type) {
            #[cfg(not(target_os = "none"))]
            if let Some(device) = self.played {
                return device.write(offset, value.into());
            }
            // SAFETY: as for reading.
            unsafe { core::ptr::write_volatile(self.at::<$type>(offset), value) };
        }
    };
}

impl Mmio {
    /// Maps `len` bytes at physical `phys`, uncached. `None` if it overlaps RAM or memory is short.
    pub fn map(phys: u64, len: usize) -> Option<Mmio> {
        if len == 0 || crate::machine::ram::overlaps_ram(phys, len as u64) {
            return None;
        }
        // SAFETY: no RAM lies there.
        let address = unsafe { crate::mm::kmap::map_foreign(phys, len, true)? };
        Some(Mmio {
            address,
            len,
            #[cfg(not(target_os = "none"))]
            played: None,
        })
    }
    /// The registers of a device that a test plays.
    #[cfg(not(target_os = "none"))]
    pub(crate) fn played(device: &'static crate::host::virtio::Device) -> Mmio {
        Mmio { address: 0, len: 0, played: Some(device) }
    }
    /// Registers that are plain memory, for tests.
    #[cfg(test)]
    pub fn of(memory: &'static [core::cell::UnsafeCell<u32>]) -> Mmio {
        Mmio { address: memory.as_ptr().expose_provenance(), len: size_of_val(memory), played: None }
    }
    #[inline(always)]
    fn at<T>(&self, offset: usize) -> *mut T {
        let size = core::mem::size_of::<T>();
        if offset > self.len || size > self.len - offset || !offset.is_multiple_of(size) {
            none_at(offset);
        }
        (self.address + offset) as *mut T
    }
    register!(read8, write8, u8);
    register!(read16, write16, u16);
    register!(read32, write32, u32);
}

#[cold]
#[inline(never)]
fn none_at(offset: usize) -> ! {
    panic!("no register at {offset:#x}")
}
