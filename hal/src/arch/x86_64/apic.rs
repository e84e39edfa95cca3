//! The interrupt controllers: each CPU's local APIC (x2APIC where it is there) and the I/O APIC (Intel SDM volume 3,
//! chapter 11; 82093AA data sheet).
use super::trap;
use crate::arch::instructions::{self, msr};
use crate::arch::port;
use crate::io::mmio::Mmio;
use alloc::vec::Vec;
use coracle_fallible::prelude::*;
use core::sync::atomic::{AtomicBool, Ordering};

/// Registers by their number in x2APIC mode; times 16 they are the offsets of the memory-mapped ones.
mod register {
    pub const ID: u32 = 0x02;
    pub const EOI: u32 = 0x0b;
    pub const SPURIOUS: u32 = 0x0f;
    pub const COMMAND: u32 = 0x30;
    pub const COMMAND_HIGH: u32 = 0x31;
    pub const LVT_TIMER: u32 = 0x32;
    pub const LVT_LINT0: u32 = 0x35;
    pub const LVT_LINT1: u32 = 0x36;
    pub const TIMER_INITIAL: u32 = 0x38;
    pub const TIMER_CURRENT: u32 = 0x39;
    pub const TIMER_DIVIDE: u32 = 0x3e;
    /// In x2APIC mode only.
    pub const SELF: u32 = 0x3f;
}
const APIC_ENABLE: u64 = 1 << 11;
const X2APIC_ENABLE: u64 = 1 << 10;
const SOFTWARE_ENABLE: u32 = 1 << 8;
const MASKED: u32 = 1 << 16;
const TSC_DEADLINE_MODE: u32 = 2 << 17;
const DIVIDE_BY_1: u32 = 0b1011;
const DELIVERY_PENDING: u32 = 1 << 12;
const COMMAND_INIT: u32 = 0x4500;
const COMMAND_STARTUP: u32 = 0x4600;

static X2APIC: AtomicBool = AtomicBool::new(false);
static TSC_DEADLINE: AtomicBool = AtomicBool::new(false);
static LOCAL_APIC: crate::once::Once<Option<Mmio>> = crate::once::Once::new();
/// The I/O APICs in use, by their physical addresses.
static IO_APICS: crate::sync::Mutex<Vec<(u64, Mmio)>> = crate::sync::Mutex::new(Vec::new());

#[inline]
fn memory_mapped() -> Option<&'static Mmio> {
    LOCAL_APIC.get().and_then(Option::as_ref)
}

#[inline]
fn read(number: u32) -> u32 {
    if X2APIC.load(Ordering::Relaxed) {
        // SAFETY: x2APIC mode is on, where these registers exist.
        return unsafe { instructions::rdmsr(msr::X2APIC + number) as u32 };
    }
    memory_mapped().map_or(0, |apic| apic.read32(number as usize * 16))
}

fn write(number: u32, value: u32) {
    write_here(number, value);
}

/// [`write`] for what is written with each interrupt.
#[inline(always)]
fn write_here(number: u32, value: u32) {
    if X2APIC.load(Ordering::Relaxed) {
        // SAFETY: as above; the values used here deliver interrupts for which handlers exist.
        unsafe { instructions::wrmsr(msr::X2APIC + number, u64::from(value)) };
    } else if let Some(apic) = memory_mapped() {
        apic.write32(number as usize * 16, value);
    }
}

/// Finds and enables the local APIC of the boot CPU, silences the old interrupt controller.
pub fn init() {
    const PIC_DATA: [u16; 2] = [0x21, 0xa1];
    for pic in PIC_DATA {
        port::write8(pic, 0xff);
    }
    let features = instructions::cpuid(1, 0).ecx;
    X2APIC.store(features & 1 << 21 != 0, Ordering::Relaxed);
    TSC_DEADLINE.store(features & 1 << 24 != 0, Ordering::Relaxed);
    init_cpu();
}

/// Enables the local APIC of the running CPU.
pub fn init_cpu() {
    // SAFETY: every 64-bit CPU has the register; enabling the APIC disturbs nothing while interrupts are off.
    unsafe {
        let mut base = instructions::rdmsr(msr::APIC_BASE) | APIC_ENABLE;
        if X2APIC.load(Ordering::Relaxed) {
            base |= X2APIC_ENABLE;
        } else {
            LOCAL_APIC.call_once(|| Mmio::map(base & 0xf_ffff_f000, 4096));
        }
        instructions::wrmsr(msr::APIC_BASE, base);
    }
    write(register::SPURIOUS, SOFTWARE_ENABLE | u32::from(trap::SPURIOUS_VECTOR));
    write(register::LVT_LINT0, MASKED);
    write(register::LVT_LINT1, MASKED);
    write(register::TIMER_DIVIDE, DIVIDE_BY_1);
    set_timer_mode(if TSC_DEADLINE.load(Ordering::Relaxed) { TSC_DEADLINE_MODE } else { MASKED });
    crate::local::Local::get().apic_id.set(id());
    crate::arch::kvm::init_cpu();
}

/// The running CPU's id.
pub fn id() -> u32 {
    let id = read(register::ID);
    if X2APIC.load(Ordering::Relaxed) { id } else { id >> 24 }
}

/// Ends the handling of an interrupt.
#[inline(always)]
pub fn end_of_interrupt() {
    if !crate::arch::kvm::end_of_interrupt() {
        write_here(register::EOI, 0);
    }
}

fn command(target: u32, low: u32) {
    if X2APIC.load(Ordering::Relaxed) {
        // x2APIC writes are not ordered against earlier stores (SDM volume 3, 11.12.3).
        core::sync::atomic::fence(Ordering::SeqCst);
        // SAFETY: x2APIC mode; one 64-bit register.
        unsafe {
            instructions::wrmsr(msr::X2APIC + register::COMMAND, u64::from(target) << 32 | u64::from(low))
        };
        return;
    }
    write(register::COMMAND_HIGH, target << 24);
    write(register::COMMAND, low);
    while read(register::COMMAND) & DELIVERY_PENDING != 0 {
        core::hint::spin_loop();
    }
}

/// Interrupts another CPU.
pub fn send(target: u32, vector: u8) {
    command(target, u32::from(vector));
}

/// Interrupts this CPU, once it has interrupts on.
///
/// May be called in the midst of another command: with this destination the register of the target is not used, and keeps
/// what is there.
pub fn send_to_self(vector: u8) {
    const ONLY_SELF: u32 = 1 << 18;
    if X2APIC.load(Ordering::Relaxed) {
        write(register::SELF, u32::from(vector));
    } else {
        write(register::COMMAND, ONLY_SELF | u32::from(vector));
    }
}

/// Interrupts all other CPUs.
pub fn send_to_others(vector: u8) {
    const ALL_BUT_SELF: u32 = 3 << 18;
    command(0, ALL_BUT_SELF | u32::from(vector));
}

/// Resets another CPU.
pub fn send_init(target: u32) {
    command(target, COMMAND_INIT);
}

/// Starts another CPU at physical page `page`.
pub fn send_startup(target: u32, page: u8) {
    command(target, COMMAND_STARTUP | u32::from(page));
}

/// True if the timer takes an absolute TSC value.
#[inline]
pub fn has_tsc_deadline() -> bool {
    TSC_DEADLINE.load(Ordering::Relaxed)
}

/// Arms the timer for an absolute TSC value (0: never).
#[inline]
pub fn arm_tsc(deadline: u64) {
    // SAFETY: CPUID says that the register is there.
    unsafe { instructions::wrmsr(msr::TSC_DEADLINE, deadline) };
}

/// What happens when the count-down ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum AtZero {
    /// Nothing: it only counts.
    Silence,
    /// One interrupt.
    Interrupt,
    /// An interrupt, and it counts down again.
    Repeat,
}

/// Starts the count-down (0: stops it).
#[inline]
pub fn start_count(count: u32, then: AtZero) {
    const PERIODIC: u32 = 1 << 17;
    let mode = match then {
        AtZero::Silence => MASKED,
        AtZero::Interrupt => 0,
        AtZero::Repeat => PERIODIC,
    };
    if then == AtZero::Repeat {
        // The old count, which may be a few nanoseconds, must not repeat for even a moment: QEMU would be busy with it.
        write(register::TIMER_INITIAL, 0);
    }
    set_timer_mode(mode);
    write(register::TIMER_INITIAL, count);
}

/// Ends a count-down that only served to measure, and prepares the timer for deadlines.
pub fn stop_count() {
    write(register::TIMER_INITIAL, 0);
    set_timer_mode(if has_tsc_deadline() { TSC_DEADLINE_MODE } else { MASKED });
}

/// The mode seldom changes, and writing it has a hypervisor compute anew when the timer is due.
fn set_timer_mode(mode: u32) {
    if crate::local::Local::get().timer_mode.replace(mode) != mode {
        write(register::LVT_TIMER, mode | u32::from(trap::TIMER_VECTOR));
    }
}

/// The present value of the count-down.
#[inline]
pub fn current_count() -> u32 {
    read(register::TIMER_CURRENT)
}

/// Sends I/O APIC line `line` (edge triggered, active high) to `vector` of the CPU with `target` as id.
pub fn route_line(line: u32, vector: u8, target: u32) -> Option<()> {
    const SELECT: usize = 0x00;
    const WINDOW: usize = 0x10;
    const VERSION: u32 = 1;
    const REDIRECTIONS: u32 = 0x10;
    let (phys, first) = crate::machine::topology::io_apic(line);
    let line = line - first;
    let mut io_apics = IO_APICS.lock();
    if !io_apics.iter().any(|(at, _)| *at == phys) {
        let registers = Mmio::map(phys, 0x20)?;
        io_apics.try_push((phys, registers)).ok()?;
    }
    let (_, io_apic) = io_apics.iter().find(|(at, _)| *at == phys)?;
    io_apic.write32(SELECT, VERSION);
    let highest = io_apic.read32(WINDOW) >> 16 & 0xff;
    if line > highest || target > 0xff {
        return None;
    }
    io_apic.write32(SELECT, REDIRECTIONS + 2 * line + 1);
    io_apic.write32(WINDOW, target << 24);
    io_apic.write32(SELECT, REDIRECTIONS + 2 * line);
    io_apic.write32(WINDOW, u32::from(vector));
    Some(())
}
