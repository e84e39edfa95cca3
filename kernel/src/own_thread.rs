//! Threads of the kernel's own, which work beside the programs and never end.
use crate::boot;
use alloc::sync::Arc;
use coracle_core::errno::Errno;
use coracle_core::task::sched;
use coracle_core::task::thread::Thread;
use coracle_hal::context::UserContext;

/// One that does not run yet. `work`: the bit of [`Work`](coracle_core::task::thread::Work) that says what it does
/// (`entry::thread_start`). ENOMEM.
pub fn make(name: &[u8], work: u32) -> Result<Arc<Thread>, Errno> {
    let thread = Thread::new(boot::idle_process().clone(), 0, &UserContext::default(), 0, false)?;
    thread.set_name(name);
    thread.work().set(work);
    Ok(thread)
}

/// Lets it run, for ever.
pub fn run(thread: Arc<Thread>) {
    // No process has it in its list, a timer keeps none, and nor does the CPU that it leaves: one that only sleeps would be gone.
    core::mem::forget(thread.clone());
    sched::start(thread);
}

/// Both.
pub fn start(name: &[u8], work: u32) -> Result<(), Errno> {
    make(name, work).map(run)
}
