//! Virtio over PCI (virtio 1.2, section 4.1): finds a device's register blocks in its capability list.

/// PCI vendor of all virtio devices (section 4.1.2).
pub const VENDOR: u16 = 0x1af4;
/// PCI device id of virtio device type 0; type `n` is `n` above it (section 4.1.2).
pub const MODERN_DEVICE_BASE: u16 = 0x1040;
/// Devices with a legacy interface, and mostly a modern one beside it ("transitional"): ids from here to below
/// [`MODERN_DEVICE_BASE`] (section 4.1.2.1).
pub const TRANSITIONAL_FIRST: u16 = 0x1000;

/// Offsets in the common configuration (section 4.1.4.3, `struct virtio_pci_common_cfg`).
#[allow(missing_docs)]
pub mod common {
    pub const DEVICE_FEATURE_SELECT: usize = 0x00;
    pub const DEVICE_FEATURE: usize = 0x04;
    pub const DRIVER_FEATURE_SELECT: usize = 0x08;
    pub const DRIVER_FEATURE: usize = 0x0c;
    pub const CONFIG_MSIX_VECTOR: usize = 0x10;
    pub const NUM_QUEUES: usize = 0x12;
    pub const DEVICE_STATUS: usize = 0x14;
    pub const CONFIG_GENERATION: usize = 0x15;
    pub const QUEUE_SELECT: usize = 0x16;
    pub const QUEUE_SIZE: usize = 0x18;
    pub const QUEUE_MSIX_VECTOR: usize = 0x1a;
    pub const QUEUE_ENABLE: usize = 0x1c;
    pub const QUEUE_NOTIFY_OFF: usize = 0x1e;
    pub const QUEUE_DESC: usize = 0x20;
    pub const QUEUE_DRIVER: usize = 0x28;
    pub const QUEUE_DEVICE: usize = 0x30;
    /// Bytes of all of it.
    pub const BYTES: u32 = 0x38;
}

/// The legacy interface (section 4.1.4, "Legacy Interfaces: A Note on PCI Device Layout"): offsets of the registers in BAR 0,
/// which are I/O ports.
#[allow(missing_docs)]
pub mod legacy {
    /// The BAR.
    pub const BAR: u8 = 0;
    pub const DEVICE_FEATURES: u16 = 0x00;
    pub const DRIVER_FEATURES: u16 = 0x04;
    /// Number of the page that the selected queue begins with; 0 stops it.
    pub const QUEUE_ADDRESS: u16 = 0x08;
    /// Descriptors of the selected queue, which the driver can't change.
    pub const QUEUE_SIZE: u16 = 0x0c;
    pub const QUEUE_SELECT: u16 = 0x0e;
    pub const QUEUE_NOTIFY: u16 = 0x10;
    pub const DEVICE_STATUS: u16 = 0x12;
    pub const ISR: u16 = 0x13;
    /// Only while MSI-X is on, and so is the next.
    pub const CONFIG_MSIX_VECTOR: u16 = 0x14;
    pub const QUEUE_MSIX_VECTOR: u16 = 0x16;

    /// Offset of the device type's configuration, which the two vectors move while MSI-X is on.
    pub const fn device_config(msix: bool) -> u16 {
        if msix { QUEUE_MSIX_VECTOR + 2 } else { CONFIG_MSIX_VECTOR }
    }
}

/// A block of registers in a BAR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// BAR number, below 6.
    pub bar: u8,
    /// Offset in the BAR.
    pub offset: u32,
    /// Length in bytes.
    pub len: u32,
}

/// The MSI-X capability (PCI Local Bus 3.0, section 6.8.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Msix {
    /// Offset of the capability in configuration space.
    pub capability: u8,
    /// Number of vectors.
    pub vectors: u16,
    /// BAR of the table.
    pub bar: u8,
    /// Offset of the table in the BAR.
    pub offset: u32,
}

/// The register blocks of the capability list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The modern interface; `None` if one of the blocks is missing that it must have.
    pub modern: Option<Modern>,
    /// MSI-X, if the device has it.
    pub msix: Option<Msix>,
}

/// The register blocks of the modern interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Modern {
    /// Common configuration.
    pub common: Block,
    /// Doorbells.
    pub notify: Block,
    /// Doorbell of a queue: `queue_notify_off` times this.
    pub notify_multiplier: u32,
    /// Interrupt status.
    pub isr: Block,
    /// Configuration of the device type, if it has any.
    pub device: Option<Block>,
}

/// Offset of the pointer to the first capability.
const CAPABILITIES_POINTER: u8 = 0x34;
/// Capability ids.
const ID_VENDOR: u8 = 0x09;
const ID_MSIX: u8 = 0x11;
/// `cfg_type` (section 4.1.4).
const COMMON_CFG: u8 = 1;
const NOTIFY_CFG: u8 = 2;
const ISR_CFG: u8 = 3;
const DEVICE_CFG: u8 = 4;
/// A list in 256 bytes of configuration space can't be longer than this.
const MAX_CAPABILITIES: usize = 48;

/// Walks the capability list; `read(offset)` returns the 32-bit register of configuration space at a multiple of 4.
pub fn capabilities(read: impl Fn(u8) -> u32) -> Capabilities {
    let mut common = None;
    let mut notify = None;
    let mut multiplier = 0;
    let mut isr = None;
    let mut device = None;
    let mut msix = None;
    let mut at = read(CAPABILITIES_POINTER) as u8 & !3;
    for _ in 0..MAX_CAPABILITIES {
        if at < 0x40 {
            break;
        }
        let head = read(at);
        let (id, next, kind) = (head as u8, (head >> 8) as u8 & !3, (head >> 24) as u8);
        match id {
            ID_VENDOR if at <= 0xf0 => {
                let block = Block { bar: read(at + 4) as u8, offset: read(at + 8), len: read(at + 12) };
                // The first of each kind that we can use is the one to take (section 4.1.4.1).
                if block.bar < 6 {
                    match kind {
                        COMMON_CFG if block.len >= common::BYTES => common = common.or(Some(block)),
                        NOTIFY_CFG if at <= 0xec && notify.is_none() && block.len >= 2 => {
                            notify = Some(block);
                            multiplier = read(at + 16);
                        }
                        ISR_CFG if block.len >= 1 => isr = isr.or(Some(block)),
                        DEVICE_CFG => device = device.or(Some(block)),
                        _ => {}
                    }
                }
            }
            ID_MSIX if at <= 0xf4 && msix.is_none() => {
                let table = read(at + 4);
                msix = Some(Msix {
                    capability: at,
                    vectors: ((head >> 16) as u16 & 0x7ff) + 1,
                    bar: table as u8 & 7,
                    offset: table & !7,
                })
                .filter(|m| m.bar < 6);
            }
            _ => {}
        }
        at = next;
    }
    let modern = match (common, notify, isr) {
        (Some(common), Some(notify), Some(isr)) => {
            Some(Modern { common, notify, notify_multiplier: multiplier, isr, device })
        }
        _ => None,
    };
    Capabilities { modern, msix }
}
