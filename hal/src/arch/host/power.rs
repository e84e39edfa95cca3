//! The end of the machine: a kernel that switches itself off here has failed, or a test did it.

/// There is nothing to find out.
pub fn prepare_soft_off() {}

/// Returns: see [`halt`].
pub fn soft_off() {}

/// They stop with the run.
pub fn stop_others() {}

/// Returns: there is none.
pub fn keyboard_reset() {}

/// Ends the run of the machine.
pub fn triple_fault() -> ! {
    halt()
}

/// Ends the run of the machine: the test has failed.
pub fn halt() -> ! {
    panic!("the kernel switches the machine off")
}
