//! What the scheduler asks of the devices.

/// The functions of the devices that the scheduler calls. All are cheap where there is nothing to do.
pub struct Devices {
    /// Looks at all devices: takes what has come, sends what waits. Called when a thread is about to sleep, and after an
    /// interrupt, with the time (ns since boot). False: the network had something; its guard is set.
    pub poll: fn(u64) -> bool,
    /// The same for the idle loop. False: a device may have been told not to interrupt; before a program goes on, `guard`
    /// has to be called, or else `arm`.
    pub poll_idle: fn(u64) -> bool,
    /// For the kernel's exit to a program that was interrupted: looks at the devices if one of them did it, if they were
    /// not looked at for long, or if a timer is due. True if one of them did it.
    pub poll_if_due: fn() -> bool,
    /// Whether something has come that `poll` would take.
    pub has_come: fn() -> bool,
    /// The devices have nothing, or little: has them interrupt the program with what comes next.
    pub settle: fn(),
    /// Makes sure that devices that don't interrupt are looked at, though the program may compute. Takes the time.
    pub guard: fn(u64),
    /// Asks the devices for interrupts, because this CPU, which says so before, is about to wait for one. First: something
    /// has come meanwhile, so poll instead. Second: it is certain that they interrupt; another CPU may be about to ask in
    /// our place, and does if it finds us idle. If we are not idle any more, `guard` has to be called before a program goes
    /// on.
    pub arm: fn() -> (bool, bool),
    /// When `poll` must be called next for the sake of timers (ns since boot), if ever.
    pub next_deadline: fn() -> Option<u64>,
}

coracle_hal::hook! {
    $ pub
    /// The devices.
    devices: coracle_core::task::devices::Devices = "coracle_devices", given by give_devices
}
