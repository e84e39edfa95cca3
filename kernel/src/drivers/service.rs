//! When devices are looked at: by whoever has nothing better to do, and by a timer when nobody has.
use super::console;
use crate::net;

/// Looks at all devices: takes what has come, sends what waits. Cheap when there is nothing. Called when a thread is
/// about to sleep, by the idle loop, and after an interrupt.
pub fn poll() {
    net::poll();
    console::poll();
    super::discover::poll_entropy();
}

/// Asks the devices for interrupts, because this CPU is about to wait for one. True: something has come meanwhile, so
/// poll again instead.
pub fn arm() -> bool {
    net::arm() | console::arm()
}

/// When [`poll`] must be called next for the sake of timers (ns since boot), if ever.
pub fn next_deadline() -> Option<u64> {
    net::next_deadline()
}

/// For the kernel's exit to a program that was interrupted: looks at the devices if one of them did it, or if they were
/// not looked at for long.
pub fn poll_if_due() {
    if coracle_hal::irq::any_pending() {
        poll();
    }
    net::poll_if_guarded();
}

/// Before the machine ends: lets what was sent arrive.
pub fn shutdown() {
    net::drain();
}
