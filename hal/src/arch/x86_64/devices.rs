//! Devices that the machine declares, beside those of its buses.
use crate::machine::acpi::Tables;
use crate::virtio::transport::MmioDevice;
use alloc::vec::Vec;

/// The virtio devices behind memory-mapped registers that ACPI's tables declare, where there are such tables.
pub fn virtio_mmio() -> Vec<MmioDevice> {
    Tables::of_machine().map_or_else(Default::default, |tables| tables.virtio_mmio())
}
