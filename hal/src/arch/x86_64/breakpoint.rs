//! Debug registers (Intel SDM volume 3, 19.2). One instruction breakpoint per CPU is proof that an instruction begins at an address;
//! the other three watch places for a debugger, the same on all CPUs.
//!
//! It fires, as [`Fault::Debug`](crate::arch::context::Fault) with `rip` at the address, before an instruction that *begins* there.
use crate::local::Local;
use crate::task;
use core::arch::asm;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// DR7: breakpoint 0 enabled on this CPU, on execution, one byte long; bit 10 reads as one.
const ENABLE_0: u64 = 1 | 1 << 10;
/// DR7 with no breakpoint.
const DISABLE_ALL: u64 = 1 << 10;
/// Places that can be watched.
pub const WATCHPOINTS: usize = 3;
/// In [`take_hits`]: a single step was made (DR6.BS).
pub const STEPPED: u64 = 1 << 14;
/// Bits of DR6 that say which of the watched places was touched.
const WATCHES_HIT: u64 = 0b1110;

/// The bits of DR7 of the watched places.
static ENABLED: AtomicU64 = AtomicU64::new(0);
/// The watched places.
static PLACES: [AtomicU64; WATCHPOINTS] = [const { AtomicU64::new(0) }; WATCHPOINTS];
/// Which of them the kernel has touched.
static KERNEL_HITS: AtomicU64 = AtomicU64::new(0);
/// What a thread's attention gets for which the kernel has touched one.
static MARK: AtomicU32 = AtomicU32::new(0);

/// A place to be watched.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    address: u64,
    /// Its four bits of DR7: kind of access and length.
    control: u64,
}

impl Watch {
    /// Watches `len` bytes (1, 2, 4, 8) at a multiple of that among the program's addresses for being written, or `reads` too. `None`: that can't be.
    pub fn new(address: u64, len: u16, reads: bool) -> Option<Watch> {
        let len_bits = match len {
            1 => 0b00,
            2 => 0b01,
            4 => 0b11,
            8 => 0b10,
            _ => return None,
        };
        let end = address.checked_add(len.into())?;
        let is_fit = address.is_multiple_of(len.into()) && end <= crate::mm::paging::USER_END as u64;
        is_fit.then_some(Watch { address, control: len_bits << 2 | if reads { 0b11 } else { 0b01 } })
    }
}

/// Sets what place 0 to 2 watches; each CPU obeys from its next [`use_watches`] on. The running thread's
/// [attention](crate::task::Task::attention) gets `mark` when the kernel touches it.
pub fn watch(place: usize, watch: Option<Watch>, mark: u32) {
    let Some(address) = PLACES.get(place) else { return };
    let number = place as u64 + 1;
    let mut enabled = ENABLED.load(Relaxed) & !(0b11 << (2 * number) | 0b1111 << (16 + 4 * number));
    if let Some(watch) = watch {
        address.store(watch.address, Relaxed);
        enabled |= 1 << (2 * number) | watch.control << (16 + 4 * number);
    }
    ENABLED.store(enabled, Relaxed);
    MARK.store(mark, Relaxed);
}

/// Has this CPU watch what was set, and nothing else.
pub fn use_watches() {
    // SAFETY: what is watched is the program's; a hit is reported like any exception, or noted if the kernel causes it. The breakpoint of
    // `arm` stays as it is.
    unsafe {
        let armed: u64;
        asm!("mov {}, dr7", out(reg) armed, options(nomem, nostack, preserves_flags));
        asm!("mov dr1, {}", in(reg) PLACES[0].load(Relaxed), options(nomem, nostack, preserves_flags));
        asm!("mov dr2, {}", in(reg) PLACES[1].load(Relaxed), options(nomem, nostack, preserves_flags));
        asm!("mov dr3, {}", in(reg) PLACES[2].load(Relaxed), options(nomem, nostack, preserves_flags));
        asm!("mov dr7, {}", in(reg) DISABLE_ALL | armed & 1 | ENABLED.load(Relaxed), options(nostack, preserves_flags));
    }
}

/// The bit of [`take_hits`] for a place.
pub const fn hit(place: usize) -> u64 {
    1 << (place + 1)
}

/// What a debug exception on this CPU is about, but for the breakpoint of [`arm`]: [`hit`]s and [`STEPPED`]. They are forgotten.
pub fn take_hits() -> u64 {
    let status: u64;
    // SAFETY: the register holds no state but the causes.
    unsafe {
        asm!("mov {}, dr6", out(reg) status, options(nomem, nostack, preserves_flags));
        asm!("mov dr6, {}", in(reg) status & !(WATCHES_HIT | STEPPED), options(nomem, nostack, preserves_flags));
    }
    status & (WATCHES_HIT | STEPPED)
}

/// A debug exception hit the kernel: notes a watched place that it touched for the running thread. True if that was the cause.
#[cfg(target_os = "none")]
pub(super) fn note_kernel_hit() -> bool {
    let hits = take_hits() & WATCHES_HIT;
    KERNEL_HITS.fetch_or(hits, Relaxed);
    if hits != 0 {
        task::attention_of(Local::get()).fetch_or(MARK.load(Relaxed), Relaxed);
    }
    hits != 0
}

/// Which places the kernel has touched since the last call.
pub fn take_kernel_hits() -> u64 {
    KERNEL_HITS.swap(0, Relaxed)
}

/// Sets this CPU's breakpoint to `address`, in place of an earlier one. Addresses outside the program's half are ignored.
pub fn arm(address: usize) {
    if !(crate::mm::paging::USER_START..crate::mm::paging::USER_END).contains(&address) {
        return;
    }
    // SAFETY: the address is the program's, so that kernel code can't hit it; a hit is reported like any exception.
    unsafe {
        asm!("mov dr0, {}", in(reg) address, options(nostack, preserves_flags));
        asm!("mov dr7, {}", in(reg) ENABLE_0 | ENABLED.load(Relaxed), options(nostack, preserves_flags));
    }
}

/// Takes this CPU's breakpoint away; returns true if it was the cause of a debug exception since it was set.
pub fn disarm() -> bool {
    let status: u64;
    // SAFETY: without breakpoints nothing is interrupted; the status register holds no state but the causes.
    unsafe {
        asm!("mov {}, dr6", out(reg) status, options(nomem, nostack, preserves_flags));
        asm!("mov dr7, {}", in(reg) DISABLE_ALL | ENABLED.load(Relaxed), options(nostack, preserves_flags));
        asm!("mov dr6, {}", in(reg) status & !1, options(nomem, nostack, preserves_flags));
    }
    status & 1 != 0
}
