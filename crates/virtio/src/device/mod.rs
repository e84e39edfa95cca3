//! Device types and what is special about each (virtio 1.2, chapter 5).
pub mod net;

/// Device ids (section 5).
#[allow(missing_docs)]
pub mod id {
    pub const NET: u32 = 1;
    pub const BLOCK: u32 = 2;
    pub const CONSOLE: u32 = 3;
    pub const ENTROPY: u32 = 4;
}

/// Feature bits that every device type shares (section 6).
pub mod features {
    /// VIRTIO_F_INDIRECT_DESC
    pub const INDIRECT_DESC: u64 = 1 << 28;
    /// VIRTIO_F_EVENT_IDX
    pub const EVENT_IDX: u64 = 1 << 29;
    /// VIRTIO_F_VERSION_1: without it the device is a legacy one, which we don't drive.
    pub const VERSION_1: u64 = 1 << 32;
    /// VIRTIO_F_ACCESS_PLATFORM: the device sits behind an IOMMU.
    pub const ACCESS_PLATFORM: u64 = 1 << 33;
}

/// Bits of the device status field (section 2.1).
#[allow(missing_docs)]
pub mod status {
    pub const ACKNOWLEDGE: u8 = 1;
    pub const DRIVER: u8 = 2;
    pub const DRIVER_OK: u8 = 4;
    pub const FEATURES_OK: u8 = 8;
    pub const NEEDS_RESET: u8 = 64;
    pub const FAILED: u8 = 128;
}
