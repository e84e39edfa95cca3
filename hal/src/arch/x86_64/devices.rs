//! Devices that the machine declares, beside those of its buses.
use super::port;
use crate::machine::acpi::Tables;
use crate::virtio::transport::MmioDevice;
use alloc::vec::Vec;

/// The virtio devices behind memory-mapped registers that ACPI's tables declare, where there are such tables.
pub fn virtio_mmio() -> Vec<MmioDevice> {
    Tables::of_machine().map_or_else(Default::default, |tables| tables.virtio_mmio())
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
