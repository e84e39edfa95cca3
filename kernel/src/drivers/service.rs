//! When devices are looked at: by whoever has nothing better to do, and by a timer when nobody has.
use super::console;
use crate::net;
use coracle_hal::{irq, time};

/// Looks at all devices: takes what has come, sends what waits. Cheap when there is nothing. Called when a thread is
/// about to sleep, and after an interrupt. `now`: the time (ns since boot). False: the network had something; its guard is
/// set.
pub fn poll(now: u64) -> bool {
    let quiet = poll_idle(now);
    if !quiet {
        guard(now);
    }
    quiet
}

/// The devices have nothing, or little: has them interrupt the program with what comes next.
pub fn settle() {
    // Only the network may have been told not to.
    if net::is_guarded() {
        net::settle();
    }
}

/// [`poll`] for the idle loop. False: a device may have been told not to interrupt; before a program goes on, [`guard`]
/// has to be called, or else [`arm`].
#[inline(always)]
pub fn poll_idle(now: u64) -> bool {
    let quiet = net::poll(now) == 0;
    // Only the network is ever told not to interrupt: the others have nothing if nobody has.
    if irq::any_pending() {
        console::poll();
        super::discover::poll_entropy();
        super::discover::poll_disks();
    }
    quiet
}

/// Whether something has come that [`poll`] would take.
#[inline(always)]
pub fn has_come() -> bool {
    irq::any_pending() || net::has_come()
}

/// Makes sure that somebody looks at devices that don't interrupt, though the program may compute.
pub fn guard(now: u64) {
    net::request_guard(now);
}

/// Asks the devices for interrupts, because this CPU, which says so before, is about to wait for one. First: something has
/// come meanwhile, so poll instead. Second: it is certain that they interrupt; another CPU may be about to ask in our
/// place, and does if it finds us idle. If we are not idle any more, [`guard`] has to be called before a program goes on.
pub fn arm() -> (bool, bool) {
    let armed = net::arm();
    (armed == Some(true) || console::arm(), armed.is_some())
}

/// When [`poll`] must be called next for the sake of timers (ns since boot), if ever.
pub fn next_deadline() -> Option<u64> {
    net::next_deadline()
}

/// For the kernel's exit to a program that was interrupted: looks at the devices if one of them did it, if they were not
/// looked at for long, or if a timer is due. True if one of them did it.
pub fn poll_if_due() -> bool {
    let now = time::now_ns();
    let interrupting = irq::any_pending();
    if interrupting || next_deadline().is_some_and(|deadline| deadline <= now) {
        poll(now);
    }
    net::poll_if_guarded();
    // This CPU's timer may have been set for that, and the program computes on.
    if let Some(deadline) = next_deadline() {
        time::interrupt_by(deadline);
    }
    interrupting
}

/// Before the machine ends: lets what was sent arrive, and the host take what was written. It works on its own time, and
/// what it has not taken would be gone with the machine.
pub fn shutdown() {
    /// How long the host may take: a broken device takes for ever. Only of the command's own ports is it known that what
    /// reads them may pause for as long as it likes, and that another thread can end the wait.
    const PATIENCE_NS: u64 = 5_000_000_000;
    /// How long this CPU waits for them without sleeping, and how long it sleeps at a time from then on.
    const EAGER_NS: u64 = 1_000_000;
    const SLEEP_NS: u64 = 5_000_000;
    net::drain();
    let start = time::now_ns();
    loop {
        let now = time::now_ns();
        let patient = now < start + PATIENCE_NS;
        let network = !patient || net::is_drained();
        if network && (console::is_drained() || !(patient || console::has_ports())) {
            return;
        }
        if now > start + EAGER_NS {
            time::interrupt_by(now + SLEEP_NS);
            coracle_hal::cpu::wait_for_interrupt(|| true);
            time::take_expired();
        }
        coracle_hal::cpu::relax();
    }
}
