//! x86 I/O ports.
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
