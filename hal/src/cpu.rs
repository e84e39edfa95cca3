//! The CPUs: who we are, waking another, waiting for an interrupt.

/// Number of CPUs that run.
pub fn count() -> usize {
    todo!()
}
/// This CPU, 0 for the one that booted.
#[inline]
pub fn id() -> usize {
    todo!()
}
/// Starts the other CPUs; each calls `Kernel::cpu_main`. Gives how many run then.
pub fn start_others() -> usize {
    todo!()
}
/// Makes `cpu` leave its idle wait or its program soon.
pub fn kick(cpu: usize) {
    let _ = cpu;
    todo!()
}
/// With interrupts off: if `nothing_to_do` still holds, waits for the next interrupt. An interrupt that comes between the
/// check and the wait ends the wait.
pub fn wait_for_interrupt(nothing_to_do: impl FnOnce() -> bool) {
    let _ = nothing_to_do;
    todo!()
}
/// A hint that this is a busy loop; also answers shoot-downs that others wait for.
pub fn relax() {
    todo!()
}
/// Text for /proc/cpuinfo and AT_HWCAP.
pub fn brand() -> alloc::string::String {
    todo!()
}
/// `cpuid` leaf 1 EDX, Linux's AT_HWCAP.
pub fn hwcap() -> u32 {
    todo!()
}
