//! How a driver reaches its device: over PCI or over MMIO (virtio 1.2, chapter 4), modern devices only.
use crate::drivers::pci::Function;
use alloc::sync::Arc;
use coracle_hal::irq::Irq;
use coracle_hal::mmio::Mmio;
use coracle_image::cmdline::MmioDevice;
use coracle_virtio::device::{features, status};
use coracle_virtio::transport::{NO_VECTOR, mmio, pci};
use core::fmt;

/// Why a device could not be set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetupError {
    /// It is not a virtio device with a modern interface.
    NotModern,
    /// Its registers can't be mapped.
    Registers,
    /// It didn't agree to the features that we must have.
    Features,
    /// It lacks a queue, or its queue is in use.
    Queue,
    /// No interrupt can be given to it.
    Interrupt,
    /// No memory for its queues.
    Memory,
    /// Its configuration makes no sense.
    Configuration,
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SetupError::NotModern => {
                "it has no modern (virtio 1) interface (QEMU: disable-modern=off, -global virtio-mmio.force-legacy=false)"
            }
            SetupError::Registers => "its registers can't be mapped",
            SetupError::Features => "it doesn't offer the features that are needed",
            SetupError::Queue => "it lacks a queue",
            SetupError::Interrupt => "no interrupt can be given to it",
            SetupError::Memory => "there is not enough memory for its queues",
            SetupError::Configuration => "its configuration makes no sense",
        })
    }
}

/// A device's registers.
enum Bus {
    Mmio { registers: Arc<Mmio>, len: usize },
    Pci(PciRegisters),
}

/// The register blocks of a PCI device (section 4.1.4).
struct PciRegisters {
    common: Mmio,
    notify: Arc<Mmio>,
    notify_len: usize,
    notify_multiplier: u32,
    isr: Mmio,
    /// Configuration of the device type, and its length.
    device: Option<(Mmio, usize)>,
    msix: bool,
}

/// Where a queue's doorbell is (section 2.3).
pub struct Doorbell {
    registers: Arc<Mmio>,
    offset: usize,
    queue: u16,
    wide: bool,
}

impl Doorbell {
    /// Tells the device that the queue has something for it. Leaves the virtual machine.
    #[inline]
    pub fn ring(&self) {
        if self.wide {
            self.registers.write32(self.offset, u32::from(self.queue));
        } else {
            self.registers.write16(self.offset, self.queue);
        }
    }
}

/// A device and its interrupt. One interrupt serves all queues: they are looked at together.
pub struct Transport {
    bus: Bus,
    irq: Irq,
    device_type: u32,
}

/// Smallest register window that holds the configuration we read (section 4.2.2).
const MMIO_MIN_BYTES: u64 = 0x200;

impl Transport {
    /// The device behind MMIO registers. `Ok(None)`: the slot is empty (device id 0, section 4.2.2).
    pub fn mmio(place: &MmioDevice, cpu: usize) -> Result<Option<Transport>, SetupError> {
        let len = usize::try_from(place.size.max(MMIO_MIN_BYTES)).map_err(|_| SetupError::Registers)?;
        let registers = Mmio::map(place.base, len).ok_or(SetupError::Registers)?;
        if registers.read32(mmio::MAGIC_VALUE) != mmio::MAGIC {
            return Err(SetupError::NotModern);
        }
        let device_type = registers.read32(mmio::DEVICE_ID);
        if device_type == 0 {
            return Ok(None);
        }
        if registers.read32(mmio::VERSION) != mmio::MODERN {
            return Err(SetupError::NotModern);
        }
        let irq = Irq::line(place.irq, cpu).ok_or(SetupError::Interrupt)?;
        Ok(Some(Transport { bus: Bus::Mmio { registers: Arc::new(registers), len }, irq, device_type }))
    }

    /// The device of a PCI function with virtio's vendor id.
    pub fn pci(function: &Function, cpu: usize) -> Result<Transport, SetupError> {
        let found = pci::capabilities(|offset| function.config(offset)).ok_or(SetupError::NotModern)?;
        let device_type = if function.device >= pci::MODERN_DEVICE_BASE {
            u32::from(function.device - pci::MODERN_DEVICE_BASE)
        } else {
            // A transitional device tells its type as the subsystem id (section 4.1.2.3).
            function.config(SUBSYSTEM) >> 16
        };
        function.enable();
        let bars = function.bars();
        let map = |block| bars.map(block).ok_or(SetupError::Registers);
        let irq = match &found.msix {
            Some(msix) => function.enable_msix(&bars, msix, cpu),
            None => None,
        };
        let msix = irq.is_some();
        let irq = irq.or_else(|| Irq::line(function.interrupt_line()?, cpu)).ok_or(SetupError::Interrupt)?;
        let device = match found.device {
            Some(block) => Some((map(block)?, block.len as usize)),
            None => None,
        };
        let registers = PciRegisters {
            common: map(found.common)?,
            notify: Arc::new(map(found.notify)?),
            notify_len: found.notify.len as usize,
            notify_multiplier: found.notify_multiplier,
            isr: map(found.isr)?,
            device,
            msix,
        };
        Ok(Transport { bus: Bus::Pci(registers), irq, device_type })
    }

    /// The device type (section 5).
    pub fn device_type(&self) -> u32 {
        self.device_type
    }

    /// The device's interrupt.
    #[inline]
    pub fn irq(&self) -> &Irq {
        &self.irq
    }

    /// [`Transport::negotiate_dependent`] for features that need no others.
    pub fn negotiate(&self, wanted: u64) -> Result<u64, SetupError> {
        self.negotiate_dependent(wanted, &[])
    }

    /// Resets the device and agrees on features: those of `wanted` that it offers together with what they need by
    /// `dependencies` (section 3.1.1). VERSION_1 is added, and so is ACCESS_PLATFORM if offered, because our addresses
    /// are physical ones on every machine we run on.
    pub fn negotiate_dependent(&self, wanted: u64, dependencies: &[(u64, u64)]) -> Result<u64, SetupError> {
        self.set_status(0);
        while self.status() != 0 {
            coracle_hal::cpu::relax();
        }
        self.set_status(status::ACKNOWLEDGE);
        self.set_status(status::ACKNOWLEDGE | status::DRIVER);
        let offered = u64::from(self.offered(0)) | u64::from(self.offered(1)) << 32;
        let agreed = offered & (wanted | features::VERSION_1 | features::ACCESS_PLATFORM);
        let agreed = features::without_dependents(agreed, dependencies);
        if agreed & features::VERSION_1 == 0 {
            return Err(SetupError::NotModern);
        }
        self.accept(0, agreed as u32);
        self.accept(1, (agreed >> 32) as u32);
        self.set_status(status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK);
        if self.status() & status::FEATURES_OK == 0 {
            self.set_status(status::FAILED);
            return Err(SetupError::Features);
        }
        Ok(agreed)
    }

    /// Most descriptors queue `index` can have; 0 if there is no such queue.
    pub fn queue_size(&self, index: u16) -> u16 {
        match &self.bus {
            Bus::Mmio { registers, .. } => {
                registers.write32(mmio::QUEUE_SEL, u32::from(index));
                registers.read32(mmio::QUEUE_NUM_MAX).min(u32::from(coracle_virtio::queue::MAX_SIZE)) as u16
            }
            Bus::Pci(PciRegisters { common, .. }) => {
                common.write16(pci::common::QUEUE_SELECT, index);
                common.read16(pci::common::QUEUE_SIZE).min(coracle_virtio::queue::MAX_SIZE)
            }
        }
    }

    /// Gives the device a queue (section 4.1.5.1.3, 4.2.3.2).
    pub fn start_queue(&self, index: u16, addresses: [u64; 3], size: u16) -> Result<Doorbell, SetupError> {
        if self.queue_size(index) < size {
            return Err(SetupError::Queue);
        }
        match &self.bus {
            Bus::Mmio { registers, .. } => {
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
                let registers = registers.clone();
                Ok(Doorbell { registers, offset: mmio::QUEUE_NOTIFY, queue: index, wide: true })
            }
            Bus::Pci(PciRegisters { common, notify, notify_len, notify_multiplier, msix, .. }) => {
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
                Ok(Doorbell { registers: notify.clone(), offset, queue: index, wide: false })
            }
        }
    }

    /// The device may work from now on (DRIVER_OK).
    pub fn start(&self) {
        self.set_status(status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK | status::DRIVER_OK);
    }

    /// Reads a byte of the device type's configuration; 0 beyond its end.
    pub fn config_u8(&self, offset: usize) -> u8 {
        match &self.bus {
            Bus::Mmio { registers, len } if mmio::CONFIG + offset < *len => {
                registers.read8(mmio::CONFIG + offset)
            }
            Bus::Pci(PciRegisters { device: Some((registers, len)), .. }) if offset < *len => {
                registers.read8(offset)
            }
            _ => 0,
        }
    }

    /// Reads two bytes of the configuration (little endian).
    pub fn config_u16(&self, offset: usize) -> u16 {
        u16::from_le_bytes([self.config_u8(offset), self.config_u8(offset + 1)])
    }

    /// Takes the interrupt back from the device, so that it can raise it again. Call it before looking at the queues.
    /// True if there was one.
    #[inline]
    pub fn acknowledge(&self) -> bool {
        if !self.irq.take_pending() {
            return false;
        }
        self.clear_interrupt();
        true
    }

    /// Clears the device's interrupt status (section 4.2.2.1; reading it does, on PCI without MSI-X: section 4.1.4.5).
    fn clear_interrupt(&self) {
        match &self.bus {
            Bus::Mmio { registers, .. } => {
                let reasons = registers.read32(mmio::INTERRUPT_STATUS);
                registers.write32(mmio::INTERRUPT_ACK, reasons);
            }
            Bus::Pci(PciRegisters { isr, msix: false, .. }) => {
                isr.read8(0);
            }
            Bus::Pci(_) => {}
        }
    }

    fn status(&self) -> u8 {
        match &self.bus {
            Bus::Mmio { registers, .. } => registers.read32(mmio::STATUS) as u8,
            Bus::Pci(PciRegisters { common, .. }) => common.read8(pci::common::DEVICE_STATUS),
        }
    }

    fn set_status(&self, value: u8) {
        match &self.bus {
            Bus::Mmio { registers, .. } => registers.write32(mmio::STATUS, u32::from(value)),
            Bus::Pci(PciRegisters { common, .. }) => common.write8(pci::common::DEVICE_STATUS, value),
        }
    }

    fn offered(&self, half: u32) -> u32 {
        match &self.bus {
            Bus::Mmio { registers, .. } => {
                registers.write32(mmio::DEVICE_FEATURES_SEL, half);
                registers.read32(mmio::DEVICE_FEATURES)
            }
            Bus::Pci(PciRegisters { common, .. }) => {
                common.write32(pci::common::DEVICE_FEATURE_SELECT, half);
                common.read32(pci::common::DEVICE_FEATURE)
            }
        }
    }

    fn accept(&self, half: u32, features: u32) {
        match &self.bus {
            Bus::Mmio { registers, .. } => {
                registers.write32(mmio::DRIVER_FEATURES_SEL, half);
                registers.write32(mmio::DRIVER_FEATURES, features);
            }
            Bus::Pci(PciRegisters { common, .. }) => {
                common.write32(pci::common::DRIVER_FEATURE_SELECT, half);
                common.write32(pci::common::DRIVER_FEATURE, features);
            }
        }
    }
}

/// Offset of the subsystem ids in PCI configuration space.
const SUBSYSTEM: u8 = 0x2c;
