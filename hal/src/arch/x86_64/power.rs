//! Powers the machine off.
//!
//! A machine that is only reset starts again, and would run its program for ever. So methods that are known to end it come first;
//! a reset is for monitors that have no other method.
use crate::arch::port;
use crate::io::mmio::Mmio;
use crate::machine::acpi::{Register, SoftOff, Tables};
use core::arch::asm;

/// The keyboard controller's command port, and its command "pulse the reset line" (Intel 8042).
const KEYBOARD: u16 = 0x64;
const PULSE_RESET: u8 = 0xfe;
/// Reads of a register that is waited for.
const PATIENCE: u32 = 100_000;

/// How ACPI switches this machine off.
static SOFT_OFF: crate::once::Once<Option<(SoftOff, Option<Mmio>)>> = crate::once::Once::new();

/// Finds out how ACPI switches the machine off, for [`soft_off`]: at the end, memory may be short or in disorder.
pub fn prepare_soft_off() {
    SOFT_OFF.call_once(|| {
        let off = Tables::of_machine()?.soft_off()?;
        let registers = match off {
            SoftOff::SleepControl(Register::Memory(address), _) => Some(Mmio::map(address, 1)?),
            _ => None,
        };
        Some((off, registers))
    });
}

/// Powers the machine off by ACPI (ACPI 6.4, 4.8.3.2 and 4.8.3.7: states S0 to S5). Returns if ACPI has no such method, or
/// if [`prepare_soft_off`] was not called.
pub fn soft_off() {
    const SLEEP_CONTROL_ENABLE: u8 = 1 << 5;
    match SOFT_OFF.get() {
        Some(Some((SoftOff::SleepControl(register, kind), registers))) => {
            let value = kind << 2 | SLEEP_CONTROL_ENABLE;
            match (register, registers) {
                (Register::Port(port), _) => port::write8(*port, value),
                (_, Some(registers)) => registers.write8(0, value),
                _ => {}
            }
        }
        Some(Some((SoftOff::Pm1 { a, b, enable }, _))) => {
            if let Some((port, value)) = enable {
                enable_acpi(a.0, *port, *value);
            }
            for (port, kind) in [Some(a), b.as_ref()].into_iter().flatten() {
                sleep(*port, *kind);
            }
        }
        _ => {}
    }
    // The monitor may take a moment.
    for _ in 0..PATIENCE {
        core::hint::spin_loop();
    }
}

/// Has the firmware leave the power registers to us, if it holds them (bit SCI_EN of PM1_CNT).
fn enable_acpi(pm1: u16, command: u16, value: u8) {
    const SCI_EN: u16 = 1;
    if port::read16(pm1) & SCI_EN == 0 {
        port::write8(command, value);
        let mut reads = 0;
        while port::read16(pm1) & SCI_EN == 0 && reads < PATIENCE {
            reads += 1;
        }
    }
}

/// Writes SLP_TYP and SLP_EN to a PM1_CNT.
fn sleep(pm1: u16, kind: u8) {
    const SLP_TYP: u16 = 7 << 10;
    const SLP_EN: u16 = 1 << 13;
    let value = port::read16(pm1) & !(SLP_TYP | SLP_EN) | u16::from(kind) << 10;
    port::write16(pm1, value | SLP_EN);
}

/// Stops the other CPUs for ever.
pub fn stop_others() {
    crate::arch::smp::stop_others();
}

/// Has the keyboard controller reset the machine. Returns if there is none.
pub fn keyboard_reset() {
    port::write8(KEYBOARD, PULSE_RESET);
    for _ in 0..PATIENCE {
        core::hint::spin_loop();
    }
}

/// Resets the CPU by a fault that can't be handled.
pub fn triple_fault() -> ! {
    let nothing = [0u8; 10];
    // SAFETY: no interrupt table: the breakpoint becomes a triple fault, which resets the CPU. Nothing runs after it.
    unsafe { asm!("lidt [{}]", "int3", in(reg) &raw const nothing) };
    halt()
}

/// Stops this CPU for ever.
pub fn halt() -> ! {
    // A hypervisor may leave it to its next guest.
    crate::arch::breakpoint::disarm();
    loop {
        // SAFETY: nothing wakes a CPU from here.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}
