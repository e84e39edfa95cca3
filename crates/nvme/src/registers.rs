//! Registers of a controller (base specification, section 3.1.3).

/// Offsets.
#[allow(missing_docs)]
pub mod register {
    pub const CAPABILITIES: usize = 0x00;
    pub const CONFIGURATION: usize = 0x14;
    pub const STATUS: usize = 0x1c;
    pub const ADMIN_QUEUE_SIZES: usize = 0x24;
    pub const ADMIN_SUBMISSIONS: usize = 0x28;
    pub const ADMIN_COMPLETIONS: usize = 0x30;
    /// The first doorbell.
    pub const DOORBELLS: usize = 0x1000;
}

/// The configuration of a controller that works: enabled, NVM command set, pages of 4 KiB, commands of 64 bytes and completions of 16.
pub const ENABLE: u32 = 1 | 6 << 16 | 4 << 20;
/// In the status: it is ready; it has failed.
pub const READY: u32 = 1;
/// See [`READY`].
pub const FATAL: u32 = 1 << 1;

/// What a controller can do (CAP).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities(pub u64);

impl Capabilities {
    /// Entries of a queue at most.
    pub const fn most_entries(self) -> u32 {
        (self.0 & 0xffff) as u32 + 1
    }
    /// How long it may take to be ready, or not to be, in milliseconds.
    pub const fn patience_ms(self) -> u64 {
        const UNIT_MS: u64 = 500;
        (self.0 >> 24 & 0xff) * UNIT_MS + UNIT_MS
    }
    /// Bytes from one doorbell to the next.
    pub const fn doorbell_bytes(self) -> usize {
        4 << (self.0 >> 32 & 0xf)
    }
    /// Whether it works with the NVM command set and pages of 4 KiB.
    pub const fn is_usable(self) -> bool {
        self.0 >> 37 & 1 != 0 && self.0 >> 48 & 0xf == 0
    }
}
