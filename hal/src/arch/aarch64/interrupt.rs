//! Interrupts by their numbers: what the handler does for each, and how CPUs interrupt each other.
//!
//! The kernel runs with interrupts masked, and takes those that wait by asking the controller, where it looks for them anyway.
//! So none ever arrives in the kernel; only programs are interrupted.
use super::{gic, power};
use crate::events;
use crate::irq;
use crate::local::Local;
use core::sync::atomic::{AtomicU32, Ordering};

/// Software-generated interrupts: another CPU wakes this one, waits until it has dropped its translations, ends the machine.
const KICK: u32 = 0;
const FLUSH: u32 = 1;
const STOP: u32 = 2;

/// Interrupts of the controller by the numbers of their sources; 0: none.
static LINES: [AtomicU32; irq::SOURCES as usize] = [const { AtomicU32::new(0) }; irq::SOURCES as usize];

/// Enables the interrupt controller, on the boot CPU.
pub fn init() {
    super::firmware::init();
    gic::init();
}

/// Devices write no messages: there is no controller for them yet.
pub fn message(_number: u32, _cpu: usize) -> Option<irq::MsiMessage> {
    None
}

/// Has the line `gsi` interrupt `cpu` as source `number`, edge triggered. `None` if there is no such line.
pub fn route(gsi: u32, number: u32, cpu: usize) -> Option<()> {
    LINES.get(number as usize)?.store(gsi, Ordering::Release);
    gic::route(gsi, Local::of(cpu)?)
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
            line => {
                let source = LINES.iter().position(|one| one.load(Ordering::Acquire) == line);
                irq::mark(source.map_or(u32::MAX, |source| source as u32));
            }
        }
        gic::end(acknowledged);
    }
    taken
}
