//! The CPUs: the number of the running one, waking another, waiting for an interrupt.
pub use crate::arch::cpu::{Brand, Registers, guards, hwcap, registers};

pub(crate) use crate::arch::cpu::pause;
use crate::arch::entry;
use crate::local::Local;
use crate::sync::atomic::{AtomicUsize, Ordering};

pub(crate) static COUNT: AtomicUsize = AtomicUsize::new(1);

/// Number of CPUs that run.
pub fn count() -> usize {
    COUNT.load(Ordering::Relaxed)
}
/// CPUs that the machine has, running or not, up to what is supported.
pub fn possible() -> usize {
    crate::arch::smp::named().clamp(1, crate::percpu::MAX_CPUS)
}
/// CPUs that the firmware's tables name, though they may be more than are supported.
pub fn named() -> usize {
    crate::arch::smp::named()
}
/// This CPU, 0 for the one that booted.
#[inline(always)]
pub fn id() -> usize {
    Local::get().id.get()
}
/// Starts the other CPUs; each calls `Kernel::cpu_main`. Returns how many run then.
pub fn start_others() -> usize {
    crate::arch::smp::start_others();
    count()
}
/// Makes `cpu` leave its idle wait or its program soon.
pub fn kick(cpu: usize) {
    let Some(local) = Local::of(cpu) else { return };
    // One pending wake-up is enough.
    if !local.kicked.swap(true, Ordering::SeqCst) {
        crate::arch::interrupt::kick(local);
    }
}
/// With interrupts off: if no interrupt has left a mark that is still to be acted on, and `nothing_to_do` still holds,
/// waits for the next interrupt. An interrupt that arrives between these checks and the wait ends the wait.
pub fn wait_for_interrupt(nothing_to_do: impl FnOnce() -> bool) {
    let expired = Local::get().timer.is_expired();
    if coracle_interrupts::may_halt(expired, crate::irq::any_pending(), nothing_to_do) {
        entry::halt();
    }
}
/// Takes the interrupts that wait for this CPU, with interrupts off before and after: shoot-downs are answered, the other
/// handlers leave their marks. Returns whether there were any; the caller acts on the marks. Hold no lock.
#[inline(always)]
pub fn take_interrupts() -> bool {
    let any = entry::take_interrupt();
    while any && entry::take_interrupt() {}
    any
}
/// A hint that this is a busy loop; also answers shoot-downs that others wait for.
#[inline]
pub fn relax() {
    crate::tlb::answer();
    pause();
}
/// Returns after every other CPU has executed a full barrier (membarrier(2)). Hold no lock.
pub fn barrier_all() {
    crate::sync::atomic::fence(Ordering::SeqCst);
    crate::tlb::shoot_down(all());
}
/// A mask of the CPUs that run.
pub(crate) fn all() -> u64 {
    u64::MAX >> (u64::BITS as usize - count())
}
