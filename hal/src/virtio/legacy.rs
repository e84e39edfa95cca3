//! The legacy interface of PCI devices: registers in I/O ports (virtio 1.2, section 4.1.4, "Legacy Interfaces: A Note on PCI
//! Device Layout").
use super::transport::SetupError;
use crate::arch::port::Ports;
use coracle_virtio::queue::LEGACY_ALIGN;
use coracle_virtio::transport::NO_VECTOR;
use coracle_virtio::transport::pci::legacy as register;

/// The number of the page that a queue begins with, as legacy devices are given it (section 2.7.2). `address`: that of the queue,
/// a multiple of [`LEGACY_ALIGN`].
pub fn page_number(address: u64) -> Result<u32, SetupError> {
    u32::try_from(address / LEGACY_ALIGN as u64).map_err(|_| SetupError::Memory)
}

/// The registers of a device.
pub struct LegacyPci {
    ports: Ports,
    msix: bool,
}

impl LegacyPci {
    /// `msix`: MSI-X is on, which adds two registers. `None` if the ports are too few for the registers that all devices have.
    pub fn new(ports: Ports, msix: bool) -> Option<LegacyPci> {
        (ports.len() >= register::device_config(msix)).then_some(LegacyPci { ports, msix })
    }

    /// The ports.
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// The features offered: there are 32 bits of them.
    pub fn offered(&self) -> u32 {
        self.ports.read32(register::DEVICE_FEATURES)
    }

    /// Accepts features.
    pub fn accept(&self, features: u32) {
        self.ports.write32(register::DRIVER_FEATURES, features);
    }

    /// The device status.
    pub fn status(&self) -> u8 {
        self.ports.read8(register::DEVICE_STATUS)
    }

    /// Sets it.
    pub fn set_status(&self, value: u8) {
        self.ports.write8(register::DEVICE_STATUS, value);
    }

    /// Descriptors of queue `index`: neither more nor fewer. 0 if there is no such queue.
    pub fn queue_size(&self, index: u16) -> u16 {
        self.ports.write16(register::QUEUE_SELECT, index);
        self.ports.read16(register::QUEUE_SIZE)
    }

    /// Gives the device queue `index`, of the size that it has, at `address`.
    pub fn start_queue(&self, index: u16, address: u64) -> Result<(), SetupError> {
        let page = page_number(address)?;
        self.ports.write16(register::QUEUE_SELECT, index);
        if self.ports.read32(register::QUEUE_ADDRESS) != 0 {
            return Err(SetupError::Queue);
        }
        if self.msix {
            self.ports.write16(register::QUEUE_MSIX_VECTOR, 0);
            if self.ports.read16(register::QUEUE_MSIX_VECTOR) == NO_VECTOR {
                return Err(SetupError::Interrupt);
            }
        }
        self.ports.write32(register::QUEUE_ADDRESS, page);
        Ok(())
    }

    /// Reads a byte of the device type's configuration; 0 beyond its end.
    pub fn config_u8(&self, offset: usize) -> u8 {
        self.config_port(offset).map_or(0, |at| self.ports.read8(at))
    }

    /// Writes a byte of it; nothing beyond its end.
    pub fn set_config_u8(&self, offset: usize, value: u8) {
        if let Some(at) = self.config_port(offset) {
            self.ports.write8(at, value);
        }
    }

    fn config_port(&self, offset: usize) -> Option<u16> {
        let at = u16::try_from(usize::from(register::device_config(self.msix)) + offset);
        at.ok().filter(|&at| at < self.ports.len())
    }

    /// Clears the interrupt status, if interrupts are not messages.
    pub fn clear_interrupt(&self) {
        if !self.msix {
            self.ports.read8(register::ISR);
        }
    }
}
