//! Device interrupts. The handler only marks the interrupt pending; the kernel looks when it is about to sleep or to return.

/// One interrupt source.
pub struct Irq {}

/// What to write into an MSI-X table entry.
#[derive(Clone, Copy, Debug)]
pub struct MsiMessage {
    /// Message address.
    pub address: u64,
    /// Message data.
    pub data: u32,
}

impl Irq {
    /// A message-signalled interrupt to `cpu`.
    pub fn msi(cpu: usize) -> Option<(Irq, MsiMessage)> {
        let _ = cpu;
        todo!()
    }
    /// An I/O-APIC line, edge triggered (acknowledge the device before looking at its queues).
    pub fn line(gsi: u32, cpu: usize) -> Option<Irq> {
        let _ = (gsi, cpu);
        todo!()
    }
    /// True once after each interrupt.
    pub fn take_pending(&self) -> bool {
        todo!()
    }
    /// True if one is pending (not taken).
    pub fn is_pending(&self) -> bool {
        todo!()
    }
}
/// True if any source is pending on this machine: cheap, for the exit path.
#[inline]
pub fn any_pending() -> bool {
    todo!()
}
