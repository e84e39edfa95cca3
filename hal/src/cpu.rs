//! The CPUs: the number of the running one, waking another, waiting for an interrupt.
use crate::local::Local;
use crate::x86;
use core::arch::asm;
use core::sync::atomic::{AtomicUsize, Ordering};

pub(crate) static COUNT: AtomicUsize = AtomicUsize::new(1);

/// Number of CPUs that run.
pub fn count() -> usize {
    COUNT.load(Ordering::Relaxed)
}
/// CPUs that the machine has, running or not, up to what is supported.
pub fn possible() -> usize {
    crate::topology::get().cpus.len().clamp(1, crate::percpu::MAX_CPUS)
}
/// CPUs that the firmware's tables name, though they may be more than are supported.
pub fn named() -> usize {
    crate::topology::get().cpus.len().max(1)
}
/// Whether the CPU keeps the kernel from executing, and from reading and writing, a program's memory (SMEP and SMAP,
/// Intel SDM volume 3, 4.6).
pub fn guards() -> (bool, bool) {
    let cr4 = x86::cr4();
    (cr4 & x86::CR4_SMEP != 0, cr4 & x86::CR4_SMAP != 0)
}
/// This CPU, 0 for the one that booted.
#[inline(always)]
pub fn id() -> usize {
    Local::get().id.get()
}
/// Starts the other CPUs; each calls `Kernel::cpu_main`. Returns how many run then.
pub fn start_others() -> usize {
    crate::smp::start_others();
    count()
}
/// Makes `cpu` leave its idle wait or its program soon.
pub fn kick(cpu: usize) {
    let Some(local) = Local::of(cpu) else { return };
    // One pending wake-up is enough.
    if !local.kicked.swap(true, Ordering::SeqCst) {
        crate::apic::send(local.apic_id.get(), crate::trap::KICK_VECTOR);
    }
}
/// With interrupts off: if no interrupt has left a mark that is still to be acted on, and `nothing_to_do` still holds,
/// waits for the next interrupt. An interrupt that arrives between these checks and the wait ends the wait.
pub fn wait_for_interrupt(nothing_to_do: impl FnOnce() -> bool) {
    let expired = Local::get().timer.is_expired();
    if coracle_interrupts::may_halt(expired, crate::irq::any_pending(), nothing_to_do) {
        // There are none on the host.
        #[cfg(target_os = "none")]
        crate::entry::halt();
    }
}
/// Takes the interrupts that wait for this CPU, with interrupts off before and after: shoot-downs are answered, the other
/// handlers leave their marks. Returns whether there were any; the caller acts on the marks. Hold no lock.
#[inline(always)]
pub fn take_interrupts() -> bool {
    let any = take_interrupt();
    while any && take_interrupt() {}
    any
}
#[cfg(target_os = "none")]
use crate::entry::take_interrupt;
/// There are none on the host.
#[cfg(not(target_os = "none"))]
fn take_interrupt() -> bool {
    false
}
/// A hint that this is a busy loop; also answers shoot-downs that others wait for.
#[inline]
pub fn relax() {
    crate::tlb::answer();
    core::hint::spin_loop();
}
/// Returns after every other CPU has executed a full barrier (membarrier(2)). Hold no lock.
pub fn barrier_all() {
    core::sync::atomic::fence(Ordering::SeqCst);
    crate::tlb::shoot_down(all());
}
/// A mask of the CPUs that run.
pub(crate) fn all() -> u64 {
    u64::MAX >> (u64::BITS as usize - count())
}
/// The registers that are still meaningful while a panic is handled: the stack pointer, callee-saved registers,
/// and the control registers. (An exception's own report has all registers as it found them.)
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Registers {
    pub rsp: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rflags: u64,
    pub cr0: u64,
    pub cr2: u64,
    pub cr3: u64,
    pub cr4: u64,
}
/// The registers as they are now.
#[inline(always)]
pub fn registers() -> Registers {
    let mut saved = [0u64; 8];
    // SAFETY: stores registers to a local array; what is pushed is popped.
    unsafe {
        asm!(
            "mov [{to}], rsp",
            "mov [{to} + 8], rbp",
            "mov [{to} + 16], rbx",
            "mov [{to} + 24], r12",
            "mov [{to} + 32], r13",
            "mov [{to} + 40], r14",
            "mov [{to} + 48], r15",
            "pushfq",
            "pop qword ptr [{to} + 56]",
            to = in(reg) saved.as_mut_ptr(),
        )
    };
    let [rsp, rbp, rbx, r12, r13, r14, r15, rflags] = saved;
    let (cr0, cr2, cr3, cr4) = (x86::cr0(), x86::cr2(), x86::cr3(), x86::cr4());
    Registers { rsp, rbp, rbx, r12, r13, r14, r15, rflags, cr0, cr2, cr3, cr4 }
}
/// The CPU's name for itself (`cpuid` leaves 8000_0002 to 8000_0004), for /proc/cpuinfo.
pub struct Brand([u8; 48]);

impl Brand {
    /// That of this CPU.
    pub fn of_this_cpu() -> Brand {
        let mut bytes = [0; 48];
        for (leaf, part) in (0x8000_0002..).zip(bytes.chunks_exact_mut(16)) {
            let r = x86::cpuid(leaf, 0);
            for (register, four) in [r.eax, r.ebx, r.ecx, r.edx].iter().zip(part.chunks_exact_mut(4)) {
                four.copy_from_slice(&register.to_le_bytes());
            }
        }
        Brand(bytes)
    }
}

impl core::fmt::Display for Brand {
    fn fmt(&self, f: &mut core::fmt::Formatter) -> core::fmt::Result {
        let text = core::str::from_utf8(&self.0).unwrap_or_default();
        f.write_str(text.trim_matches(|c: char| c == '\0' || c.is_whitespace()))
    }
}

/// `cpuid` leaf 1 EDX, Linux's AT_HWCAP.
pub fn hwcap() -> u32 {
    x86::cpuid(1, 0).edx
}
