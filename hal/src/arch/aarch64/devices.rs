//! Devices that the machine declares, beside those of its buses.
use super::{gic, start};
use crate::io::mmio::Mmio;
use crate::io::pci::Address;
use crate::irq::Trigger;
use crate::machine::device_tree::pci;
use crate::machine::host_bridge::{HostBridge, Unusable};
use crate::once::Once;
use crate::virtio::transport::MmioDevice;
use alloc::vec::Vec;

/// The virtio devices behind memory-mapped registers that the device tree declares (Linux's bindings of virtio,mmio). A machine may
/// have others as well.
pub fn virtio_mmio(_any: bool) -> Vec<MmioDevice> {
    let mut found = Vec::new();
    if let Some(tree) = start::device_tree() {
        tree.find(|node| {
            if node.is_compatible("virtio,mmio")
                && node.is_enabled()
                && let (Some((base, size)), Some(irq)) = (node.registers().next(), gic::line_of(&node))
            {
                found.push(MmioDevice { base, size, irq });
            }
            None::<()>
        });
    }
    found
}

/// The PCI host bridge of the device tree.
pub fn host_bridge() -> Option<Result<HostBridge, Unusable>> {
    pci::find(&start::device_tree()?)
}

/// The line of a PCI device's interrupt pin, by the device tree. Devices share lines, so they are levels (PCI Local Bus 3.0, 2.2.6).
pub fn pci_line(address: Address, pin: u8, _written: u8) -> Option<(u32, Trigger)> {
    let [kind, number, _] = pci::pin(&start::device_tree()?, address, pin)?;
    Some((gic::line(kind, number)?, Trigger::Level))
}

/// QEMU's fw_cfg (Linux's binding of qemu,fw-cfg-mmio): the register of the selected item's next byte, and the selector, which is big-endian.
const FIRMWARE_DATA: usize = 0;
const FIRMWARE_SELECTOR: usize = 8;

fn firmware() -> Option<&'static Mmio> {
    static REGISTERS: Once<Option<Mmio>> = Once::new();
    let found = REGISTERS.call_once(|| {
        let device = start::device_tree()?.compatible(&["qemu,fw-cfg-mmio"])?;
        let (address, size) = device.registers().next()?;
        Mmio::map(address, size as usize)
    });
    found.as_ref()
}

/// Selects an item of QEMU's fw_cfg device.
pub fn select_firmware_item(item: u16) {
    if let Some(registers) = firmware() {
        registers.write16(FIRMWARE_SELECTOR, item.to_be());
    }
}

/// The next byte of the selected item; all ones if there is no such device.
pub fn read_firmware_byte() -> u8 {
    firmware().map_or(u8::MAX, |registers| registers.read8(FIRMWARE_DATA))
}
