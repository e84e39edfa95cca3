//! Ends the machine: by the firmware.
use super::firmware;
use core::arch::asm;

/// Nothing to prepare: [`firmware`] is known since boot.
pub fn prepare_soft_off() {}

/// Switches the machine off. Returns if the firmware can't.
pub fn soft_off() {
    firmware::power_off();
}

/// Stops the other CPUs for ever.
pub fn stop_others() {
    super::smp::stop_others();
}

/// There is no keyboard controller.
pub fn keyboard_reset() {}

/// Resets the machine.
pub fn triple_fault() -> ! {
    firmware::reset();
    halt()
}

/// Stops this CPU for ever.
pub fn halt() -> ! {
    loop {
        // SAFETY: nothing wakes a CPU from here for long.
        unsafe { asm!("msr daifset, #0xf", "wfi", options(nomem, nostack)) };
    }
}
