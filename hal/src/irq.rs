//! Device interrupts. The handler only marks the interrupt as pending; the kernel checks the marks when it is about to sleep or
//! to return.
use crate::arch::interrupt;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};

pub use crate::arch::interrupt::{came_early, ends_in_memory};

/// One interrupt source.
pub struct Irq {
    bit: u64,
    trigger: Trigger,
}

/// When a line interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trigger {
    /// Once, when the device raises it.
    Edge,
    /// While a device keeps it raised; several devices may. It is masked from the interrupt until a driver of one has taken it.
    Level,
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
/// Sources that a driver has.
static OWNED: AtomicU64 = AtomicU64::new(0);

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
        let message = interrupt::message(number, cpu)?;
        Some((Irq::new(number, Trigger::Edge), message))
    }
    /// A line of the interrupt controller (acknowledge the device before looking at its queues).
    pub(crate) fn line(gsi: u32, trigger: Trigger, cpu: usize) -> Option<Irq> {
        // Before the line interrupts: a mark of a source without an owner would be dropped, and a level stay masked.
        let irq = Irq::new(new_source()?, trigger);
        interrupt::route(gsi, irq.bit.trailing_zeros(), cpu, trigger)?;
        Some(irq)
    }
    fn new(number: u32, trigger: Trigger) -> Irq {
        let bit = 1 << number;
        OWNED.fetch_or(bit, Ordering::Relaxed);
        Irq { bit, trigger }
    }
    /// True if it comes again for as long as the device has something: nothing is lost between two looks at its queues.
    pub(crate) fn is_level(&self) -> bool {
        self.trigger == Trigger::Level
    }
    /// A source of the machine of threads, and its number for [`mark`].
    #[cfg(not(target_os = "none"))]
    pub(crate) fn of_host() -> Option<(Irq, u32)> {
        let number = new_source()?;
        Some((Irq::new(number, Trigger::Edge), number))
    }
    /// True once after each interrupt.
    #[inline]
    pub fn take_pending(&self) -> bool {
        let taken = self.is_pending() && PENDING.fetch_and(!self.bit, Ordering::AcqRel) & self.bit != 0;
        if taken && self.is_level() {
            interrupt::unmask(self.bit.trailing_zeros());
        }
        taken
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
impl Drop for Irq {
    /// Its device is not used, but others may raise its line.
    fn drop(&mut self) {
        OWNED.fetch_and(!self.bit, Ordering::Relaxed);
        PENDING.fetch_and(!self.bit, Ordering::AcqRel);
    }
}
/// True if any source is pending on this machine: cheap, for the exit path.
#[inline]
pub fn any_pending() -> bool {
    PENDING.load(Ordering::Relaxed) != 0
}

/// The handler's part: source `number` has an interrupt pending. That of no driver is ignored, as nothing would take it, and idle
/// CPUs would poll the devices for ever: in unikernel mode a program can raise any by INT, and a device may be given up.
pub(crate) fn mark(number: u32) {
    let bit = 1u64.checked_shl(number).unwrap_or(0);
    if OWNED.load(Ordering::Relaxed) & bit != 0 {
        PENDING.fetch_or(bit, Ordering::AcqRel);
        // Its owner may have dropped it in between.
        if OWNED.load(Ordering::Relaxed) & bit == 0 {
            PENDING.fetch_and(!bit, Ordering::AcqRel);
        }
    }
}
