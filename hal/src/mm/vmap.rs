//! Large allocations when no contiguous memory is large enough: scattered frames, mapped contiguously.
//!
//! Freeing must not wait for other CPUs, because callers hold locks. So freed memory is unmapped and kept until every
//! CPU has dropped its translations. Each CPU is asked to; the memory is released the next time that a CPU has
//! answered, memory is short, or a large allocation is made or freed.
use crate::arch::page_table::{self, pte};
use crate::cpu;
use crate::mm::layout::{self, PAGE, VMAP, VMAP_SIZE};
use crate::mm::{frame, kmap};
use crate::tlb::Tickets;
use coracle_ranges::Ranges;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Addresses are allocated in units of so many bytes; at least one page behind each allocation stays unmapped.
const GRANULE: usize = 64 * 1024;
type Granules = Ranges<{ VMAP_SIZE / GRANULE / u64::BITS as usize }>;
/// Rights of the pages.
const FLAGS: u64 = pte::PRESENT | page_table::WRITABLE;

struct State {
    granules: Granules,
    /// The last allocation that was freed since the other CPUs were asked.
    freed: Option<u64>,
    /// The last allocation that waits until the CPUs that were asked have answered.
    waiting: Option<u64>,
    tickets: Tickets,
}

static STATE: crate::sync::Mutex<State> = crate::sync::Mutex::new(State {
    granules: Granules::new(),
    freed: None,
    waiting: None,
    tickets: Tickets::NONE,
});
/// Whether something is freed or waits.
static IS_PENDING: AtomicBool = AtomicBool::new(false);

/// The record in the first frame of a freed allocation. The entries of the page tables still have the frames' addresses,
/// though they are not present.
#[derive(Clone, Copy)]
struct Freed {
    address: usize,
    pages: usize,
    granules: usize,
    /// Physical address of the next one's first frame.
    next: Option<u64>,
}

/// True if the address is one of those given out here.
#[inline]
pub(crate) fn contains(address: usize) -> bool {
    address.wrapping_sub(VMAP) < VMAP_SIZE
}

fn granules(pages: usize) -> usize {
    ((pages + 1) * PAGE).div_ceil(GRANULE)
}

/// Address of `pages` pages of memory. `None`: there are not so many frames beside the reserve, or no addresses.
#[cold]
pub(crate) fn alloc(pages: usize) -> Option<usize> {
    // There are no page tables on the host.
    if cfg!(not(target_os = "none")) {
        return None;
    }
    reap();
    if pages >= VMAP_SIZE / PAGE || frame::counts().0 <= pages + frame::reserve() {
        return None;
    }
    let granules = granules(pages);
    let first = STATE.lock().granules.take(granules)?;
    let address = VMAP + first * GRANULE;
    if kmap::make_tables(address, pages * PAGE).is_none() {
        STATE.lock().granules.give(first, granules);
        return None;
    }
    for page in 0..pages {
        let Some(phys) = frame::alloc_single(frame::reserve()) else {
            if page == 0 {
                STATE.lock().granules.give(first, granules);
            } else {
                free_part(address, page, granules);
            }
            return None;
        };
        entry(address + page * PAGE).store(phys | FLAGS, Ordering::Relaxed);
    }
    Some(address)
}

/// Frees an allocation of so many pages.
///
/// # Safety
/// It came from [`alloc`], and nothing uses it.
#[cold]
pub(crate) unsafe fn free(address: usize, pages: usize) {
    free_part(address, pages, granules(pages));
}

/// Frees an allocation of `pages` pages, not none, at the start of so many granules.
fn free_part(address: usize, pages: usize, granules: usize) {
    for page in 0..pages {
        entry(address + page * PAGE).fetch_and(!pte::PRESENT, Ordering::Relaxed);
    }
    let phys = entry(address).load(Ordering::Relaxed) & pte::ADDRESS;
    let mut state = STATE.lock();
    let freed = Freed { address, pages, granules, next: state.freed.replace(phys) };
    // SAFETY: the first frame of what was freed; nothing uses it.
    unsafe { (layout::direct(phys) as *mut Freed).write(freed) };
    IS_PENDING.store(true, Ordering::Relaxed);
    state.reap();
}

/// Frees what no CPU has translations of any more; returns how many frames.
#[inline]
pub(crate) fn reap() -> usize {
    #[cold]
    fn reap_pending() -> usize {
        // Waiting for the lock is short, and needed: its holder may have looked at the tickets just before this CPU answered.
        STATE.lock().reap()
    }
    if IS_PENDING.load(Ordering::Relaxed) { reap_pending() } else { 0 }
}

impl State {
    fn reap(&mut self) -> usize {
        let mut frames = 0;
        loop {
            if self.waiting.is_some() {
                if !self.tickets.are_done() {
                    return frames;
                }
                frames += self.release();
            }
            self.waiting = self.freed.take();
            if self.waiting.is_none() {
                IS_PENDING.store(false, Ordering::Relaxed);
                return frames;
            }
            page_table::forget_all();
            self.tickets.ask(cpu::all());
        }
    }

    /// Frees what waits; returns how many frames.
    fn release(&mut self) -> usize {
        let mut frames = 0;
        while let Some(phys) = self.waiting {
            // SAFETY: `free_part` has written it, and no CPU has a translation by which it could be changed.
            let freed = unsafe { (layout::direct(phys) as *const Freed).read() };
            self.waiting = freed.next;
            for page in 0..freed.pages {
                let old = entry(freed.address + page * PAGE).swap(0, Ordering::Relaxed);
                // SAFETY: the frame was the allocation's, which nothing uses.
                unsafe { frame::free_block(old & pte::ADDRESS, 0) };
            }
            self.granules.give((freed.address - VMAP) / GRANULE, freed.granules);
            frames += freed.pages;
        }
        frames
    }
}

/// The last-level entry of an address whose tables were made.
fn entry(address: usize) -> &'static AtomicU64 {
    // SAFETY: the caller's own range of addresses, with tables; entries are changed by the range's owner only.
    unsafe { kmap::entry(address) }
}
