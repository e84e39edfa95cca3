//! Memory that is only borrowed: cached pages of files, which are given back when programs want it.
//!
//! The caches belong to a higher layer, so they name the function that takes pages from them.
use coracle_hal::frame::{self, Watermark};
use coracle_hal::once::Once;
use coracle_hal::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Pages that are asked for at a time.
const STEP: usize = 64;
/// So many page faults pass after a search that found nothing, which may have looked at every page.
const REST: usize = 1024;

/// Has caches give back so many pages; returns how many they did.
pub type GiveBack = fn(usize) -> usize;

static SOURCE: Once<GiveBack> = Once::new();
static RESTING: AtomicUsize = AtomicUsize::new(0);

/// Names the caches' function; the first one counts.
pub fn set_source(give_back: GiveBack) {
    SOURCE.call_once(|| give_back);
}

/// Has caches give back pages because one is wanted and there is none; returns whether they did. Hold no lock.
#[cold]
#[inline(never)]
pub fn make_room() -> bool {
    SOURCE.get().is_some_and(|give_back| give_back(STEP) > 0)
}

/// After a page was given to a program: keeps as much free as the kernel's own allocations for programs need. Hold no lock.
#[inline(always)]
pub fn balance() {
    if frame::is_below(Watermark::High) {
        refill();
    }
}

#[cold]
#[inline(never)]
fn refill() {
    let resting = RESTING.load(Relaxed);
    if resting > 0 {
        RESTING.store(resting - 1, Relaxed);
    } else if !make_room() {
        RESTING.store(REST, Relaxed);
    }
}
