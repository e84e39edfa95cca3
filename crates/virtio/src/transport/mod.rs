//! Registers of the transports (virtio 1.2, chapter 4).
pub mod mmio;
pub mod pci;

/// `queue_msix_vector` and `config_msix_vector`: no vector (section 4.1.5.1.2).
pub const NO_VECTOR: u16 = 0xffff;
