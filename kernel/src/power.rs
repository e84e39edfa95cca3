//! The end of the machine.
use crate::log::{self, Line};
use coracle_hal::power;
use core::sync::atomic::{AtomicU32, Ordering::*};

/// Value of [`PORT`] when the command line names no device.
const NO_PORT: u32 = u32::MAX;
/// Port of QEMU's isa-debug-exit.
static PORT: AtomicU32 = AtomicU32::new(NO_PORT);
/// Exit status when the kernel itself fails.
pub const KERNEL_FAILED: u8 = 125;

/// Says how the machine is ended.
pub fn configure(debug_exit_port: Option<u16>) {
    PORT.store(debug_exit_port.map_or(NO_PORT, u32::from), Relaxed);
}

/// Tells the program's exit status and ends the machine.
pub fn off(status: u8) -> ! {
    crate::fs::lost::tell();
    crate::drivers::shutdown();
    tell_and_stop(status)
}

/// The kernel can't go on.
pub fn abandon() -> ! {
    tell_and_stop(KERNEL_FAILED)
}

fn tell_and_stop(status: u8) -> ! {
    log::write(Line::Status, format_args!("{status}"));
    if let Ok(port) = u16::try_from(PORT.load(Relaxed)) {
        power::debug_exit(port, 0);
    }
    power::reset()
}
