//! What is ended when a page of a program finds no memory (Linux's mm/oom_kill.c).
//!
//! The process that is worst, by its pages and its `oom_score_adj`, is killed, and its private pages are taken from it at once: the
//! thread that wants a page waits neither for one that sleeps in the kernel nor for one that is stopped. So each round gives
//! memory back or leaves one process less to choose from, and there is nothing to wait for in a circle.
//!
//! The first process is no choice, because the machine ends with it; it is ended where nothing else is left. Linux panics there.
use super::oom_score;
use super::process::{self, Process};
use super::signal::{self, SigInfo};
use super::{long_call, sched};
use crate::errno::Errno;
use crate::mm::fault::give_make_room;
use crate::mm::memory::{Memory, PAGE_SIZE};
use alloc::sync::Arc;
use coracle_fallible::Lossy;
use coracle_hal::sync::atomic::{AtomicBool, Ordering::*};
use coracle_hal::{boot, frame};
use linux_raw_sys::general::SIGKILL;

/// Whether a CPU is ending a process for its memory: what comes back should do for the others.
static BUSY: AtomicBool = AtomicBool::new(false);

give_make_room!(make_room);

/// Makes room for a page fault; if it can't, the thread ends on its way to the program.
#[cold]
fn make_room() -> bool {
    let me = crate::this::with(Arc::clone);
    if is_ending(&me.process) {
        return false;
    }
    if BUSY.swap(true, Acquire) {
        // It pauses, and may be a thread of this CPU.
        while BUSY.load(Acquire) {
            long_call::pause();
            sched::yield_now();
        }
        return true;
    }
    end(&choose().unwrap_or_else(|| me.process.clone()), &me.process);
    BUSY.store(false, Release);
    !is_ending(&me.process)
}

fn is_ending(process: &Process) -> bool {
    process.exiting.lock().is_some()
}

/// The machine's first process, which the others are descendants of.
fn is_first(process: &Process) -> bool {
    process.parent().is_none()
}

/// Whether a memory still has pages that can be taken from it.
fn has_pages(memory: &Arc<Memory>) -> bool {
    !Arc::ptr_eq(memory, Memory::none()) && !memory.is_given_up()
}

/// How good it is to end this process, in pages; `None`: it can't be chosen (Linux's `oom_badness`).
fn badness(process: &Process, memory: &Arc<Memory>) -> Option<i64> {
    let is_borrowed = !process.vfork_done.load(Acquire);
    if is_first(process) || is_borrowed || !has_pages(memory) {
        return None;
    }
    process.oom.badness(memory.own_pages() + memory.space.tables(), frame::total())
}

/// What `/proc/pid/oom_score` says.
pub fn score(process: &Process) -> u64 {
    oom_score::score(badness(process, &process.memory()), frame::total())
}

/// The worst process, of several the one that was started last; the first process, if there is no other.
fn choose() -> Option<Arc<Process>> {
    let mut first = None;
    let mut worst: Option<(i64, Arc<Process>)> = None;
    for process in process::all() {
        let memory = process.memory();
        if is_first(&process) {
            first = has_pages(&memory).then_some(process);
        } else if let Some(points) = badness(&process, &memory)
            && worst.as_ref().is_none_or(|(most, _)| points >= *most)
            // Its memory can't be taken from the first process.
            && first.as_ref().is_none_or(|first| first.memory_id() != memory.id)
        {
            worst = Some((points, process));
        }
    }
    worst.map(|(_, process)| process).or(first)
}

/// Kills `victim` and every process that shares its memory, and takes its pages, for `wanting`.
fn end(victim: &Arc<Process>, wanting: &Arc<Process>) {
    let memory = victim.memory();
    if !is_ending(victim) {
        report(victim, &memory, wanting);
    }
    for process in process::all().filter(|process| process.memory_id() == memory.id) {
        signal::send_to_process(&process, SigInfo::kernel(SIGKILL));
    }
    // Unless it has executed another program meanwhile, or ended: then these pages are free already.
    if has_pages(&memory) {
        memory.give_up();
    }
}

/// Takes the private pages of a process that is ending, before its threads have ended (process_mrelease(2)). EINVAL if it, or another that
/// shares its memory, goes on; ESRCH if it has no memory any more.
pub fn release(process: &Process) -> Result<(), Errno> {
    let memory = process.memory();
    if Arc::ptr_eq(&memory, Memory::none()) {
        return Err(Errno::SRCH);
    }
    if memory.is_given_up() {
        return Ok(());
    }
    if process::all().any(|other| other.memory_id() == memory.id && !is_ending(&other)) {
        return Err(Errno::INVAL);
    }
    memory.give_up();
    Ok(())
}

fn report(victim: &Arc<Process>, memory: &Memory, wanting: &Arc<Process>) {
    let (_, total) = frame::counts();
    let own = memory.own_pages();
    let kib = |pages: usize| pages * PAGE_SIZE / 1024;
    let machine = boot::memory_size() as usize / PAGE_SIZE;
    let name = victim.threads.lock().first().map(|thread| thread.name()).unwrap_or_default();
    let why = match (Arc::ptr_eq(victim, wanting), is_first(victim)) {
        (true, true) => {
            "wants more; it is the first process, and no other is left to be killed: the machine ends"
        }
        (true, false) => "wants more; it is killed",
        (false, true) => "is the last that can be killed: the machine ends with it, the first process",
        (false, false) => "is killed, because another process wants more",
    };
    log!(
        "out of memory: process {} ({}) has filled {} KiB and {why}. Of the machine's {} KiB the image takes {}, the kernel \
         and what it keeps for programs, and other processes, {}. Give the machine more memory (coracle run -m).",
        victim.pid,
        Lossy(name.as_bytes()),
        kib(own),
        kib(machine),
        kib(machine.saturating_sub(total)),
        kib(total.saturating_sub(own)),
    );
}
