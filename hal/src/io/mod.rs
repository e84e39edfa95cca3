//! How the guest reaches devices: memory that they may read and write, registers, ports, configuration space.
//!
//! A device that can reach memory by itself writes wherever it is told to, past every check of the compiler. So nothing that
//! a device takes an address from leaves this crate: [`crate::virtio`] writes the addresses of queues and buffers, `function`
//! those of registers and of message interrupts. What drivers above get are queues that own their buffers, and registers that
//! hold no address.
mod bars;
pub mod dma;
pub(crate) mod function;
pub mod fw_cfg;
pub(crate) mod mmio;
pub mod one_byte;
pub mod pci;
