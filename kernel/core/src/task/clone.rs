//! New threads and processes (clone(2), fork(2), vfork(2)).
use super::debug;
use super::process::{self, Process};
use super::signal::{self, SigInfo};
use super::thread::{Thread, Work};
use super::{exec, exit, limits, namespaces, ptrace, sched};
use super::{perf, pid_space};
use crate::arch::registers;
use crate::errno::Errno;
use crate::mm::{reclaim, user};
use alloc::sync::Arc;
use coracle_fallible::try_arc;
use coracle_hal::context::UserContext;
use coracle_hal::frame::{self, FRAME_SIZE};
use coracle_hal::sync::atomic::{AtomicUsize, Ordering::*};
use coracle_hal::task::{self, KERNEL_STACK_SIZE};
use linux_raw_sys::general as abi;
use linux_raw_sys::ptrace as pt;

/// What clone(2) and clone3(2) ask for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request {
    /// CLONE_*.
    pub flags: u64,
    /// Signal for the parent at the end.
    pub exit_signal: u32,
    /// New stack pointer; 0: the caller's.
    pub stack: usize,
    /// Where the parent gets the id (CLONE_PARENT_SETTID).
    pub parent_tid: usize,
    /// Where the child gets it (CLONE_CHILD_SETTID) and where it is cleared (CLONE_CHILD_CLEARTID).
    pub child_tid: usize,
    /// Thread pointer (CLONE_SETTLS).
    pub tls: u64,
    /// Where a descriptor for the child goes (CLONE_PIDFD).
    pub pidfd: usize,
}

impl Request {
    fn has(&self, flag: u32) -> bool {
        self.flags & u64::from(flag) != 0
    }
}

/// Namespaces, which a process can have others of than its maker.
const NAMESPACES: u32 = namespaces::KINDS;

/// Threads that have not run yet.
static NEW: AtomicUsize = AtomicUsize::new(0);

/// Frames that a thread wants at once when it begins to run: the next page of its program's stack, and one that it writes to, or a page
/// table.
const FRAMES_TO_BEGIN: usize = 2;

/// EAGAIN unless there is memory for one more thread, with what it and all that have not run yet want when they begin. A new thread's
/// memory can be refused here; for its first page another process would be killed, or its own.
fn check_room() -> Result<(), Errno> {
    let wanted = KERNEL_STACK_SIZE / FRAME_SIZE + (NEW.load(Relaxed) + 1) * FRAMES_TO_BEGIN;
    while !frame::has_for_threads(wanted) {
        if !reclaim::make_room() {
            return Err(Errno::AGAIN);
        }
    }
    Ok(())
}

/// The running thread, which [`clone()`] has made, begins to run.
pub fn begins(thread: &Thread) {
    thread.work().clear(Work::NEW);
    NEW.fetch_sub(1, Relaxed);
}

/// Makes a thread or a process; gives its id as the parent sees it. `set_tid`: the ids that it is to have, that in its own PID namespace
/// first (clone3(2)). EINVAL, EPERM, ENOMEM, EAGAIN, EEXIST.
pub fn clone(
    parent: &Arc<Thread>,
    registers: &UserContext,
    request: Request,
    set_tid: &[i32],
) -> Result<i32, Errno> {
    let thread = request.has(abi::CLONE_THREAD);
    let shares_memory = request.has(abi::CLONE_VM);
    let shares_handlers = request.has(abi::CLONE_SIGHAND);
    let grandparent = if request.has(abi::CLONE_PARENT) { parent.process.parent() } else { None };
    let wants_pidfd = request.has(abi::CLONE_PIDFD);
    if (thread && !shares_handlers)
        || (shares_handlers && !shares_memory)
        || (thread && wants_pidfd)
        || (wants_pidfd && request.has(abi::CLONE_PARENT_SETTID) && request.pidfd == request.parent_tid)
        || (shares_handlers && request.flags & abi::CLONE_CLEAR_SIGHAND != 0)
        || (request.has(abi::CLONE_SYSVSEM) && request.has(abi::CLONE_NEWIPC))
        || (request.has(abi::CLONE_FS) && (request.has(abi::CLONE_NEWNS) || request.has(abi::CLONE_NEWUSER)))
        // The first process has no parent, and a namespace's init no brothers (clone(2), "ERRORS").
        || (request.has(abi::CLONE_PARENT) && (grandparent.is_none() || parent.process.is_init()))
    {
        return Err(Errno::INVAL);
    }
    let is_alone = thread
        && (request.flags as u32 & NAMESPACES != 0 || parent.process.sends_children_away.load(Relaxed));
    if is_alone || request.flags & abi::CLONE_INTO_CGROUP != 0 {
        return Err(Errno::INVAL);
    }
    if request.has(abi::CLONE_SETTLS) && !task::is_user_base(request.tls) {
        return Err(Errno::PERM);
    }
    check_room()?;
    limits::check_threads(&parent.process)?;
    let space = parent.process.pid_space_of_children();
    let level = space.as_ref().map_or(0, |space| space.level()) + usize::from(request.has(abi::CLONE_NEWPID));
    let id = match set_tid.get(level) {
        _ if set_tid.len() > level + 1 => return Err(Errno::INVAL),
        None => process::new_id(),
        Some(&wanted) => {
            pid_space::check_choice(wanted, true, None)?;
            process::take_id(wanted)?
        }
    };
    let process = if thread { parent.process.clone() } else { new_process(parent, id, &request)? };
    let space = if request.has(abi::CLONE_NEWPID) { process.pid_space_of_children() } else { space };
    let entry = space.map(|space| space.enter(id, set_tid)).transpose()?;
    let mut context = *registers;
    registers::set_result(&mut context, 0);
    if request.stack != 0 {
        registers::set_sp(&mut context, request.stack as u64);
    }
    let fs_base = if request.has(abi::CLONE_SETTLS) { request.tls } else { parent.task.fs_base() };
    let own_id = entry.as_ref().map_or(id, |entry| entry.own);
    // Once it runs it may be gone before we look again.
    let seen = parent.process.sees(id);
    let child = Thread::new(process.clone(), id, &context, fs_base, true)?;
    child.set_tid(id, own_id);
    if let Some(entry) = entry.as_ref().filter(|_| !thread) {
        process.enter_pids(entry);
    }
    child.task.set_gs_base(parent.task.gs_base());
    child.copy_name(parent);
    child.set_scheduling(parent.scheduling().of_child());
    child.memory_policy.store(parent.memory_policy.load(Relaxed), Relaxed);
    if !shares_memory {
        child.rseq_signature.store(parent.rseq_signature.load(Relaxed), Relaxed);
        child.rseq_len.store(parent.rseq_len.load(Relaxed), Relaxed);
        child.rseq.store(parent.rseq.load(Relaxed), Relaxed);
        child.disturbed();
    }
    child.io_priority.store(parent.io_priority.load(Relaxed), Relaxed);
    sched::inherit(&child, parent);
    {
        let theirs = parent.signals.lock();
        let mut own = child.signals.lock();
        own.mask = theirs.mask;
        if !shares_memory || request.has(abi::CLONE_VFORK) {
            own.alt_stack = theirs.alt_stack;
        }
    }
    if request.has(abi::CLONE_CHILD_CLEARTID) {
        child.clear_child_tid.store(request.child_tid, Relaxed);
    }
    // As on Linux, an address that can't be written is no reason to fail.
    if request.has(abi::CLONE_PARENT_SETTID) {
        let _ = user::write_u32(request.parent_tid, seen as u32);
    }
    if request.has(abi::CLONE_CHILD_SETTID) {
        let _ = process.memory().write(request.child_tid, &own_id.to_le_bytes());
    }
    // The last that can fail, but for a process that is ending: no process has seen the child yet.
    if request.has(abi::CLONE_PIDFD) {
        let fd = crate::ipc::pidfd::open(parent, &process, 0)?;
        if let Err(error) = user::write_u32(request.pidfd, fd as u32) {
            let _ = parent.process.descriptors.remove(fd);
            return Err(error);
        }
    }
    process.add_thread(&child, parent)?;
    // It is listed by now: filters that another thread gives to all reach it, too.
    child.filters.inherit(&parent.filters);
    if !thread {
        let family = grandparent.unwrap_or_else(|| parent.process.clone());
        if let Err(error) = process.publish(&parent.process) {
            process.remove_thread(&child);
            return Err(error);
        }
        process.join_family(family);
    }
    if let Some(entry) = entry {
        entry.keep();
        if process.pid_space().is_some_and(|space| space.is_closed()) {
            // Its namespace's init process ended meanwhile, and may not have seen it.
            signal::send_to_process(&process, SigInfo::kernel(abi::SIGKILL));
        }
    }
    // For lack of memory the child is not traced.
    let event = ptrace::new_child(parent, &child, &request).unwrap_or(None);
    let told = ptrace::tracer_sees(parent, id) as u64;
    perf::inherit(&child, parent);
    NEW.fetch_add(1, Relaxed);
    child.work().set(Work::NEW);
    sched::start(child);
    let mut own = *registers;
    if let Some(event) = event {
        ptrace::event(parent, &mut own, event, told);
    }
    if request.has(abi::CLONE_VFORK) && !thread {
        // The child runs on the caller's stack until it has called exec or has ended, so a signal with a handler waits; one that
        // ends the process ends the sleep (Linux's `wait_for_vfork_done`): what is shared lives as long as the child.
        let _ = exit::wait_for(&process, || process.vfork_done.load(Acquire));
        ptrace::event(parent, &mut own, pt::PTRACE_EVENT_VFORK_DONE, told);
    }
    Ok(seen)
}

/// The process of a new child, which is in no table yet. ENOMEM.
fn new_process(parent: &Arc<Thread>, pid: i32, request: &Request) -> Result<Arc<Process>, Errno> {
    let from = &parent.process;
    let memory = if request.has(abi::CLONE_VM) { from.memory() } else { from.memory().duplicate()? };
    if !request.has(abi::CLONE_VM) {
        debug::leave_child(from, &memory);
    }
    let descriptors = if request.has(abi::CLONE_FILES) {
        from.descriptors.table()
    } else {
        try_arc(from.descriptors.duplicate()?)?
    };
    let fs = if request.has(abi::CLONE_FS) { from.fs.clone() } else { try_arc(from.fs.duplicate())? };
    let process = Process::new(pid, memory, descriptors, fs)?;
    {
        let mut signals = process.signals.lock();
        *signals = from.signals.lock().inherit(request.has(abi::CLONE_SIGHAND))?;
        if request.flags & abi::CLONE_CLEAR_SIGHAND != 0 {
            signals.reset_handlers();
        }
    }
    from.limits.copy_to(&process.limits);
    process.timers.limit_cpu(&process)?;
    *process.credentials.lock() = from.credentials.lock().try_clone()?;
    process.is_mapped.store(from.is_mapped.load(Relaxed), Relaxed);
    let namespaces = from.namespaces.lock().clone();
    *process.namespaces.lock() = namespaces;
    if request.flags as u32 & NAMESPACES != 0 {
        namespaces::renew(from, &process, request.flags as u32 & NAMESPACES)?;
    }
    process.clock_offsets.inherit(&from.clock_offsets);
    // One that shares memory shares the vDSO, too, and with it the time.
    if !request.has(abi::CLONE_VM) && process.enter_time_of_children() {
        exec::replace_vdso(&process)?;
    }
    *process.program.lock() = from.program.lock().clone();
    process.group.store(from.group.load(Relaxed), Relaxed);
    process.session.store(from.session.load(Relaxed), Relaxed);
    process.controlled.inherit(&from.controlled);
    // To its own parent a sibling is one child as the other.
    let sibling = request.has(abi::CLONE_PARENT);
    let exit_signal = if sibling { from.exit_signal.load(Relaxed) } else { request.exit_signal };
    process.exit_signal.store(exit_signal, Relaxed);
    process.dumpable.store(from.dumpable.load(Relaxed), Relaxed);
    process.dump_filter.store(from.dump_filter.load(Relaxed), Relaxed);
    process.no_huge_pages.store(from.no_huge_pages.load(Relaxed), Relaxed);
    process.no_new_privileges.store(from.no_new_privileges.load(Relaxed), Relaxed);
    process.personality.store(from.personality.load(Relaxed), Relaxed);
    *process.keyrings.lock() = from.keyrings.lock().inherit();
    process.login.inherit(&from.login);
    process.oom.inherit(&from.oom);
    process.vfork_done.store(!request.has(abi::CLONE_VFORK), Relaxed);
    Ok(process)
}
