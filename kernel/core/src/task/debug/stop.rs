//! The thread's side: where it is held, and what holds it.
use super::breakpoints;
use super::held::{Held, INFO_BYTES, SIGNAL, STEP};
use super::session::{self, attached, hold_all, is_stopped, post, wants_cores};
use crate::arch::debug as arch;
use crate::arch::registers;
use crate::log::{self, Line};
use crate::mm::patch;
use crate::task::signal::{self, SI_USER, SigInfo};
use crate::task::thread::{Thread, Work};
use crate::task::{ptrace, sched};
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_control::{DebugEvent, debug_event as event};
use coracle_fallible::try_box;
use coracle_hal::context::{Fault, UserContext};
use coracle_hal::sync::atomic::Ordering::*;
use linux_raw_sys::general as abi;

/// The thread is about to enter its program, and is to be held ([`Work::HOLD`]).
pub fn rest(thread: &Arc<Thread>, context: &mut UserContext) {
    if ptrace::interrupted(thread, context) {
        return;
    }
    if attached(&thread.process)
        && let Some(address) = breakpoints::take_kernel_hit()
    {
        event_of(thread, event::WATCHPOINT, 0, address);
    } else if thread.debug.wish.load(SeqCst) & STEP != 0 && attached(&thread.process) {
        thread.debug.wish.fetch_and(!STEP, SeqCst);
        event_of(thread, event::STEP, 0, 0);
    } else if !is_stopped(&thread.process) {
        // It was let go meanwhile, or began while others were held.
        thread.work().clear(Work::HOLD);
        return;
    }
    stay(thread, context, [0; INFO_BYTES]);
}

/// Stays where it is until it is let go, with the registers that the debugger gave it by then.
fn stay(thread: &Arc<Thread>, context: &mut UserContext, info: [u8; INFO_BYTES]) {
    loop {
        // Without memory the debugger does not see its registers, but it waits all the same.
        *thread.debug.held.lock() = try_box(Held { context: *context, info, fpu: Vec::new() }).ok();
        while thread.work().any(Work::HOLD) && !thread.work().any(Work::EXIT) {
            sched::park_aside(None);
        }
        let held = thread.debug.held.lock().take();
        if let Some(held) = held {
            *context = held.context;
        }
        let steps = thread.debug.wish.load(SeqCst) & STEP != 0 && !thread.work().any(Work::EXIT);
        if !steps || !patch::step(&thread.process.memory(), context) {
            break;
        }
        thread.debug.wish.fetch_and(!STEP, SeqCst);
        event_of(thread, event::STEP, 0, 0);
    }
    let steps = thread.debug.wish.load(SeqCst) & STEP != 0;
    thread.debug.traps.store(steps, SeqCst);
    arch::set_step(context, steps);
}

/// Holds all threads of the process, and posts an event of `thread`.
fn event_of(thread: &Thread, kind: u64, number: u64, address: u64) {
    let process = &thread.process;
    let was_stopped = is_stopped(process);
    hold_all(process);
    // A breakpoint is met again, and a step repeated, when a process goes on that stopped for another reason meanwhile.
    if !was_stopped || !matches!(kind, event::BREAKPOINT | event::STEP) {
        post(process, DebugEvent { kind, tid: thread.tid() as u64, number, address });
    }
}

/// An exception of the program: whether it is the debugger's, and was dealt with.
pub fn take_fault(thread: &Arc<Thread>, context: &mut UserContext, fault: &Fault) -> bool {
    if arch::is_breakpoint(fault) {
        if !breakpoints::is_any() {
            return false;
        }
        let address = registers::pc(context) - arch::AFTER_BREAKPOINT;
        if breakpoints::is_gone(&thread.process, address) || breakpoints::take_foreign(thread, address) {
            registers::set_pc(context, address as u64);
            return true;
        }
        if !attached(&thread.process) || !breakpoints::is_set(&thread.process, address) {
            return false;
        }
        registers::set_pc(context, address as u64);
        event_of(thread, event::BREAKPOINT, 0, 0);
    } else if arch::is_trap(fault) {
        if !attached(&thread.process) && !thread.debug.traps.load(SeqCst) {
            return false;
        }
        let hits = coracle_hal::breakpoint::take_hits();
        if let Some(address) = breakpoints::watched(hits) {
            event_of(thread, event::WATCHPOINT, 0, address);
        } else if hits & coracle_hal::breakpoint::STEPPED != 0 && thread.debug.traps.swap(false, SeqCst) {
            arch::set_step(context, false);
            if thread.debug.traced.is_on() {
                let trap = SigInfo::fault(abi::SIGTRAP, abi::TRAP_TRACE as i32, registers::pc(context));
                signal::force(thread, trap);
                return true;
            }
            let wished = thread.debug.wish.fetch_and(!STEP, SeqCst) & STEP != 0;
            if wished && attached(&thread.process) {
                event_of(thread, event::STEP, 0, 0);
            }
        } else {
            return false;
        }
    } else {
        return false;
    }
    if thread.work().any(Work::HOLD) {
        stay(thread, context, [0; INFO_BYTES]);
    }
    true
}

/// Offers a signal that is about to be delivered to the debugger; returns what is delivered in its place.
pub fn offer(thread: &Arc<Thread>, context: &mut UserContext, info: SigInfo) -> Option<SigInfo> {
    if !attached(&thread.process) {
        return Some(info);
    }
    event_of(thread, event::SIGNAL, info.signal.into(), 0);
    stay(thread, context, info.to_bytes());
    if !attached(&thread.process) {
        return Some(info);
    }
    match thread.debug.wish.load(SeqCst) & SIGNAL {
        0 => None,
        signal if signal == info.signal => Some(info),
        signal => Some(SigInfo::user(signal, SI_USER, 0, 0)),
    }
}

/// The program is about to be ended by a signal: waits, with all its threads, until its core was dumped, if that is
/// wanted. A debugger that has it has seen the signal.
pub fn wait_for_core(thread: &Arc<Thread>, context: &UserContext, info: &SigInfo) {
    let process = &thread.process;
    let dumps =
        wants_cores() && process.limits.soft(abi::RLIMIT_CORE) != 0 && process.dumpable.load(Relaxed) != 0;
    if !dumps || attached(process) || session::attach(process).is_err() {
        return;
    }
    log::write(Line::Core, format_args!("{} {} {}", process.pid, thread.tid(), info.signal));
    let mut context = *context;
    stay(thread, &mut context, info.to_bytes());
}
