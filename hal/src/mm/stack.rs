//! The kernel stacks of threads: mapped memory with unmapped pages around it, so that an overflow faults.
//!
//! Some stacks of ended threads are kept for new ones, which then need no change of page tables. The memory of the others is
//! freed, and that of all when memory is short.
use crate::mm::layout::PAGE;
use crate::mm::{heap, kmap, vmap};

/// Bytes of a stack: what the deepest path of calls takes, which `cargo run -p xtask -- stack` finds in the built kernel, and a
/// margin.
#[cfg(target_os = "none")]
pub const SIZE: usize = 40 * 1024;
/// The same for tests on a host, whose code is not optimised, and may panic and tell where.
#[cfg(not(target_os = "none"))]
pub const SIZE: usize = 512 * 1024;
/// Unused stacks that are kept. When there are twice as many, half of them are freed at once, with one shoot-down.
const KEPT: usize = 16;

/// The unused stacks: the word below the top of each links it to the next.
struct Unused {
    top: usize,
    count: usize,
}

static UNUSED: crate::sync::Mutex<Unused> = crate::sync::Mutex::new(Unused { top: 0, count: 0 });

impl Unused {
    fn take(&mut self) -> Option<usize> {
        if self.count == 0 {
            return None;
        }
        let top = self.top;
        // SAFETY: an unused stack is mapped and holds the link.
        self.top = unsafe { *link(top) };
        self.count -= 1;
        Some(top)
    }
}

/// Where an unused stack has its link.
fn link(top: usize) -> *mut usize {
    (top - size_of::<usize>()) as *mut usize
}

/// A stack: its top, aligned to 16 bytes. `None`: out of memory.
pub(crate) fn alloc() -> Option<usize> {
    // Not in the next expression, which would hold the lock to its end.
    let unused = UNUSED.lock().take();
    unused.or_else(map).or_else(|| if heap::give_back() > 0 { map() } else { None })
}

/// The top of a stack in new memory.
#[cfg(target_os = "none")]
fn map() -> Option<usize> {
    vmap::alloc(SIZE / PAGE).map(|base| base + SIZE)
}

/// The memory of a stack on a host: it is the host's own, which has no guard page but gets memory as it is touched.
#[cfg(not(target_os = "none"))]
fn layout() -> std::alloc::Layout {
    std::alloc::Layout::from_size_align(SIZE, PAGE).expect("a valid layout")
}

/// The top of a stack in new memory.
#[cfg(not(target_os = "none"))]
fn map() -> Option<usize> {
    // SAFETY: not of size zero.
    let base = unsafe { std::alloc::alloc_zeroed(layout()) };
    (!base.is_null()).then(|| base as usize + SIZE)
}

/// Frees the memory of a stack, given its top.
///
/// # Safety
/// [`map`] returned it, and nothing uses it.
#[cfg(target_os = "none")]
unsafe fn unmap(top: usize) {
    // SAFETY: passed on to the caller.
    unsafe { vmap::free(top - SIZE, SIZE / PAGE) };
}

/// Frees the memory of a stack, given its top.
///
/// # Safety
/// [`map`] returned it, and nothing uses it.
#[cfg(not(target_os = "none"))]
unsafe fn unmap(top: usize) {
    // SAFETY: passed on to the caller.
    unsafe { std::alloc::dealloc((top - SIZE) as *mut u8, layout()) };
}

/// Takes a stack back.
///
/// # Safety
/// `top` came from [`alloc`], and no CPU is on the stack.
pub(crate) unsafe fn free(top: usize) {
    let mut unused = UNUSED.lock();
    // SAFETY: the stack is mapped and unused.
    unsafe { *link(top) = unused.top };
    unused.top = top;
    unused.count += 1;
    if unused.count >= 2 * KEPT {
        unmap_all_but(&mut unused, KEPT);
    }
}

/// Frees the memory of unused stacks, at the latest when all CPUs have dropped their translations.
pub(crate) fn give_back() {
    unmap_all_but(&mut UNUSED.lock(), 0);
}

fn unmap_all_but(unused: &mut Unused, kept: usize) {
    while unused.count > kept
        && let Some(top) = unused.take()
    {
        // SAFETY: it came from there, and nothing uses it.
        unsafe { unmap(top) };
    }
}

/// True if the address is one of those around kernel stacks: a fault there is a stack that has overflowed.
pub(crate) fn is_around(address: usize) -> bool {
    kmap::in_area(address) || vmap::contains(address)
}
