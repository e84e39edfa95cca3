//! x86 I/O ports: single ones, and ranges that belong to a device.
use core::arch::asm;

macro_rules! port_access {
    ($read:ident, $write:ident, $type:ty, $register:tt) => {
        /// Reads the port.
        #[inline]
        pub fn $read(port: u16) -> $type {
            let value: $type;
            // SAFETY: a port read touches no memory of this program; devices that write to memory on their own are
            // driven through `dma` only.
            unsafe { asm!(concat!("in ", $register, ", dx"), in("dx") port, out($register) value, options(nomem, nostack, preserves_flags)) };
            value
        }
        /// Writes the port.
        #[inline]
        pub fn $write(port: u16, value: $type) {
            // SAFETY: as for reading.
            unsafe { asm!(concat!("out dx, ", $register), in("dx") port, in($register) value, options(nomem, nostack, preserves_flags)) };
        }
    };
}
port_access!(read8, write8, u8, "al");
port_access!(read16, write16, u16, "ax");
port_access!(read32, write32, u32, "eax");

/// Ports below this belong to the platform: among them are those that reach PCI's configuration space and reset the machine.
const FIRST_OF_DEVICES: u16 = 0x1000;

/// A device's range of ports, bounds-checked.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    base: u16,
    len: u16,
}

macro_rules! range_access {
    ($read:ident, $write:ident, $type:ty) => {
        /// Reads the port at `offset`; panics outside of the range.
        #[inline]
        pub fn $read(&self, offset: u16) -> $type {
            $read(self.at(offset, size_of::<$type>()))
        }
        /// Writes the port at `offset`; panics outside of the range.
        #[inline]
        pub fn $write(&self, offset: u16, value: $type) {
            $write(self.at(offset, size_of::<$type>()), value);
        }
    };
}

impl Ports {
    /// The `len` ports from `base`. `None` if there are none, they go beyond the last one, or some belong to the platform.
    pub fn new(base: u16, len: u16) -> Option<Ports> {
        let last = base.checked_add(len.checked_sub(1)?);
        (base >= FIRST_OF_DEVICES && last.is_some()).then_some(Ports { base, len })
    }
    /// Number of ports.
    pub fn len(&self) -> u16 {
        self.len
    }
    fn at(&self, offset: u16, size: usize) -> u16 {
        if usize::from(offset) + size > usize::from(self.len) {
            none_at(offset);
        }
        self.base + offset
    }
    range_access!(read8, write8, u8);
    range_access!(read16, write16, u16);
    range_access!(read32, write32, u32);
}

#[cold]
#[inline(never)]
fn none_at(offset: u16) -> ! {
    panic!("no port at {offset:#x} of the range")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_of_devices() {
        assert!(Ports::new(0xcf8, 8).is_none() && Ports::new(0, 0x2000).is_none(), "the platform's");
        assert!(Ports::new(0xc000, 0).is_none() && Ports::new(0xfff0, 17).is_none());
        assert_eq!(Ports::new(0xfff0, 16).map(|ports| ports.len()), Some(16));
    }

    #[test]
    fn a_range_ends() {
        let ports = Ports::new(0xc000, 24).unwrap();
        assert_eq!((ports.at(0, 4), ports.at(23, 1), ports.at(20, 4)), (0xc000, 0xc017, 0xc014));
        assert!(std::panic::catch_unwind(|| ports.at(21, 4)).is_err());
    }
}
