//! The end of threads and processes.
use super::process::{self, ExitStatus, Process};
use super::signal::{self, SigInfo};
use super::thread::{Thread, Work};
use super::{call_trace, debug, futex, futex_pi, later, perf, pid_space, ptrace, sched, terminal, usage};
use crate::errno::Errno;
use crate::ipc::poll::{Events, LOOK_EVERY_NS, PollSource};
use crate::mm::memory::Memory;
use crate::mm::user;
use crate::{events, power, report};
use alloc::sync::Arc;
use coracle_hal::context::UserContext;
use coracle_hal::sync::atomic::Ordering::*;
use coracle_hal::time;
use linux_raw_sys::general as abi;
use linux_raw_sys::ptrace as pt;

/// Ends all threads of the process of `thread`, whose registers these are, with this status (exit_group(2)); the first status counts.
pub fn exit_group(thread: &Arc<Thread>, context: &UserContext, status: ExitStatus) -> ! {
    end_process(&thread.process, status);
    exit_thread(thread, context, status)
}

/// Makes all threads of a process end; the first status counts.
pub fn end_process(process: &Process, status: ExitStatus) {
    end_threads(process, &process.threads.lock(), status);
}

/// [`end_process`] with its list of threads, which is locked.
pub fn end_threads(process: &Process, threads: &[Arc<Thread>], status: ExitStatus) {
    let mut exiting = process.exiting.lock();
    if exiting.is_none() {
        *exiting = Some(status);
        threads.iter().for_each(|thread| thread.add_work(Work::EXIT));
    }
}

/// Sleeps until `done` returns true, as it may when a thread of `process` or the process itself ends or executes a program. No
/// signal interrupts that but one that ends the running thread (Linux's TASK_KILLABLE): EINTR.
pub fn wait_for(process: &Process, mut done: impl FnMut() -> bool) -> Result<(), Errno> {
    wait_unless_killed(&process.exit_source, &mut done)
}

/// Sleeps on `source` until `done` returns true. No signal interrupts that but one that ends the running thread: EINTR.
pub fn wait_unless_killed(source: &PollSource, done: &mut dyn FnMut() -> bool) -> Result<(), Errno> {
    let me = crate::this::with(Arc::clone);
    if done() {
        return Ok(());
    }
    // Without a place in the list the thread looks again from time to time.
    let id = source.subscribe_thread(me.clone(), Events::all()).ok();
    let outcome = loop {
        if done() {
            break Ok(());
        }
        if me.work().any(Work::EXIT) {
            break Err(Errno::INTR);
        }
        sched::park(id.is_none().then(|| time::now_ns() + LOOK_EVERY_NS), false);
    };
    if let Some(id) = id {
        source.unsubscribe(id);
    }
    outcome
}

/// A signal whose default action ends the process. `crash`: tell where it happened.
pub fn by_signal(thread: &Arc<Thread>, context: &UserContext, info: SigInfo, crash: bool) -> ! {
    if crash {
        report::program(thread, context, &info);
        debug::wait_for_core(thread, context, &info);
        if thread.process.pid == process::FIRST {
            // The machine ends with it.
            events::report();
        }
    }
    exit_group(thread, context, ExitStatus::Killed(info.signal, crash))
}

/// Ends the running thread (exit(2)), whose registers its tracer may want to see; the last one ends its process. Never returns.
pub fn exit_thread(thread: &Arc<Thread>, context: &UserContext, status: ExitStatus) -> ! {
    // The caller may lend us a reference that lives on this stack; ours must not outlive the last switch.
    let thread = thread.clone();
    call_trace::ended(&thread, context);
    // What it does from here on, as to touch the memory of its futexes, is not to be cut short.
    thread.work().clear(Work::EXIT);
    if status != ExitStatus::Killed(abi::SIGKILL, false) {
        let message = status.wait_status() as u32;
        ptrace::event(&thread, &mut context.clone(), pt::PTRACE_EVENT_EXIT, message.into());
    }
    thread.work().set(Work::ENDS);
    release_futexes(&thread);
    let process = thread.process.clone();
    perf::ended(&thread);
    usage::thread_ends(&thread);
    let left = process.remove_thread(&thread);
    ptrace::thread_ended(&thread, status);
    if let Some(space) = process.pid_space()
        && thread.tid() != process.pid
    {
        space.leave(thread.tid(), false);
    }
    futex_pi::owner_ended(&thread);
    if left == 0 {
        let status = process.exiting.lock().unwrap_or(status);
        finish(&process, status);
    } else {
        if thread.work().any(Work::SIGNAL) && process.exiting.lock().is_none() {
            let accepted = thread.signals.lock().accepted();
            signal::retarget(&thread, accepted);
        }
        end_workers(&process, status);
        // exec(2) waits for the others to be gone.
        process.exit_source.notify(Events::IN);
    }
    drop(process);
    later::run(&thread);
    drop(thread);
    sched::exit()
}

/// Ends the process if no thread of it but workers is left (`syscall::uring`).
fn end_workers(process: &Process, status: ExitStatus) {
    let threads = process.threads.lock();
    if threads.iter().all(|thread| thread.work().any(Work::WORKER)) {
        end_threads(process, &threads, status);
    }
}

/// Tells those who wait for the thread: CLONE_CHILD_CLEARTID, robust futexes.
fn release_futexes(thread: &Arc<Thread>) {
    let robust = thread.robust_list.swap(0, Relaxed);
    if robust != 0 {
        futex::release_robust_list(thread, robust);
    }
    let clear = thread.clear_child_tid.swap(0, Relaxed);
    if clear != 0 && user::write_u32(clear, 0).is_ok() {
        let _ = futex::wake_word(clear, 1);
    }
}

/// What higher layers do at the end of a process.
pub struct Ending {
    /// Undoes what the process did to others (semop(2), SEM_UNDO).
    pub undo: fn(&Process),
    /// Frees what was put aside of files that went with its memory.
    pub free: fn(),
}

coracle_hal::hook! {
    $ pub
    /// What higher layers do at the end of a process.
    ending: coracle_core::task::exit::Ending = "coracle_ending", given by give_ending
}

/// Undoes what a process did to others (semop(2), SEM_UNDO).
pub(super) fn undo(process: &Process) {
    (ending().undo)(process);
}

/// The last thread of a process is ending.
fn finish(process: &Arc<Process>, status: ExitStatus) {
    debug::ended(process, status.wait_status());
    // What disks carry out is waited for, also before the machine ends.
    process.aio.program_ended();
    process.uring.program_ended();
    let first = process.parent().is_none();
    if first {
        // The program the machine was started for: the machine ends with it.
        process.descriptors.close_all();
        super::farewell::end_others(process);
        power::off(status.shell_status());
    }
    if process.is_init() {
        pid_space::end_space(process);
    }
    process.timers.clear();
    process.descriptors.leave();
    terminal::process_ended(process);
    undo(process);
    process.leave_files();
    // Its page tables go with the last reference; this CPU leaves them first.
    let old = process.replace_memory(Memory::none().clone());
    crate::this::with(|me| sched::use_memory(me));
    Memory::end(old);
    (ending().free)();
    process.vfork_done.store(true, Release);
    hand_over_children(process);
    *process.exiting.lock() = Some(status);
    process.dead.store(true, SeqCst);
    // One that was stopped when it was killed is stopped no longer.
    super::orphans::count(process.stopped.swap(0, Relaxed), 0);
    if let Some(parent) = process.parent() {
        super::orphans::connection_lost(&parent, process);
    }
    process.note_end();
    process.exit_source.notify(Events::IN);
    ptrace::tracer_ended(process);
    if !ptrace::process_ended(process, status) {
        tell_parent(process, status);
    }
}

/// Tells the parent of the end of `process`: whichever it is by now, as parents end, too.
pub(super) fn tell_parent(process: &Arc<Process>, status: ExitStatus) {
    let Some(parent) = process.parent() else { return process::forget(process.pid) };
    let action = parent.signals.lock().action(abi::SIGCHLD);
    let signal = process.exit_signal.load(Relaxed);
    // clone(2) takes any number, of which those that are no signals mean none.
    if (1..=signal::MAX_SIGNAL).contains(&signal) {
        let (code, value) = status.child_code();
        let uid = process.credentials.lock().uid[0];
        let info = SigInfo { signal, ..SigInfo::child(code, parent.sees(process.pid), uid, value) };
        signal::send_to_process(&parent, info);
    }
    process.told.store(true, Release);
    let unwanted = action.handler == signal::IGNORE || action.flags & u64::from(abi::SA_NOCLDWAIT) != 0;
    if signal == abi::SIGCHLD && unwanted {
        let reaped = {
            let mut family = parent.family.lock();
            parent.has_child(process) && family.remove(process)
        };
        if reaped {
            process::forget(process.pid);
        }
    }
    parent.child_events.notify(Events::IN);
    if parent.pid == 0
        && let Some(first) = process::by_pid(1)
    {
        // The kernel started it; the first process waits for all others in the end (`farewell`).
        first.child_events.notify(Events::IN);
    }
}

/// Children of a process that ends go to the nearest subreaper or the first process.
fn hand_over_children(process: &Arc<Process>) {
    while let Some(child) = process.leave_child() {
        let Some(heir) = process.heir() else { return };
        child.exit_signal.store(abi::SIGCHLD, Relaxed);
        child.join_family(heir);
        super::orphans::connection_lost(process, &child);
        let death = child.parent_death_signal.load(Relaxed);
        if death != 0 {
            signal::send_to_process(&child, SigInfo::kernel(death));
        }
        // One that ended before may have told the wrong parent.
        if child.dead.load(SeqCst) {
            let status = child.exiting.lock().unwrap_or(ExitStatus::Exited(0));
            child.note_end();
            tell_parent(&child, status);
        }
    }
}
