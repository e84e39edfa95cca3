//! Processes that a debugger has attached to.
use super::breakpoints::{self, Breakpoint};
use super::held::{SIGNAL, STEP};
use crate::errno::Errno;
use crate::lock::Mutex;
use crate::task::limits;
use crate::task::process::Process;
use crate::task::ptrace::Ended;
use crate::task::sched;
use crate::task::signal::MAX_SIGNAL;
use crate::task::thread::{Thread, Work};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_control::{DebugEvent, Resume, debug_event as event, resume_flag};
use coracle_hal::once::Once;
use coracle_hal::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering::*};
use linux_raw_sys::general as abi;

/// A process's part.
#[derive(Default)]
pub struct Session {
    /// How it is attached: bits.
    state: AtomicU32,
    /// What is to be told.
    events: Mutex<VecDeque<DebugEvent>>,
    /// Breakpoints that are set.
    pub(super) breakpoints: Mutex<Vec<Breakpoint>>,
    /// The ids of the threads that it traces (ptrace(2)), and those of them that have ended. A process's first thread is among the
    /// former until all others have ended, too.
    pub tracees: Mutex<Vec<i32>>,
    /// See above.
    pub ended: Mutex<VecDeque<Ended>>,
    /// The process that traces its first thread; 0: none does.
    pub leader_tracer: AtomicI32,
    /// It has ended, and its parent is told when the tracer knows.
    pub is_kept: AtomicBool,
}

/// A debugger has it.
const ATTACHED: u32 = 1;
/// Its threads are to be held, but for those that go on.
const STOPPED: u32 = 2;

/// Told of events.
pub trait Listener: Send + Sync {
    /// There is one. Called by the thread that causes it, with no lock held.
    fn happened(&self);
}

static LISTENER: Once<&'static dyn Listener> = Once::new();
static WANTS_CORES: AtomicBool = AtomicBool::new(false);
static WANTS_START: AtomicBool = AtomicBool::new(false);

/// Has `listener` told of events from now on.
pub fn listen(listener: &'static dyn Listener) {
    LISTENER.call_once(|| listener);
}

/// Has processes that crash wait for their core dump from now on.
pub fn want_cores() {
    WANTS_CORES.store(true, Relaxed);
}

/// Has the first process wait for its debugger.
pub fn want_start() {
    WANTS_START.store(true, Relaxed);
}

pub(super) fn wants_cores() -> bool {
    WANTS_CORES.load(Relaxed)
}

/// Whether a debugger has the process.
pub fn attached(process: &Process) -> bool {
    process.debug.state.load(Acquire) & ATTACHED != 0
}

pub(super) fn is_stopped(process: &Process) -> bool {
    process.debug.state.load(Acquire) & STOPPED != 0
}

/// Attaches to a process, and stops it. EBUSY if that is done already.
pub fn attach(process: &Arc<Process>) -> Result<(), Errno> {
    let session = &process.debug;
    // Room for what must not be lost.
    session.events.lock().try_reserve(MOST_EVENTS).map_err(|_| Errno::NOMEM)?;
    if session.state.fetch_or(ATTACHED, SeqCst) & ATTACHED != 0 {
        return Err(Errno::BUSY);
    }
    hold_all(process);
    Ok(())
}

/// Prepares the first process, whose thread has not run yet: it may dump its core where that is wanted, and waits for its debugger.
pub fn begin(process: &Process, thread: &Thread) {
    if wants_cores() {
        process.limits.set(abi::RLIMIT_CORE, limits::INFINITY, limits::INFINITY);
    }
    if WANTS_START.load(Relaxed) {
        process.debug.state.fetch_or(STOPPED, SeqCst);
        thread.work().set(Work::HOLD);
    }
}

/// Detaches from a process: takes away what was set, and lets it go on. ESRCH if no debugger has it: it may wait for one.
pub fn detach(process: &Arc<Process>) -> Result<(), Errno> {
    check(process)?;
    breakpoints::forget(process);
    let session = &process.debug;
    session.events.lock().clear();
    session.state.store(0, SeqCst);
    for thread in process.threads.lock().iter() {
        // The flags of one in a system call may have the step of before: `traps` knows.
        thread.debug.wish.store(0, SeqCst);
        release(thread);
    }
    Ok(())
}

/// Holds all threads where they next enter the program.
pub(super) fn hold_all(process: &Process) {
    process.debug.state.fetch_or(STOPPED, SeqCst);
    process.threads.lock().iter().for_each(|thread| thread.add_work(Work::HOLD));
}

/// Lets a thread go on.
fn release(thread: &Arc<Thread>) {
    thread.work().clear(Work::HOLD);
    sched::unpark(thread);
}

/// Stops a process that runs: [`event::STOPPED`] follows.
pub fn stop(process: &Arc<Process>) -> Result<(), Errno> {
    check(process)?;
    if !is_stopped(process) {
        hold_all(process);
        post(process, DebugEvent { kind: event::STOPPED, ..DebugEvent::default() });
    }
    Ok(())
}

/// Lets a process go on, unless an event waits to be told.
pub fn resume(process: &Arc<Process>, wishes: &[u8]) -> Result<(), Errno> {
    check(process)?;
    if !process.debug.events.lock().is_empty() {
        tell();
        return Ok(());
    }
    process.debug.state.fetch_and(!STOPPED, SeqCst);
    for thread in process.threads.lock().iter() {
        let tid = thread.tid() as u32;
        let wish = Resume::decode_all(wishes).find(|wish| wish.tid == tid);
        let wish = wish.or_else(|| Resume::decode_all(wishes).find(|wish| wish.tid == 0)).unwrap_or_default();
        if wish.flags & resume_flag::HOLD != 0 {
            continue;
        }
        let signal = u32::from(wish.signal);
        let signal = if signal <= MAX_SIGNAL { signal & SIGNAL } else { 0 };
        let step = if wish.flags & resume_flag::STEP != 0 { STEP } else { 0 };
        thread.debug.wish.store(signal | step, SeqCst);
        // The step of one in a system call ends with the call, where it is held anyway.
        if step == 0 || thread.debug.held.lock().is_some() {
            release(thread);
        }
    }
    Ok(())
}

/// ESRCH if no debugger has the process.
pub(super) fn check(process: &Process) -> Result<(), Errno> {
    if attached(process) { Ok(()) } else { Err(Errno::SRCH) }
}

/// Events that wait at most: what comes beyond is one of many threads that stop at the same time, and comes again.
const MOST_EVENTS: usize = 64;

/// An event of an attached process.
pub(super) fn post(process: &Process, event: DebugEvent) {
    {
        let mut events = process.debug.events.lock();
        if events.len() < events.capacity() {
            events.push_back(event);
        }
    }
    tell();
}

fn tell() {
    if let Some(listener) = LISTENER.get() {
        listener.happened();
    }
}

/// The next event of a process. ESRCH if no debugger has it.
pub fn next_event(process: &Process) -> Result<Option<DebugEvent>, Errno> {
    let next = process.debug.events.lock().pop_front();
    if next.is_none() {
        check(process)?;
    }
    Ok(next)
}

/// A process has ended, with this status of wait(2).
pub fn ended(process: &Process, status: i32) {
    if attached(process) {
        let number = status as u32 as u64;
        let tid = process.pid as u64;
        post(process, DebugEvent { kind: event::EXITED, tid, number, address: 0 });
    }
}

/// A process executes another program, whose memory has none of its breakpoints.
pub fn executed(process: &Process, thread: &Thread) {
    if attached(process) {
        process.debug.breakpoints.lock().clear();
        hold_all(process);
        let tid = thread.tid() as u64;
        post(process, DebugEvent { kind: event::EXECUTED, tid, ..DebugEvent::default() });
    }
}
