//! Interrupts by their numbers: what the handler does for each, and how CPUs interrupt each other.
//!
//! The kernel runs with interrupts masked, and takes those that wait by asking the controller, where it looks for them anyway.
//! So none ever arrives in the kernel; only programs are interrupted.
use super::{gic, power, v2m};
use crate::events;
use crate::irq::{self, Trigger};
use crate::local::Local;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Software-generated interrupts: another CPU wakes this one, waits until it has dropped its translations, ends the machine.
const KICK: u32 = 0;
const FLUSH: u32 = 1;
const STOP: u32 = 2;

/// Interrupts of the controller by the numbers of their sources; 0: none. [`LEVEL`] is added to those that are levels.
static LINES: [AtomicU32; irq::SOURCES as usize] = [const { AtomicU32::new(0) }; irq::SOURCES as usize];

const LEVEL: u32 = 1 << 31;
/// Sources with a line are below this.
static ROUTED: AtomicUsize = AtomicUsize::new(0);

/// Enables the interrupt controller, on the boot CPU.
pub fn init() {
    super::firmware::init();
    gic::init();
}

/// What a device writes, and where, to interrupt `cpu` as source `number`. `None` if nothing takes messages, or no more of them.
pub fn message(number: u32, cpu: usize) -> Option<irq::MsiMessage> {
    let message = v2m::message()?;
    route(message.data, number, cpu, Trigger::Edge)?;
    Some(message)
}

/// Has the line `gsi` interrupt `cpu` as source `number`. `None` if there is no such line.
pub fn route(gsi: u32, number: u32, cpu: usize, trigger: Trigger) -> Option<()> {
    let mark = if trigger == Trigger::Level { LEVEL } else { 0 };
    LINES.get(number as usize)?.store(gsi | mark, Ordering::Release);
    ROUTED.fetch_max(number as usize + 1, Ordering::Release);
    gic::route(gsi, Local::of(cpu)?, trigger)
}

/// Lets the line of source `number` interrupt again, which was masked when it did.
pub fn unmask(number: u32) {
    if let Some(line) = LINES.get(number as usize) {
        gic::unmask(line.load(Ordering::Acquire) & !LEVEL);
    }
}

/// Marks the sources of a line. It may be masked only before: a driver that takes a mark lets it interrupt again.
fn mark(line: u32) {
    let mut is_masked = false;
    for (source, one) in LINES.iter().enumerate().take(ROUTED.load(Ordering::Acquire)) {
        let one = one.load(Ordering::Acquire);
        if one & !LEVEL != line {
            continue;
        }
        if one & LEVEL != 0 && !is_masked {
            gic::mask(line);
            is_masked = true;
        }
        irq::mark(source as u32);
    }
}

/// Interrupts a CPU, so that it leaves its idle wait or its program.
pub fn kick(local: &Local) {
    gic::send(local, KICK);
}

/// Interrupts a CPU, so that it looks at what shoot-downs ask of it.
pub fn ask_to_flush(local: &Local) {
    gic::send(local, FLUSH);
}

/// Interrupts a CPU, so that it stops for ever.
pub fn stop(local: &Local) {
    gic::send(local, STOP);
}

/// No hypervisor spares this machine the end of interrupts.
pub fn ends_in_memory() -> bool {
    false
}

/// No interrupt arrives while they are masked.
pub fn came_early() -> u64 {
    0
}

/// What [`take`] has found.
pub struct Taken {
    /// Any interrupt.
    pub any: bool,
    /// One that the kernel must act upon: not only shoot-downs.
    pub other: bool,
}

/// Takes all interrupts that wait for this CPU.
pub fn take() -> Taken {
    let mut taken = Taken { any: false, other: false };
    while let Some((acknowledged, number)) = gic::acknowledge() {
        taken.any = true;
        taken.other |= number != FLUSH;
        if events::are_noted(events::INTERRUPT.0) {
            events::note(events::INTERRUPT.1, 0, number.into(), 0);
        }
        match number {
            gic::TIMER => crate::time::timer_fired(),
            KICK => Local::get().kicked.store(false, Ordering::SeqCst),
            FLUSH => crate::tlb::answer(),
            STOP => power::halt(),
            line => mark(line),
        }
        gic::end(acknowledged);
    }
    taken
}
