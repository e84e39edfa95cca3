//! Devices that the machine declares, beside those of its buses.
use super::{gic, start};
use crate::virtio::transport::MmioDevice;
use alloc::vec::Vec;

/// The virtio devices behind memory-mapped registers that the device tree declares (Linux's bindings of virtio,mmio).
pub fn virtio_mmio() -> Vec<MmioDevice> {
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
