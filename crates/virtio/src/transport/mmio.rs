//! Virtio over MMIO (virtio 1.2, section 4.2.2, and for legacy devices 4.2.4): offsets of the registers, all 32 bits wide.
#![allow(missing_docs)]

/// Reads `"virt"` in little endian.
pub const MAGIC_VALUE: usize = 0x00;
pub const VERSION: usize = 0x04;
pub const DEVICE_ID: usize = 0x08;
pub const DEVICE_FEATURES: usize = 0x10;
pub const DEVICE_FEATURES_SEL: usize = 0x14;
pub const DRIVER_FEATURES: usize = 0x20;
pub const DRIVER_FEATURES_SEL: usize = 0x24;
/// Legacy: bytes of a page, in which [`QUEUE_PFN`] counts.
pub const GUEST_PAGE_SIZE: usize = 0x28;
pub const QUEUE_SEL: usize = 0x30;
pub const QUEUE_NUM_MAX: usize = 0x34;
pub const QUEUE_NUM: usize = 0x38;
/// Legacy: the used ring is at a multiple of this.
pub const QUEUE_ALIGN: usize = 0x3c;
/// Legacy: number of the page that the queue begins with; 0 stops it.
pub const QUEUE_PFN: usize = 0x40;
pub const QUEUE_READY: usize = 0x44;
pub const QUEUE_NOTIFY: usize = 0x50;
pub const INTERRUPT_STATUS: usize = 0x60;
pub const INTERRUPT_ACK: usize = 0x64;
pub const STATUS: usize = 0x70;
pub const QUEUE_DESC_LOW: usize = 0x80;
pub const QUEUE_DRIVER_LOW: usize = 0x90;
pub const QUEUE_DEVICE_LOW: usize = 0xa0;
pub const CONFIG_GENERATION: usize = 0xfc;
pub const CONFIG: usize = 0x100;

/// What [`MAGIC_VALUE`] reads.
pub const MAGIC: u32 = 0x7472_6976;
/// What [`VERSION`] reads on a legacy device.
pub const LEGACY: u32 = 1;
/// What it reads on all others.
pub const MODERN: u32 = 2;
