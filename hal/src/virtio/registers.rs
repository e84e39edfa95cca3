//! The registers of a device, over PCI or memory-mapped (virtio 1.2, chapter 4).
use super::legacy::{LegacyPci, page_number};
use super::transport::SetupError;
use crate::arch::port::Ports;
use crate::io::mmio::Mmio;
use alloc::sync::Arc;
use coracle_virtio::queue::{LEGACY_ALIGN, MAX_SIZE};
use coracle_virtio::transport::{NO_VECTOR, mmio, pci};

/// A device's registers.
pub(super) enum Registers {
    /// Memory-mapped ones, and their bytes.
    Mmio { registers: Arc<Mmio>, len: usize, legacy: bool },
    /// Those of a PCI device's modern interface.
    Pci(PciRegisters),
    /// Those of a PCI device that has none.
    LegacyPci(LegacyPci),
}

/// The register blocks of a PCI device (section 4.1.4).
pub(super) struct PciRegisters {
    pub common: Mmio,
    pub notify: Arc<Mmio>,
    pub notify_len: usize,
    pub notify_multiplier: u32,
    pub isr: Mmio,
    /// Configuration of the device type, and its length.
    pub device: Option<(Mmio, usize)>,
    pub msix: bool,
}

/// Where a queue's doorbell is (section 2.3).
pub struct Doorbell {
    place: DoorbellPlace,
    queue: u16,
}

enum DoorbellPlace {
    Mmio { registers: Arc<Mmio>, offset: usize, wide: bool },
    Ports(Ports),
}

impl Doorbell {
    /// Tells the device that the queue has something for it. Leaves the virtual machine.
    #[inline]
    pub fn ring(&self) {
        match &self.place {
            DoorbellPlace::Mmio { registers, offset, wide: true } => {
                registers.write32(*offset, u32::from(self.queue));
            }
            DoorbellPlace::Mmio { registers, offset, wide: false } => registers.write16(*offset, self.queue),
            DoorbellPlace::Ports(ports) => ports.write16(pci::legacy::QUEUE_NOTIFY, self.queue),
        }
    }
}

/// Looks at a device that has been told to reset, before it is given up: each leaves the virtual machine.
const RESET_PATIENCE: usize = 100_000;

impl Registers {
    /// Whether the device is used by its legacy interface.
    pub fn is_legacy(&self) -> bool {
        matches!(self, Registers::LegacyPci(_) | Registers::Mmio { legacy: true, .. })
    }

    /// Has the device forget its queues (section 2.4). False: it does not say that it has.
    pub fn reset(&self) -> bool {
        self.set_status(0);
        for _ in 0..RESET_PATIENCE {
            if self.status() == 0 {
                return true;
            }
            crate::cpu::relax();
        }
        false
    }

    /// The device status (section 2.1).
    pub fn status(&self) -> u8 {
        match self {
            Registers::Mmio { registers, .. } => registers.read32(mmio::STATUS) as u8,
            Registers::Pci(PciRegisters { common, .. }) => common.read8(pci::common::DEVICE_STATUS),
            Registers::LegacyPci(registers) => registers.status(),
        }
    }

    /// Sets it.
    pub fn set_status(&self, value: u8) {
        match self {
            Registers::Mmio { registers, .. } => registers.write32(mmio::STATUS, u32::from(value)),
            Registers::Pci(PciRegisters { common, .. }) => common.write8(pci::common::DEVICE_STATUS, value),
            Registers::LegacyPci(registers) => registers.set_status(value),
        }
    }

    /// 32 bits of the features offered.
    pub fn offered(&self, half: u32) -> u32 {
        match self {
            Registers::Mmio { registers, .. } => {
                registers.write32(mmio::DEVICE_FEATURES_SEL, half);
                registers.read32(mmio::DEVICE_FEATURES)
            }
            Registers::Pci(PciRegisters { common, .. }) => {
                common.write32(pci::common::DEVICE_FEATURE_SELECT, half);
                common.read32(pci::common::DEVICE_FEATURE)
            }
            Registers::LegacyPci(registers) => registers.offered(),
        }
    }

    /// Accepts 32 bits of features.
    pub fn accept(&self, half: u32, features: u32) {
        match self {
            Registers::Mmio { registers, .. } => {
                registers.write32(mmio::DRIVER_FEATURES_SEL, half);
                registers.write32(mmio::DRIVER_FEATURES, features);
            }
            Registers::Pci(PciRegisters { common, .. }) => {
                common.write32(pci::common::DRIVER_FEATURE_SELECT, half);
                common.write32(pci::common::DRIVER_FEATURE, features);
            }
            Registers::LegacyPci(registers) => registers.accept(features),
        }
    }

    /// Tells a legacy device behind memory-mapped registers how large pages are (section 4.2.4).
    pub fn set_page_size(&self) {
        if let Registers::Mmio { registers, legacy: true, .. } = self {
            registers.write32(mmio::GUEST_PAGE_SIZE, LEGACY_ALIGN as u32);
        }
    }

    /// Most descriptors queue `index` can have; 0 if there is no such queue.
    pub fn queue_limit(&self, index: u16) -> u16 {
        match self {
            Registers::Mmio { registers, .. } => {
                registers.write32(mmio::QUEUE_SEL, u32::from(index));
                registers.read32(mmio::QUEUE_NUM_MAX).min(u32::from(MAX_SIZE)) as u16
            }
            Registers::Pci(PciRegisters { common, .. }) => {
                common.write16(pci::common::QUEUE_SELECT, index);
                common.read16(pci::common::QUEUE_SIZE).min(MAX_SIZE)
            }
            Registers::LegacyPci(registers) => registers.queue_size(index),
        }
    }

    /// Gives the device queue `index` (section 4.1.5.1.3, 4.2.3.2), which has `size` descriptors, and whose descriptor table,
    /// available ring and used ring begin at these physical addresses. A queue that the device has already is an error.
    pub fn start_queue(&self, index: u16, addresses: [u64; 3], size: u16) -> Result<Doorbell, SetupError> {
        if self.queue_limit(index) < size {
            return Err(SetupError::Queue);
        }
        match self {
            Registers::Mmio { registers, legacy: true, .. } => {
                let page = page_number(addresses[0])?;
                if registers.read32(mmio::QUEUE_PFN) != 0 {
                    return Err(SetupError::Queue);
                }
                registers.write32(mmio::QUEUE_NUM, u32::from(size));
                registers.write32(mmio::QUEUE_ALIGN, LEGACY_ALIGN as u32);
                registers.write32(mmio::QUEUE_PFN, page);
                Ok(mmio_doorbell(registers, index))
            }
            Registers::Mmio { registers, .. } => {
                if registers.read32(mmio::QUEUE_READY) != 0 {
                    return Err(SetupError::Queue);
                }
                registers.write32(mmio::QUEUE_NUM, u32::from(size));
                let at = [mmio::QUEUE_DESC_LOW, mmio::QUEUE_DRIVER_LOW, mmio::QUEUE_DEVICE_LOW];
                for (offset, address) in at.into_iter().zip(addresses) {
                    registers.write32(offset, address as u32);
                    registers.write32(offset + 4, (address >> 32) as u32);
                }
                registers.write32(mmio::QUEUE_READY, 1);
                Ok(mmio_doorbell(registers, index))
            }
            Registers::Pci(PciRegisters { common, notify, notify_len, notify_multiplier, msix, .. }) => {
                if common.read16(pci::common::QUEUE_ENABLE) != 0 {
                    return Err(SetupError::Queue);
                }
                common.write16(pci::common::QUEUE_SIZE, size);
                let vector = if *msix { 0 } else { NO_VECTOR };
                common.write16(pci::common::QUEUE_MSIX_VECTOR, vector);
                if *msix && common.read16(pci::common::QUEUE_MSIX_VECTOR) != vector {
                    return Err(SetupError::Interrupt);
                }
                let at = [pci::common::QUEUE_DESC, pci::common::QUEUE_DRIVER, pci::common::QUEUE_DEVICE];
                for (offset, address) in at.into_iter().zip(addresses) {
                    common.write32(offset, address as u32);
                    common.write32(offset + 4, (address >> 32) as u32);
                }
                let slot = common.read16(pci::common::QUEUE_NOTIFY_OFF) as usize;
                let offset = slot * *notify_multiplier as usize;
                if offset + 2 > *notify_len {
                    return Err(SetupError::Registers);
                }
                common.write16(pci::common::QUEUE_ENABLE, 1);
                let place = DoorbellPlace::Mmio { registers: notify.clone(), offset, wide: false };
                Ok(Doorbell { place, queue: index })
            }
            Registers::LegacyPci(registers) => {
                registers.start_queue(index, addresses[0])?;
                Ok(Doorbell { place: DoorbellPlace::Ports(registers.ports()), queue: index })
            }
        }
    }

    /// Reads a byte of the device type's configuration; 0 beyond its end.
    pub fn config_u8(&self, offset: usize) -> u8 {
        match self {
            Registers::Mmio { registers, len, .. } if mmio::CONFIG + offset < *len => {
                registers.read8(mmio::CONFIG + offset)
            }
            Registers::Pci(PciRegisters { device: Some((registers, len)), .. }) if offset < *len => {
                registers.read8(offset)
            }
            Registers::LegacyPci(registers) => registers.config_u8(offset),
            _ => 0,
        }
    }

    /// Writes a byte of the device type's configuration; nothing beyond its end.
    pub fn set_config_u8(&self, offset: usize, value: u8) {
        match self {
            Registers::Mmio { registers, len, .. } if mmio::CONFIG + offset < *len => {
                registers.write8(mmio::CONFIG + offset, value);
            }
            Registers::Pci(PciRegisters { device: Some((registers, len)), .. }) if offset < *len => {
                registers.write8(offset, value);
            }
            Registers::LegacyPci(registers) => registers.set_config_u8(offset, value),
            _ => {}
        }
    }

    /// Clears the device's interrupt status (section 4.2.2.1; reading it does, on PCI without MSI-X: section 4.1.4.5).
    pub fn clear_interrupt(&self) {
        match self {
            Registers::Mmio { registers, .. } => {
                let reasons = registers.read32(mmio::INTERRUPT_STATUS);
                registers.write32(mmio::INTERRUPT_ACK, reasons);
            }
            Registers::Pci(PciRegisters { isr, msix: false, .. }) => {
                isr.read8(0);
            }
            Registers::Pci(_) => {}
            Registers::LegacyPci(registers) => registers.clear_interrupt(),
        }
    }
}

fn mmio_doorbell(registers: &Arc<Mmio>, queue: u16) -> Doorbell {
    let registers = registers.clone();
    Doorbell { place: DoorbellPlace::Mmio { registers, offset: mmio::QUEUE_NOTIFY, wide: true }, queue }
}
