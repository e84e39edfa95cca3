//! When devices are looked at: by whoever has nothing better to do, and by a timer when nobody has.
use super::console;
use coracle_core::task::devices::Devices;
use coracle_hal::{irq, time};
use coracle_net as net;

coracle_core::give_devices!(Devices {
    poll,
    poll_idle,
    poll_if_due,
    has_come,
    settle,
    guard,
    arm,
    next_deadline
});

/// See [`Devices::poll`].
fn poll(now: u64) -> bool {
    let quiet = poll_idle(now);
    if !quiet {
        guard(now);
    }
    quiet
}

/// See [`Devices::settle`].
fn settle() {
    // Only the network may have been told not to.
    if net::is_guarded() {
        net::settle();
    }
}

/// See [`Devices::poll_idle`].
#[inline(always)]
fn poll_idle(now: u64) -> bool {
    let quiet = net::poll(now) == 0;
    // Only the network is ever told not to interrupt: the others have nothing if nobody has.
    if irq::any_pending() {
        console::poll();
        super::discover::poll_entropy();
        super::discover::poll_disks();
    }
    quiet
}

/// See [`Devices::has_come`].
#[inline(always)]
fn has_come() -> bool {
    irq::any_pending() || net::has_come()
}

/// See [`Devices::guard`].
fn guard(now: u64) {
    net::request_guard(now);
}

/// See [`Devices::arm`].
fn arm() -> (bool, bool) {
    let armed = net::arm();
    (armed == Some(true) || console::arm(), armed.is_some())
}

/// See [`Devices::next_deadline`].
fn next_deadline() -> Option<u64> {
    net::next_deadline()
}

/// See [`Devices::poll_if_due`].
fn poll_if_due() -> bool {
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
