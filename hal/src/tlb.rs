//! Shoot-downs: other CPUs drop stale translations when asked, and say so.
//!
//! Each CPU counts what was asked of it and what it has done. A CPU that waits for answers answers others meanwhile, so
//! two that ask each other both go on. Nobody waits with a lock held.
use crate::arch::page_table;
use crate::local::Local;
use crate::mm::vmap;
use crate::percpu::MAX_CPUS;
use crate::sync::atomic::Ordering;

/// Does what others have asked of this CPU.
#[inline]
pub fn answer() {
    let local = Local::get();
    let asked = local.flush_asked.load(Ordering::SeqCst);
    if local.flush_done.load(Ordering::Relaxed) != asked {
        page_table::forget_all();
        local.flush_done.store(asked, Ordering::Release);
        vmap::reap();
    }
}

/// What other CPUs were asked.
pub struct Tickets {
    cpus: u64,
    /// For each CPU asked, the number that its count reaches by the answer.
    numbers: [u64; MAX_CPUS],
}

impl Tickets {
    /// Nothing was asked.
    pub const NONE: Tickets = Tickets { cpus: 0, numbers: [0; MAX_CPUS] };

    /// Asks the CPUs of `mask`, but for this one, to drop all their translations.
    pub fn ask(&mut self, mask: u64) {
        self.cpus = mask & !(1 << Local::get().id.get());
        for cpu in bits(self.cpus) {
            let Some(local) = Local::of(cpu) else { continue };
            self.numbers[cpu] = local.flush_asked.fetch_add(1, Ordering::SeqCst) + 1;
            crate::arch::interrupt::ask_to_flush(local);
        }
    }

    /// Whether all have answered.
    pub fn are_done(&self) -> bool {
        let mut locals = bits(self.cpus).filter_map(|cpu| Some((Local::of(cpu)?, self.numbers[cpu])));
        locals.all(|(local, number)| local.flush_done.load(Ordering::Acquire) >= number)
    }
}

/// Makes the CPUs of `mask` drop all their translations, and waits until they have.
pub fn shoot_down(mask: u64) {
    let mut tickets = Tickets::NONE;
    tickets.ask(mask);
    while !tickets.are_done() {
        answer();
        crate::cpu::pause();
    }
}

fn bits(mut mask: u64) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let bit = mask.trailing_zeros();
        mask &= mask.wrapping_sub(1);
        (bit < u64::BITS).then_some(bit as usize)
    })
}
