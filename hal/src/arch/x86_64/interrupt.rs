//! Interrupts by their vectors: what the handler does for each, and how CPUs interrupt each other.
use super::{apic, kvm, power, trap};
use crate::events;
use crate::irq;
use crate::local::Local;
use core::sync::atomic::{AtomicU64, Ordering};

/// Enables the interrupt controllers, on the boot CPU.
#[cfg(target_os = "none")]
pub fn init() {
    apic::init();
}

/// What a device writes, and where, to interrupt `cpu` as source `number`. `None` if that CPU takes no messages.
pub fn message(number: u32, cpu: usize) -> Option<irq::MsiMessage> {
    /// Where CPUs take messages (Intel SDM volume 3, 11.11.1).
    const MESSAGE_BASE: u64 = 0xfee0_0000;
    let target = Local::of(cpu)?.apic_id.get();
    if target > 0xff {
        return None;
    }
    Some(irq::MsiMessage { address: MESSAGE_BASE | u64::from(target) << 12, data: u32::from(vector(number)) })
}

/// Has the line `gsi` interrupt `cpu` as source `number`, edge triggered. `None` if there is no such line.
pub fn route(gsi: u32, number: u32, cpu: usize, _edge: irq::Trigger) -> Option<()> {
    apic::route_line(gsi, vector(number), Local::of(cpu)?.apic_id.get())
}

/// No source is a level.
pub fn unmask(_number: u32) {}

/// The vector of a source, which is below [`irq::SOURCES`].
fn vector(number: u32) -> u8 {
    trap::DEVICE_VECTOR + number as u8
}

/// Interrupts a CPU, so that it leaves its idle wait or its program.
pub fn kick(local: &Local) {
    apic::send(local.apic_id.get(), trap::KICK_VECTOR);
}

/// Interrupts a CPU, so that it looks at what shoot-downs ask of it.
pub fn ask_to_flush(local: &Local) {
    apic::send(local.apic_id.get(), trap::FLUSH_VECTOR);
}

/// True if a hypervisor spares this machine most writes that end an interrupt (KVM's PV EOI).
pub fn ends_in_memory() -> bool {
    kvm::has_eoi_words()
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
pub fn put_off(vector: u8) {
    if vector == trap::SPURIOUS_VECTOR {
        return;
    }
    EARLY.fetch_add(1, Ordering::Relaxed);
    apic::end_of_interrupt();
    apic::send_to_self(vector);
}

/// An interrupt arrived at this CPU.
pub fn handle(vector: u8) {
    if events::are_noted(events::INTERRUPT.0) {
        events::note(events::INTERRUPT.1, 0, vector.into(), 0);
    }
    match vector {
        trap::TIMER_VECTOR => crate::time::timer_fired(),
        trap::KICK_VECTOR => Local::get().kicked.store(false, Ordering::SeqCst),
        trap::FLUSH_VECTOR => crate::tlb::answer(),
        trap::STOP_VECTOR => power::halt(),
        trap::SPURIOUS_VECTOR => return,
        device => irq::mark(u32::from(device.wrapping_sub(trap::DEVICE_VECTOR))),
    }
    apic::end_of_interrupt();
}
