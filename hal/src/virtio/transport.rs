//! How a driver reaches its device: over PCI or over MMIO (virtio 1.2, chapter 4). Of a transitional device the modern
//! interface is used.
use super::exchanges::Exchanges;
use super::legacy::LegacyPci;
use super::packets::Packets;
use super::queue::{DeviceBuffer, Queue};
pub use super::registers::Doorbell;
use super::registers::{PciRegisters, Registers};
use super::requests::{self, Requests};
use crate::io::mmio::Mmio;
use crate::io::pci::Function;
use crate::irq::{Irq, Trigger};
pub use crate::machine::acpi::MmioDevice;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_fallible::try_arc;
use coracle_virtio::device::{features, status};
use coracle_virtio::queue::Layout;
use coracle_virtio::transport::{mmio, pci};
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
    /// It does not end its reset.
    Reset,
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
            SetupError::Reset => "it does not end its reset",
            SetupError::Features => "it doesn't offer the features that are needed",
            SetupError::Queue => "it lacks a queue",
            SetupError::Interrupt => "no interrupt can be given to it",
            SetupError::Memory => "there is not enough memory for its queues",
            SetupError::Configuration => "its configuration makes no sense",
        })
    }
}

/// A device and its interrupt. One interrupt serves all queues: they are looked at together.
pub struct Transport {
    registers: Arc<Registers>,
    irq: Irq,
    device_type: u32,
}

/// Smallest register window that holds the configuration we read (section 4.2.2).
const MMIO_MIN_BYTES: u64 = 0x200;

/// The virtio devices behind memory-mapped registers that the machine declares: by ACPI's tables or a device tree. `any`:
/// others were found.
pub fn declared(any: bool) -> Vec<MmioDevice> {
    crate::arch::devices::virtio_mmio(any)
}

fn shared<T>(value: T) -> Result<Arc<T>, SetupError> {
    try_arc(value).map_err(|_| SetupError::Memory)
}

impl Transport {
    /// The device behind MMIO registers. `Ok(None)`: the slot is empty (device id 0, section 4.2.2).
    pub fn mmio(place: &MmioDevice, cpu: usize) -> Result<Option<Transport>, SetupError> {
        let len = usize::try_from(place.size.max(MMIO_MIN_BYTES)).map_err(|_| SetupError::Registers)?;
        let registers = Mmio::map(place.base, len).ok_or(SetupError::Registers)?;
        Self::behind(registers, len, || Irq::line(place.irq, Trigger::Edge, cpu))
    }

    /// A device that a test plays.
    #[cfg(not(target_os = "none"))]
    pub fn played(device: &'static crate::host::virtio::Device) -> Result<Option<Transport>, SetupError> {
        let irq = || {
            let (irq, number) = Irq::of_host()?;
            device.interrupts(number);
            Some(irq)
        };
        Self::behind(Mmio::played(device), crate::host::virtio::REGISTERS_LEN, irq)
    }

    /// The device behind these registers, `len` bytes.
    fn behind(
        registers: Mmio,
        len: usize,
        irq: impl FnOnce() -> Option<Irq>,
    ) -> Result<Option<Transport>, SetupError> {
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
        let irq = irq().ok_or(SetupError::Interrupt)?;
        Ok(Some(Transport {
            registers: shared(Registers::Mmio { registers: shared(registers)?, len, legacy })?,
            irq,
            device_type,
        }))
    }

    /// The device of a PCI function with virtio's vendor id.
    pub fn pci(function: &Function, cpu: usize) -> Result<Transport, SetupError> {
        if function.vendor() != pci::VENDOR {
            return Err(SetupError::NotVirtio);
        }
        let found = pci::capabilities(|offset| function.config(offset));
        let transitional = (pci::TRANSITIONAL_FIRST..pci::MODERN_DEVICE_BASE).contains(&function.device());
        if found.modern.is_none() && !transitional {
            return Err(SetupError::NotVirtio);
        }
        let device_type = if function.device() >= pci::MODERN_DEVICE_BASE {
            u32::from(function.device() - pci::MODERN_DEVICE_BASE)
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
        let (irq, msix) = function.interrupt(&bars, found.msix.as_ref(), cpu).ok_or(SetupError::Interrupt)?;
        let Some(found) = found.modern else {
            let registers = legacy_ports.and_then(|ports| LegacyPci::new(ports, msix));
            let registers = shared(Registers::LegacyPci(registers.ok_or(SetupError::Registers)?))?;
            return Ok(Transport { registers, irq, device_type });
        };
        let device = match found.device {
            Some(block) => Some((map(block)?, block.len as usize)),
            None => None,
        };
        let registers = PciRegisters {
            common: map(found.common)?,
            notify: shared(map(found.notify)?)?,
            notify_len: found.notify.len as usize,
            notify_multiplier: found.notify_multiplier,
            isr: map(found.isr)?,
            device,
            msix,
        };
        Ok(Transport { registers: shared(Registers::Pci(registers))?, irq, device_type })
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
        let registers = &*self.registers;
        if !registers.reset() {
            return Err(SetupError::Reset);
        }
        registers.set_status(status::ACKNOWLEDGE);
        registers.set_status(status::ACKNOWLEDGE | status::DRIVER);
        if registers.is_legacy() {
            registers.set_page_size();
            let offered = u64::from(registers.offered(0));
            let agreed =
                features::without_dependents(offered & (wanted | features::ANY_LAYOUT), dependencies);
            registers.accept(0, agreed as u32);
            return Ok(agreed);
        }
        let offered = u64::from(registers.offered(0)) | u64::from(registers.offered(1)) << 32;
        let agreed = offered & (wanted | features::VERSION_1 | features::ACCESS_PLATFORM);
        let agreed = features::without_dependents(agreed, dependencies);
        if agreed & features::VERSION_1 == 0 {
            return Err(SetupError::Features);
        }
        registers.accept(0, agreed as u32);
        registers.accept(1, (agreed >> 32) as u32);
        registers.set_status(status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK);
        if registers.status() & status::FEATURES_OK == 0 {
            registers.set_status(status::FAILED);
            return Err(SetupError::Features);
        }
        Ok(agreed)
    }

    /// Descriptors that queue `index` is to have: as many as it can have, a power of two (section 2.7), and at most `most`
    /// where the driver may say so. Legacy PCI devices have queues of one size. 0 if there is no such queue.
    pub fn queue_size(&self, index: u16, most: u16) -> u16 {
        match (&*self.registers, self.registers.queue_limit(index)) {
            (_, 0) => 0,
            (Registers::LegacyPci(_), size) => size,
            (_, limit) => (1 << limit.ilog2()).min(most),
        }
    }

    /// Gives the device queue `index` of `size` descriptors for whole buffers. `event_index`: VIRTIO_F_EVENT_IDX was negotiated.
    pub fn queue<B: DeviceBuffer>(
        &self,
        index: u16,
        size: u16,
        event_index: bool,
    ) -> Result<(Queue<B>, Doorbell), SetupError> {
        Queue::start(&self.registers, index, (self.layout(size, 0, 0)?, 0), event_index)
    }

    /// Gives the device queue `index` of `size` descriptors for packets to send, each in at most `pieces_max` pieces beside its
    /// headers. `tables`: chains that may be in tables of their own at a time, which takes VIRTIO_F_INDIRECT_DESC; 0 without it.
    /// `event_index`: VIRTIO_F_EVENT_IDX was negotiated.
    pub fn packets(
        &self,
        index: u16,
        size: u16,
        (tables, pieces_max): (u16, u16),
        event_index: bool,
    ) -> Result<(Packets, Doorbell), SetupError> {
        let layout = self.layout(size, tables, pieces_max)?;
        let (queue, doorbell) = Queue::start(&self.registers, index, (layout, 0), event_index)?;
        Ok((Packets::new(queue), doorbell))
    }

    /// Gives the device queue `index` of `size` descriptors for requests of a block device, whose data are in pieces of at most
    /// `size_max` bytes. `event_index`: VIRTIO_F_EVENT_IDX was negotiated.
    pub fn requests<T>(
        &self,
        index: u16,
        size: u16,
        size_max: usize,
        event_index: bool,
    ) -> Result<(Requests<T>, Doorbell), SetupError> {
        let layout = self.layout(size, 0, 0)?;
        let memory = (layout, requests::memory_behind(layout));
        let (queue, doorbell) = Queue::start(&self.registers, index, memory, event_index)?;
        Ok((Requests::new(queue, layout, size_max), doorbell))
    }

    /// Gives the device queue `index` of `size` descriptors for exchanges. `event_index`: VIRTIO_F_EVENT_IDX was negotiated.
    pub fn exchanges<T>(
        &self,
        index: u16,
        size: u16,
        event_index: bool,
    ) -> Result<(Exchanges<T>, Doorbell), SetupError> {
        let (queue, doorbell) =
            Queue::start(&self.registers, index, (self.layout(size, 0, 0)?, 0), event_index)?;
        Ok((Exchanges::new(queue), doorbell))
    }

    fn layout(&self, size: u16, tables: u16, table_len: u16) -> Result<Layout, SetupError> {
        let layout = if self.registers.is_legacy() { Layout::legacy } else { Layout::new };
        layout(size, tables, table_len).ok_or(SetupError::Queue)
    }

    /// The device may work from now on (DRIVER_OK).
    pub fn start(&self) {
        let features_ok = if self.registers.is_legacy() { 0 } else { status::FEATURES_OK };
        self.registers.set_status(status::ACKNOWLEDGE | status::DRIVER | features_ok | status::DRIVER_OK);
    }

    /// Reads a byte of the device type's configuration; 0 beyond its end.
    pub fn config_u8(&self, offset: usize) -> u8 {
        self.registers.config_u8(offset)
    }

    /// Writes a byte of it; nothing beyond its end.
    pub fn set_config_u8(&self, offset: usize, value: u8) {
        self.registers.set_config_u8(offset, value);
    }

    /// Reads two bytes of the configuration (little endian, which is also the guest's own order of legacy devices).
    pub fn config_u16(&self, offset: usize) -> u16 {
        u16::from_le_bytes([self.config_u8(offset), self.config_u8(offset + 1)])
    }

    /// Reads four bytes of it.
    pub fn config_u32(&self, offset: usize) -> u32 {
        u32::from(self.config_u16(offset)) | u32::from(self.config_u16(offset + 2)) << u16::BITS
    }

    /// Has the device looked at soon, as after an interrupt.
    pub fn look_soon(&self) {
        self.irq.mark();
    }
    /// Takes the interrupt back from the device, so that it can raise it again. Call it before looking at the queues.
    /// True if there was one.
    #[inline]
    pub fn acknowledge(&self) -> bool {
        if !self.irq.take_pending() {
            return false;
        }
        self.registers.clear_interrupt();
        true
    }
}

/// Offset of the subsystem ids in PCI configuration space.
const SUBSYSTEM: u8 = 0x2c;
