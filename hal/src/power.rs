//! Ends the machine.
use crate::port;
use core::arch::asm;

/// QEMU's isa-debug-exit: ends QEMU with status `(value << 1) | 1`. Returns if no such device is there.
pub fn debug_exit(port: u16, value: u8) {
    port::write8(port, value);
}
/// Stops the other CPUs and resets the machine.
pub fn reset() -> ! {
    /// The keyboard controller, its "pulse the reset line" and the chipset's reset register.
    const KEYBOARD: u16 = 0x64;
    const PULSE_RESET: u8 = 0xfe;
    const RESET_CONTROL: u16 = 0xcf9;
    crate::smp::stop_others();
    port::write8(KEYBOARD, PULSE_RESET);
    port::write8(RESET_CONTROL, 0x02);
    port::write8(RESET_CONTROL, 0x06);
    let nothing = [0u8; 10];
    // SAFETY: no interrupt table: the breakpoint becomes a triple fault, which resets the CPU. Nothing runs after it.
    unsafe { asm!("lidt [{}]", "int3", in(reg) &raw const nothing) };
    halt()
}
/// Stops this CPU for ever.
pub fn halt() -> ! {
    loop {
        // SAFETY: nothing wakes a CPU from here.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}
