//! Devices that the machine declares, beside those of its buses.
use super::port;
use crate::io::pci::Address;
use crate::irq::Trigger;
use crate::machine::acpi::Tables;
use crate::machine::host_bridge::{HostBridge, Unusable};
use crate::virtio::transport::MmioDevice;
use alloc::vec::Vec;

/// The virtio devices behind memory-mapped registers that ACPI's tables declare, where there are such tables. A machine that has
/// others (`any`) has none of these.
pub fn virtio_mmio(any: bool) -> Vec<MmioDevice> {
    if any {
        return Vec::new();
    }
    Tables::of_machine().map_or_else(Default::default, |tables| tables.virtio_mmio())
}

/// The PCI host bridge whose configuration space is in memory.
pub fn host_bridge() -> Option<Result<HostBridge, Unusable>> {
    Tables::at_hand().and_then(|tables| tables.host_bridge()).map(Ok)
}

/// The line of a PCI device's interrupt pin: that which the firmware has `written` to its registers.
pub fn pci_line(_address: Address, _pin: u8, written: u8) -> Option<(u32, Trigger)> {
    (written != 0 && written != u8::MAX).then_some((written.into(), Trigger::Edge))
}

/// QEMU's fw_cfg: the port that selects an item, and the one that reads its next byte.
const FIRMWARE_SELECTOR: u16 = 0x510;
const FIRMWARE_DATA: u16 = 0x511;

/// Selects an item of QEMU's fw_cfg device.
pub fn select_firmware_item(item: u16) {
    port::write16(FIRMWARE_SELECTOR, item);
}

/// The next byte of the selected item; all ones if there is no such device.
pub fn read_firmware_byte() -> u8 {
    port::read8(FIRMWARE_DATA)
}
