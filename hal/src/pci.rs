//! PCI configuration space by ports 0xcf8 and 0xcfc.
use crate::port;

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
impl core::fmt::Display for Address {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:02x}:{:02x}.{}", self.bus, self.device, self.function)
    }
}
/// PCI Local Bus Specification 3.0, section 3.2.2.3.2.
const CONFIG_ADDRESS: u16 = 0xcf8;
const CONFIG_DATA: u16 = 0xcfc;
const ENABLE: u32 = 1 << 31;

/// Address and data port belong together.
static PORTS: spin::Mutex<()> = spin::Mutex::new(());

fn select(address: Address, offset: u8) {
    let place = u32::from(address.bus) << 16
        | u32::from(address.device & 31) << 11
        | u32::from(address.function & 7) << 8
        | u32::from(offset & 0xfc);
    port::write32(CONFIG_ADDRESS, ENABLE | place);
}
/// True if the machine answers at the PCI ports.
pub fn present() -> bool {
    let _guard = PORTS.lock();
    port::write32(CONFIG_ADDRESS, ENABLE);
    port::read32(CONFIG_ADDRESS) == ENABLE
}
/// Reads the 32-bit register at `offset` (a multiple of 4, below 256).
pub fn read32(address: Address, offset: u8) -> u32 {
    let _guard = PORTS.lock();
    select(address, offset);
    port::read32(CONFIG_DATA)
}
/// Writes the 32-bit register.
pub fn write32(address: Address, offset: u8, value: u32) {
    let _guard = PORTS.lock();
    select(address, offset);
    port::write32(CONFIG_DATA, value);
}
