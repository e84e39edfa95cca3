//! The other CPUs, which are started with the machine ([`crate::host::cpus`]).

/// They stop with the run.
pub fn stop_others() {}

/// CPUs of the machine.
pub fn named() -> usize {
    crate::host::cpus::CPUS
}

/// They run already.
pub fn start_others() {}
