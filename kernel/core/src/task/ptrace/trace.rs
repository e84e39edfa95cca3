//! Beginning and ending to trace, and letting threads go on.
use super::report::Ended;
use super::stop::wake;
use crate::errno::Errno;
use crate::ipc::poll::Events;
use crate::task::call_filters::TRACED;
use crate::task::debug::held::{StopKind, TracedState};
use crate::task::exit;
use crate::task::process::{self, ExitStatus, Process};
use crate::task::signal::{self, SigInfo};
use crate::task::thread::{Thread, Work};
use alloc::sync::Arc;
use coracle_capabilities::number;
use coracle_fallible::prelude::*;
use coracle_hal::sync::atomic::Ordering::*;
use linux_raw_sys::general as abi;
use linux_raw_sys::ptrace as pt;

/// Has `tracer` trace a thread. EPERM if another does, or if either has ended; ENOMEM.
pub fn attach(tracer: &Process, thread: &Arc<Thread>, is_seized: bool, options: u32) -> Result<(), Errno> {
    let traced = &thread.debug.traced;
    let mut tracees = tracer.debug.tracees.lock();
    // Room for the end of each, which must be told.
    let count = tracees.len() + 1;
    tracer.debug.ended.lock().try_reserve(count).map_err(|_| Errno::NOMEM)?;
    let mut state = traced.state.lock();
    // The kernel itself traces nothing.
    if tracer.pid == 0 || traced.is_on() || thread.process.dead.load(Acquire) || tracer.dead.load(Acquire) {
        return Err(Errno::PERM);
    }
    tracees.try_push(thread.tid())?;
    *state = TracedState { is_seized, options, ..TracedState::default() };
    traced.tracer.store(tracer.pid, SeqCst);
    if thread.tid() == thread.process.pid {
        thread.process.debug.leader_tracer.store(tracer.pid, SeqCst);
    }
    Ok(())
}

/// The thread has no tracer any more, and goes on, with a signal or none.
fn detach(thread: &Arc<Thread>, signal: u32) {
    {
        let mut state = thread.debug.traced.state.lock();
        thread.debug.traced.tracer.store(0, SeqCst);
        if thread.tid() == thread.process.pid {
            thread.process.debug.leader_tracer.store(0, SeqCst);
        }
        state.signal = signal;
        state.steps = false;
        state.stop = None;
    }
    thread.filters.watch.fetch_and(!TRACED, SeqCst);
    if thread.process.stopped.load(SeqCst) != 0 {
        // It is stopped with the others again.
        thread.work().set(Work::STOP);
    }
    wake(thread);
}

/// Takes a thread off its tracer's list.
fn forget(tracer: &Process, thread: &Arc<Thread>) {
    tracer.debug.tracees.lock().retain(|id| *id != thread.tid());
}

/// PTRACE_DETACH.
pub fn release(tracer: &Process, thread: &Arc<Thread>, signal: u32) {
    forget(tracer, thread);
    detach(thread, signal);
}

/// Whether a thread gets no further rights by a program that it executes (execve(2)): its tracer would have them, too.
pub fn keeps_rights(thread: &Thread) -> bool {
    tracer_of(thread.debug.traced.tracer.load(SeqCst)).is_some_and(|tracer| {
        let space = thread.process.credentials.lock().space.clone();
        let may = tracer.credentials.lock().can_in(space.as_ref(), number::SYS_PTRACE);
        !may
    })
}

/// Lets a stopped thread go on: up to its next call (`calls`), or for one step.
pub fn resume(thread: &Arc<Thread>, signal: u32, calls: bool, steps: bool) {
    if calls {
        thread.filters.watch.fetch_or(TRACED, SeqCst);
    } else {
        thread.filters.watch.fetch_and(!TRACED, SeqCst);
    }
    {
        let mut state = thread.debug.traced.state.lock();
        if state.stop.is_some_and(|stop| stop.kind == StopKind::Group) {
            thread.work().clear(Work::STOP);
        }
        state.signal = signal;
        state.steps = steps;
        state.listens = false;
        state.stop = None;
    }
    wake(thread);
}

/// The tracer of a thread, if that has not ended.
fn tracer_of(pid: i32) -> Option<Arc<Process>> {
    if pid == 0 { None } else { process::by_pid(pid).filter(|tracer| !tracer.dead.load(Acquire)) }
}

/// The thread of this id that a process traces; `None` once it has ended.
pub(super) fn traced_by(tracer: &Process, id: i32) -> Option<Arc<Thread>> {
    process::thread_by_tid(id).filter(|thread| thread.debug.traced.tracer.load(SeqCst) == tracer.pid)
}

/// A thread has ended. The end of a process's first one is that of the process.
pub fn thread_ended(thread: &Arc<Thread>, status: ExitStatus) {
    let Some(tracer) = tracer_of(thread.debug.traced.tracer.swap(0, SeqCst)) else { return };
    if thread.tid() != thread.process.pid {
        let ended = Ended::new(&tracer, thread.tid(), &thread.process, status, false);
        report_end(&tracer, ended);
    }
}

/// A thread, whose id was `id`, has the id of its process's first one, and all others are gone (execve(2)): it is traced by its own
/// tracer, or by none.
pub(super) fn took_over(thread: &Thread, id: i32) {
    let (process, own) = (&thread.process, thread.debug.traced.tracer.load(SeqCst));
    if let Some(tracer) = tracer_of(process.debug.leader_tracer.swap(own, SeqCst)) {
        tracer.debug.tracees.lock().retain(|other| *other != process.pid);
    }
    if let Some(tracer) = tracer_of(own) {
        tracer
            .debug
            .tracees
            .lock()
            .iter_mut()
            .filter(|other| **other == id)
            .for_each(|other| *other = process.pid);
    }
}

/// A process has ended. Whether its parent is told later, when the tracer has waited for it.
pub fn process_ended(process: &Arc<Process>, status: ExitStatus) -> bool {
    let Some(tracer) = tracer_of(process.debug.leader_tracer.swap(0, SeqCst)) else { return false };
    if tracer.pid == process.parent_pid() {
        tracer.debug.tracees.lock().retain(|id| *id != process.pid);
        return false;
    }
    process.debug.is_kept.store(true, SeqCst);
    report_end(&tracer, Ended::new(&tracer, process.pid, process, status, true)) || {
        process.debug.is_kept.store(false, SeqCst);
        false
    }
}

/// Moves a thread from those that `tracer` traces to those that have ended, and reports its end; false if the tracer has ended.
fn report_end(tracer: &Arc<Process>, ended: Ended) -> bool {
    let (code, value) = ended.code();
    let info = SigInfo::child(code, ended.seen, ended.uid, value);
    {
        let mut tracees = tracer.debug.tracees.lock();
        tracees.retain(|id| *id != ended.pid);
        // The list is not read after the tracer's end (`tracer_ended`).
        if tracer.dead.load(SeqCst) {
            return false;
        }
        let mut all = tracer.debug.ended.lock();
        if all.len() < all.capacity() {
            all.push_back(ended);
        }
    }
    signal::send_to_process(tracer, info);
    tracer.child_events.notify(Events::IN);
    true
}

/// A process has ended that may trace others: they go on, or end with it.
pub fn tracer_ended(tracer: &Process) {
    let tracees = core::mem::take(&mut *tracer.debug.tracees.lock());
    for id in tracees {
        let Some(thread) = traced_by(tracer, id) else {
            // The first thread of a process, of which others go on.
            if let Some(process) = process::by_pid(id) {
                let _ = process.debug.leader_tracer.compare_exchange(tracer.pid, 0, SeqCst, SeqCst);
            }
            continue;
        };
        // It is killed before it may go on.
        if thread.debug.traced.state.lock().options & pt::PTRACE_O_EXITKILL != 0 {
            signal::send_to_process(&thread.process, SigInfo::kernel(abi::SIGKILL));
        }
        detach(&thread, 0);
    }
    let ended = core::mem::take(&mut *tracer.debug.ended.lock());
    for Ended { pid, keeps, .. } in ended {
        if keeps && let Some(process) = process::by_pid(pid) {
            tell_parent(&process);
        }
    }
}

/// The tracer knows of the end of a process: its parent is told.
pub(super) fn tell_parent(process: &Arc<Process>) {
    if process.debug.is_kept.swap(false, SeqCst) {
        let status = process.exiting.lock().unwrap_or(ExitStatus::Exited(0));
        exit::tell_parent(process, status);
    }
}
