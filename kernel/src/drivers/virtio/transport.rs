//! How a driver reaches its device: over PCI or over MMIO (virtio 1.2, chapter 4). Of a transitional device the modern
//! interface is used.
use super::legacy::{LegacyPci, page_number};
use crate::drivers::pci::Function;
use alloc::sync::Arc;
use coracle_hal::irq::Irq;
use coracle_hal::mmio::Mmio;
use coracle_hal::port::Ports;
use coracle_image::cmdline::MmioDevice;
use coracle_virtio::device::{features, status};
use coracle_virtio::queue::{LEGACY_ALIGN, Layout, MAX_SIZE};
use coracle_virtio::transport::{NO_VECTOR, mmio, pci};
use core::fmt;

/// Why a device could not be set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetupError {
    /// It has no registers that virtio describes.
    NotVirtio,
    /// It has a legacy interface only, whose ports have no address.
    Ports,
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
            SetupError::NotVirtio => "it has no registers that virtio describes",
            SetupError::Ports => {
                "it has a legacy interface only, and its I/O ports have no address: give it a modern one (QEMU: disable-modern=off)"
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
    Mmio { registers: Arc<Mmio>, len: usize, legacy: bool },
    Pci(PciRegisters),
    LegacyPci(LegacyPci),
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
            return Err(SetupError::NotVirtio);
        }
        let device_type = registers.read32(mmio::DEVICE_ID);
        if device_type == 0 {
            return Ok(None);
        }
        let legacy = match registers.read32(mmio::VERSION) {
            mmio::LEGACY => true,
            mmio::MODERN => false,
            _ => return Err(SetupError::NotVirtio),
        };
        let irq = Irq::line(place.irq, cpu).ok_or(SetupError::Interrupt)?;
        Ok(Some(Transport {
            bus: Bus::Mmio { registers: Arc::new(registers), len, legacy },
            irq,
            device_type,
        }))
    }

    /// The device of a PCI function with virtio's vendor id.
    pub fn pci(function: &Function, cpu: usize) -> Result<Transport, SetupError> {
        let found = pci::capabilities(|offset| function.config(offset));
        let transitional = (pci::TRANSITIONAL_FIRST..pci::MODERN_DEVICE_BASE).contains(&function.device);
        if found.modern.is_none() && !transitional {
            return Err(SetupError::NotVirtio);
        }
        let device_type = if function.device >= pci::MODERN_DEVICE_BASE {
            u32::from(function.device - pci::MODERN_DEVICE_BASE)
        } else {
            // A transitional device tells its type as the subsystem id (section 4.1.2.3).
            function.config(SUBSYSTEM) >> 16
        };
        function.enable();
        let legacy_ports = match found.modern {
            Some(_) => None,
            None => Some(function.ports(pci::legacy::BAR).ok_or(SetupError::Ports)?),
        };
        let bars = function.bars();
        let map = |block| bars.map(block).ok_or(SetupError::Registers);
        let irq = match &found.msix {
            Some(msix) => function.enable_msix(&bars, msix, cpu),
            None => None,
        };
        let msix = irq.is_some();
        let irq = irq.or_else(|| Irq::line(function.interrupt_line()?, cpu)).ok_or(SetupError::Interrupt)?;
        let Some(found) = found.modern else {
            let registers = legacy_ports.and_then(|ports| LegacyPci::new(ports, msix));
            let bus = Bus::LegacyPci(registers.ok_or(SetupError::Registers)?);
            return Ok(Transport { bus, irq, device_type });
        };
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
    /// are physical ones on every machine we run on. Of a legacy device (section 3.1.2) they are without VERSION_1, and
    /// ANY_LAYOUT is added if offered.
    pub fn negotiate_dependent(&self, wanted: u64, dependencies: &[(u64, u64)]) -> Result<u64, SetupError> {
        self.set_status(0);
        while self.status() != 0 {
            coracle_hal::cpu::relax();
        }
        self.set_status(status::ACKNOWLEDGE);
        self.set_status(status::ACKNOWLEDGE | status::DRIVER);
        if self.is_legacy() {
            if let Bus::Mmio { registers, .. } = &self.bus {
                registers.write32(mmio::GUEST_PAGE_SIZE, LEGACY_ALIGN as u32);
            }
            let offered = u64::from(self.offered(0));
            let agreed =
                features::without_dependents(offered & (wanted | features::ANY_LAYOUT), dependencies);
            self.accept(0, agreed as u32);
            return Ok(agreed);
        }
        let offered = u64::from(self.offered(0)) | u64::from(self.offered(1)) << 32;
        let agreed = offered & (wanted | features::VERSION_1 | features::ACCESS_PLATFORM);
        let agreed = features::without_dependents(agreed, dependencies);
        if agreed & features::VERSION_1 == 0 {
            return Err(SetupError::Features);
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

    /// Whether the device is used by its legacy interface.
    fn is_legacy(&self) -> bool {
        matches!(self.bus, Bus::LegacyPci(_) | Bus::Mmio { legacy: true, .. })
    }

    /// Descriptors that queue `index` is to have: as many as it can have, a power of two (section 2.7), and at most `most`
    /// where the driver may say so. Legacy PCI devices have queues of one size. 0 if there is no such queue.
    pub fn queue_size(&self, index: u16, most: u16) -> u16 {
        match (&self.bus, self.queue_limit(index)) {
            (_, 0) => 0,
            (Bus::LegacyPci(_), size) => size,
            (_, limit) => (1 << limit.ilog2()).min(most),
        }
    }

    /// The layout of a queue of this size; see [`Layout::new`].
    pub fn layout(&self, size: u16, tables: u16, table_len: u16) -> Result<Layout, SetupError> {
        let layout = if self.is_legacy() { Layout::legacy } else { Layout::new };
        layout(size, tables, table_len).ok_or(SetupError::Queue)
    }

    /// Most descriptors queue `index` can have; 0 if there is no such queue.
    fn queue_limit(&self, index: u16) -> u16 {
        match &self.bus {
            Bus::Mmio { registers, .. } => {
                registers.write32(mmio::QUEUE_SEL, u32::from(index));
                registers.read32(mmio::QUEUE_NUM_MAX).min(u32::from(MAX_SIZE)) as u16
            }
            Bus::Pci(PciRegisters { common, .. }) => {
                common.write16(pci::common::QUEUE_SELECT, index);
                common.read16(pci::common::QUEUE_SIZE).min(MAX_SIZE)
            }
            Bus::LegacyPci(registers) => registers.queue_size(index),
        }
    }

    /// Gives the device a queue (section 4.1.5.1.3, 4.2.3.2) that lies as [`Transport::layout`] says.
    pub fn start_queue(&self, index: u16, addresses: [u64; 3], size: u16) -> Result<Doorbell, SetupError> {
        if self.queue_limit(index) < size {
            return Err(SetupError::Queue);
        }
        match &self.bus {
            Bus::Mmio { registers, legacy: true, .. } => {
                let page = page_number(addresses[0])?;
                if registers.read32(mmio::QUEUE_PFN) != 0 {
                    return Err(SetupError::Queue);
                }
                registers.write32(mmio::QUEUE_NUM, u32::from(size));
                registers.write32(mmio::QUEUE_ALIGN, LEGACY_ALIGN as u32);
                registers.write32(mmio::QUEUE_PFN, page);
                Ok(Self::mmio_doorbell(registers, index))
            }
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
                Ok(Self::mmio_doorbell(registers, index))
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
                let place = DoorbellPlace::Mmio { registers: notify.clone(), offset, wide: false };
                Ok(Doorbell { place, queue: index })
            }
            Bus::LegacyPci(registers) => {
                registers.start_queue(index, addresses[0])?;
                Ok(Doorbell { place: DoorbellPlace::Ports(registers.ports()), queue: index })
            }
        }
    }

    fn mmio_doorbell(registers: &Arc<Mmio>, queue: u16) -> Doorbell {
        let registers = registers.clone();
        Doorbell { place: DoorbellPlace::Mmio { registers, offset: mmio::QUEUE_NOTIFY, wide: true }, queue }
    }

    /// The device may work from now on (DRIVER_OK).
    pub fn start(&self) {
        let features_ok = if self.is_legacy() { 0 } else { status::FEATURES_OK };
        self.set_status(status::ACKNOWLEDGE | status::DRIVER | features_ok | status::DRIVER_OK);
    }

    /// Reads a byte of the device type's configuration; 0 beyond its end.
    pub fn config_u8(&self, offset: usize) -> u8 {
        match &self.bus {
            Bus::Mmio { registers, len, .. } if mmio::CONFIG + offset < *len => {
                registers.read8(mmio::CONFIG + offset)
            }
            Bus::Pci(PciRegisters { device: Some((registers, len)), .. }) if offset < *len => {
                registers.read8(offset)
            }
            Bus::LegacyPci(registers) => registers.config_u8(offset),
            _ => 0,
        }
    }

    /// Reads two bytes of the configuration (little endian, which is also the guest's own order of legacy devices).
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
            Bus::LegacyPci(registers) => registers.clear_interrupt(),
        }
    }

    fn status(&self) -> u8 {
        match &self.bus {
            Bus::Mmio { registers, .. } => registers.read32(mmio::STATUS) as u8,
            Bus::Pci(PciRegisters { common, .. }) => common.read8(pci::common::DEVICE_STATUS),
            Bus::LegacyPci(registers) => registers.status(),
        }
    }

    fn set_status(&self, value: u8) {
        match &self.bus {
            Bus::Mmio { registers, .. } => registers.write32(mmio::STATUS, u32::from(value)),
            Bus::Pci(PciRegisters { common, .. }) => common.write8(pci::common::DEVICE_STATUS, value),
            Bus::LegacyPci(registers) => registers.set_status(value),
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
            Bus::LegacyPci(registers) => registers.offered(),
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
            Bus::LegacyPci(registers) => registers.accept(features),
        }
    }
}

/// Offset of the subsystem ids in PCI configuration space.
const SUBSYSTEM: u8 = 0x2c;
