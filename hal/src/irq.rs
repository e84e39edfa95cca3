//! Device interrupts. The handler only marks the interrupt as pending; the kernel checks the marks when it is about to sleep or
//! to return.
use crate::local::Local;
use crate::{apic, trap};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

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
const SOURCES: u32 = u64::BITS;
static USED: AtomicU32 = AtomicU32::new(0);
static PENDING: AtomicU64 = AtomicU64::new(0);

fn new_source() -> Option<(Irq, u8)> {
    let number = USED.fetch_add(1, Ordering::Relaxed);
    if number >= SOURCES {
        USED.store(SOURCES, Ordering::Relaxed);
        return None;
    }
    Some((Irq { bit: 1 << number }, trap::DEVICE_VECTOR + number as u8))
}

impl Irq {
    /// A message-signalled interrupt to `cpu`.
    pub(crate) fn msi(cpu: usize) -> Option<(Irq, MsiMessage)> {
        /// Where CPUs take messages (Intel SDM volume 3, 11.11.1).
        const MESSAGE_BASE: u64 = 0xfee0_0000;
        let target = Local::of(cpu)?.apic_id.get();
        if target > 0xff {
            return None;
        }
        let (irq, vector) = new_source()?;
        Some((irq, MsiMessage { address: MESSAGE_BASE | u64::from(target) << 12, data: u32::from(vector) }))
    }
    /// An I/O-APIC line, edge triggered (acknowledge the device before looking at its queues).
    pub(crate) fn line(gsi: u32, cpu: usize) -> Option<Irq> {
        let target = Local::of(cpu)?.apic_id.get();
        let (irq, vector) = new_source()?;
        apic::route_line(gsi, vector, target)?;
        Some(irq)
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
}
/// True if any source is pending on this machine: cheap, for the exit path.
#[inline]
pub fn any_pending() -> bool {
    PENDING.load(Ordering::Relaxed) != 0
}

/// True if a hypervisor spares this machine most writes that end an interrupt (KVM's PV EOI).
pub fn ends_in_memory() -> bool {
    crate::kvm::has_eoi_words()
}

/// Interrupts that came though their CPU had them off, since boot.
static EARLY: AtomicU64 = AtomicU64::new(0);

/// Interrupts that came though their CPU had them off, since boot: the hypervisor's fault. They were put off.
pub fn came_early() -> u64 {
    EARLY.load(Ordering::Relaxed)
}

/// An interrupt arrived at this CPU while its interrupts are off: makes it arrive again when they are on.
///
/// QEMU's emulated SVM makes it so (7.2, `helper_vmrun`): an interrupt that KVM injects by EVENTINJ stays noted as an
/// exception to be raised, which it is, for a second time, if the translator leaves its loop before the guest leaves the
/// CPU.
pub(crate) fn put_off(vector: u8) {
    if vector == trap::SPURIOUS_VECTOR {
        return;
    }
    EARLY.fetch_add(1, Ordering::Relaxed);
    apic::end_of_interrupt();
    apic::send_to_self(vector);
}

/// An interrupt arrived at this CPU.
pub(crate) fn handle(vector: u8) {
    match vector {
        trap::TIMER_VECTOR => crate::time::timer_fired(),
        trap::KICK_VECTOR => Local::get().kicked.store(false, Ordering::SeqCst),
        trap::FLUSH_VECTOR => crate::tlb::answer(),
        trap::STOP_VECTOR => crate::power::halt(),
        trap::SPURIOUS_VECTOR => return,
        device => {
            let source = u32::from(device.wrapping_sub(trap::DEVICE_VECTOR));
            if source < SOURCES {
                PENDING.fetch_or(1 << source, Ordering::AcqRel);
            }
        }
    }
    apic::end_of_interrupt();
}
