//! Allocations that fail on purpose, for tests, modelled after Linux's fault injection (Documentation/fault-injection,
//! `fail-nth`).
use crate::local::Local;
use crate::mm::heap;

/// Counts the kernel's allocations from now on, which costs a lock for each. For the boot, before other CPUs run.
pub fn enable() {
    heap::count();
}

/// Whether allocations are counted.
pub fn is_enabled() -> bool {
    heap::counts()
}

/// Makes the `nth` allocation from now fail, whichever thread makes it; 0: none.
pub fn nth_of_all(nth: u64) {
    heap::fail(nth, 0);
}

/// Makes the `nth` allocation that the running thread makes from now fail; 0: none.
pub fn nth_of_thread(nth: u64) {
    heap::fail(nth, Local::get().stack_top.get());
}

/// How many allocations are left to the one that fails; 0: it has failed, or none was to.
pub fn left() -> u64 {
    heap::fails_in()
}
