//! PCI configuration space by ports 0xcf8 and 0xcfc.

/// Bus, device and function of a PCI device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// Bus number.
    pub bus: u8,
    /// Device number, below 32.
    pub device: u8,
    /// Function number, below 8.
    pub function: u8,
}
/// True if the machine answers at the PCI ports.
pub fn present() -> bool {
    todo!()
}
/// Reads the 32-bit register at `offset` (a multiple of 4, below 256).
pub fn read32(address: Address, offset: u8) -> u32 {
    let _ = (address, offset);
    todo!()
}
/// Writes the 32-bit register.
pub fn write32(address: Address, offset: u8, value: u32) {
    let _ = (address, offset, value);
    todo!()
}
