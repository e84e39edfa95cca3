//! Split virtqueues (virtio 1.2, section 2.7).
mod layout;
mod split;

pub use layout::{LEGACY_ALIGN, Layout, MAX_SIZE};
pub use split::{AddError, Piece, QueueError, SplitQueue, Used};

/// Descriptor flags (section 2.7.5).
pub mod flags {
    /// The chain continues at `next`.
    pub const NEXT: u16 = 1;
    /// The device writes this piece (else it reads it).
    pub const WRITE: u16 = 2;
    /// The piece is a table of descriptors.
    pub const INDIRECT: u16 = 4;
    /// In the available ring's flags: the device need not interrupt (section 2.7.6).
    pub const NO_INTERRUPT: u16 = 1;
    /// In the used ring's flags: the driver need not notify (section 2.7.8).
    pub const NO_NOTIFY: u16 = 1;
}
