//! Device interrupts. The handler only marks the interrupt as pending; the kernel checks the marks when it is about to sleep or
//! to return.
use crate::arch::interrupt;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};

pub use crate::arch::interrupt::{came_early, ends_in_memory};

/// One interrupt source.
pub struct Irq {
    bit: u64,
}

/// What to write into an MSI-X table entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MsiMessage {
    /// Message address.
    pub address: u64,
    /// Message data.
    pub data: u32,
}

/// Sources at most: one bit each.
pub(crate) const SOURCES: u32 = u64::BITS;
static USED: AtomicU32 = AtomicU32::new(0);
static PENDING: AtomicU64 = AtomicU64::new(0);

fn new_source() -> Option<u32> {
    let number = USED.fetch_add(1, Ordering::Relaxed);
    if number >= SOURCES {
        USED.store(SOURCES, Ordering::Relaxed);
        return None;
    }
    Some(number)
}

impl Irq {
    /// A message-signalled interrupt to `cpu`.
    pub(crate) fn msi(cpu: usize) -> Option<(Irq, MsiMessage)> {
        let number = new_source()?;
        Some((Irq { bit: 1 << number }, interrupt::message(number, cpu)?))
    }
    /// A line of the interrupt controller, edge triggered (acknowledge the device before looking at its queues).
    pub(crate) fn line(gsi: u32, cpu: usize) -> Option<Irq> {
        let number = new_source()?;
        interrupt::route(gsi, number, cpu)?;
        Some(Irq { bit: 1 << number })
    }
    /// True once after each interrupt.
    #[inline]
    pub fn take_pending(&self) -> bool {
        self.is_pending() && PENDING.fetch_and(!self.bit, Ordering::AcqRel) & self.bit != 0
    }
    /// True if one is pending (not taken).
    #[inline]
    pub fn is_pending(&self) -> bool {
        PENDING.load(Ordering::Acquire) & self.bit != 0
    }
    /// Has the device looked at as after an interrupt: when a thread is about to sleep, or after the next interrupt of any.
    pub fn mark(&self) {
        PENDING.fetch_or(self.bit, Ordering::AcqRel);
    }
}
/// True if any source is pending on this machine: cheap, for the exit path.
#[inline]
pub fn any_pending() -> bool {
    PENDING.load(Ordering::Relaxed) != 0
}

/// The handler's part: source `number` has an interrupt pending. A number of no source is ignored: in unikernel mode a program can
/// raise any by INT, no driver would take it, and idle CPUs would poll the devices for ever.
pub(crate) fn mark(number: u32) {
    if number < USED.load(Ordering::Relaxed) {
        PENDING.fetch_or(1 << number, Ordering::AcqRel);
    }
}
