//! Shoot-downs: other CPUs drop stale translations when asked, and say so.
//!
//! Each CPU counts what was asked of it and what it has done. A CPU that waits for answers answers others meanwhile, so
//! two that ask each other both go on. Nobody waits with a lock held.
use crate::local::Local;
use crate::x86;
use core::sync::atomic::Ordering;

/// Does what others have asked of this CPU.
#[inline]
pub fn answer() {
    let local = Local::get();
    let asked = local.flush_asked.load(Ordering::SeqCst);
    if local.flush_done.load(Ordering::Relaxed) != asked {
        x86::flush_tlb();
        local.flush_done.store(asked, Ordering::Release);
    }
}

/// Makes the CPUs of `mask` drop all their translations, and waits until they have.
pub fn shoot_down(mask: u64) {
    let others = mask & !(1 << Local::get().id.get());
    let mut tickets = [0u64; crate::percpu::MAX_CPUS];
    for cpu in bits(others) {
        let Some(local) = Local::of(cpu) else { continue };
        tickets[cpu] = local.flush_asked.fetch_add(1, Ordering::SeqCst) + 1;
        crate::apic::send(local.apic_id.get(), crate::trap::FLUSH_VECTOR);
    }
    for cpu in bits(others) {
        let Some(local) = Local::of(cpu) else { continue };
        while local.flush_done.load(Ordering::Acquire) < tickets[cpu] {
            answer();
            core::hint::spin_loop();
        }
    }
}

fn bits(mut mask: u64) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let bit = mask.trailing_zeros();
        mask &= mask.wrapping_sub(1);
        (bit < u64::BITS).then_some(bit as usize)
    })
}
