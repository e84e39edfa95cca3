//! The side of a traced thread: where it stops.
use super::trace::{attach, took_over};
use crate::arch::{debug as arch, registers};
use crate::errno::Errno;
use crate::ipc::poll::Events;
use crate::mm::patch;
use crate::task::clone::Request;
use crate::task::debug::held::{Held, INFO_BYTES, Stop, StopKind, TracedState};
use crate::task::process;
use crate::task::sched;
use crate::task::signal::{self, MAX_SIGNAL, SI_USER, SigInfo};
use crate::task::thread::{Thread, Work};
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_fallible::prelude::*;
use coracle_fallible::try_box;
use coracle_hal::context::UserContext;
use coracle_hal::fpu;
use coracle_hal::sync::atomic::Ordering::*;
use core::convert::Infallible;
use linux_raw_sys::general as abi;
use linux_raw_sys::ptrace as pt;

/// Stops of calls are told from others by this bit of their signal (PTRACE_O_TRACESYSGOOD).
const OF_CALL: u32 = 0x80;

/// Lets a thread look whether it may go on.
pub fn wake(thread: &Arc<Thread>) {
    sched::unpark(thread);
}

/// Stands still until the tracer lets the thread go on; the signal that it is given then. 0 also if there is no tracer any more.
fn stay(
    thread: &Arc<Thread>,
    context: &mut UserContext,
    stop: Stop,
    info: &mut [u8; INFO_BYTES],
    message: u64,
) -> u32 {
    let traced = &thread.debug.traced;
    loop {
        arch::set_step(context, false);
        let mut area = Vec::new();
        // Without memory the tracer does not see the registers.
        let saved = fpu::saved(|state| area.try_extend_from_slice(state));
        let held = saved.and_then(|()| try_box(Held { context: *context, info: *info, fpu: area }));
        *thread.debug.held.lock() = held.ok();
        {
            let mut state = traced.state.lock();
            if !traced.is_on() || thread.work().any(Work::EXIT) {
                break;
            }
            (state.stop, state.is_reported, state.message) = (Some(stop), false, message);
            (state.signal, state.listens) = (0, false);
        }
        tell(thread, stop);
        while !thread.work().any(Work::EXIT) && traced.is_stopped() {
            let stopped = thread.process.stopped.load(SeqCst);
            let again = {
                let mut state = traced.state.lock();
                let is_new = state.listens && (stopped == 0 || state.is_interrupted);
                is_new.then(|| {
                    // The process goes on, or the tracer wants to have it again (PTRACE_INTERRUPT): a new stop.
                    let signal = if stopped == 0 { abi::SIGTRAP } else { stopped };
                    let again = Stop { status: signal | pt::PTRACE_EVENT_STOP << 8, kind: StopKind::Group };
                    (state.stop, state.is_reported, state.listens) = (Some(again), false, false);
                    state.is_interrupted = false;
                    again
                })
            };
            if let Some(again) = again {
                tell(thread, again);
                continue;
            }
            sched::park_aside(None);
        }
        traced.state.lock().stop = None;
        if let Some(held) = thread.debug.held.lock().take() {
            *context = held.context;
            *info = held.info;
            // What the CPU would refuse changes nothing.
            let _: Result<bool, Infallible> = fpu::restore(|state| {
                state.iter_mut().zip(&held.fpu).for_each(|(to, from)| *to = *from);
                Ok(())
            });
        }
        let TracedState { steps, signal, .. } = *traced.state.lock();
        if !steps || signal != 0 || !patch::step(&thread.process.memory(), context) {
            thread.debug.traps.store(steps, SeqCst);
            arch::set_step(context, steps);
            return signal;
        }
        // The step is made already.
        let trap = SigInfo::fault(abi::SIGTRAP, abi::TRAP_TRACE as i32, registers::pc(context));
        *info = trap.to_bytes();
    }
    thread.debug.held.lock().take();
    0
}

/// Tells the tracer of a stop.
fn tell(thread: &Thread, stop: Stop) {
    let Some(tracer) = process::by_pid(thread.debug.traced.tracer.load(SeqCst)) else { return };
    let quiet = {
        let action = tracer.signals.lock().action(abi::SIGCHLD);
        action.handler == signal::IGNORE || action.flags & u64::from(abi::SA_NOCLDSTOP) != 0
    };
    if !quiet {
        let status = (stop.status & 0x7f) as i32;
        let info =
            SigInfo::child(abi::CLD_TRAPPED as i32, tracer.sees(thread.tid()), thread.process.user(), status);
        signal::send_to_process(&tracer, info);
    }
    tracer.child_events.notify(Events::IN);
}

/// The information of a stop that no signal is the cause of.
fn trap_info(thread: &Thread, code: u32) -> [u8; INFO_BYTES] {
    stop_info(thread, abi::SIGTRAP, code)
}

fn stop_info(thread: &Thread, signal: u32, code: u32) -> [u8; INFO_BYTES] {
    let tracer = process::by_pid(thread.debug.traced.tracer.load(SeqCst));
    let id = tracer.map_or(0, |tracer| tracer.sees(thread.tid()));
    SigInfo::user(signal, code as i32, id, thread.process.user()).to_bytes()
}

fn given(thread: &Arc<Thread>, signal: u32) -> SigInfo {
    let tracer = thread.debug.traced.tracer.load(SeqCst);
    let uid = process::by_pid(tracer).map_or(0, |tracer| tracer.user());
    SigInfo::user(signal, SI_USER, thread.process.sees(tracer), uid)
}

/// A signal is about to be delivered; what is delivered in its place.
pub fn signal_stop(thread: &Arc<Thread>, context: &mut UserContext, info: SigInfo) -> Option<SigInfo> {
    let mut bytes = info.to_bytes();
    let stop = Stop { status: info.signal, kind: StopKind::Signal };
    match stay(thread, context, stop, &mut bytes, 0) {
        0 => None,
        signal if signal == info.signal => Some(SigInfo::from_bytes(signal, &bytes)),
        signal => Some(given(thread, signal)),
    }
}

/// The process is stopped, and with it the thread.
pub fn group_stop(thread: &Arc<Thread>, context: &mut UserContext) {
    let signal = thread.process.stopped.load(SeqCst);
    let is_seized = thread.debug.traced.state.lock().is_seized;
    let event = if is_seized { pt::PTRACE_EVENT_STOP << 8 } else { 0 };
    let signal = if signal == 0 { abi::SIGTRAP } else { signal };
    let stop = Stop { status: signal | event, kind: StopKind::Group };
    let mut info = if is_seized { stop_info(thread, signal, signal | event) } else { [0; INFO_BYTES] };
    let signal = stay(thread, context, stop, &mut info, 0);
    send(thread, signal);
}

/// The thread is to stop without a signal, if it is (PTRACE_INTERRUPT, and new children of those that were seized).
pub fn interrupted(thread: &Arc<Thread>, context: &mut UserContext) -> bool {
    let is_meant = core::mem::take(&mut thread.debug.traced.state.lock().is_interrupted);
    if is_meant {
        let event = pt::PTRACE_EVENT_STOP;
        let stop = Stop { status: abi::SIGTRAP | event << 8, kind: StopKind::Group };
        let signal = stay(thread, context, stop, &mut trap_info(thread, abi::SIGTRAP | event << 8), 0);
        send(thread, signal);
    }
    is_meant
}

/// Sends a signal that the tracer gave at a stop of another kind.
fn send(thread: &Arc<Thread>, signal: u32) {
    if (1..=MAX_SIGNAL).contains(&signal) {
        signal::send_to_thread(thread, given(thread, signal));
    }
}

/// A call is about to be made, or was made.
pub fn call_stop(thread: &Arc<Thread>, context: &mut UserContext, kind: StopKind) {
    let options = thread.debug.traced.state.lock().options;
    let good = if options & pt::PTRACE_O_TRACESYSGOOD != 0 { OF_CALL } else { 0 };
    let message = if kind == StopKind::Entry {
        pt::PTRACE_EVENTMSG_SYSCALL_ENTRY
    } else {
        pt::PTRACE_EVENTMSG_SYSCALL_EXIT
    };
    let status = abi::SIGTRAP | good;
    let mut info = trap_info(thread, status);
    let signal = stay(thread, context, Stop { status, kind }, &mut info, message.into());
    send(thread, signal);
}

/// Whether a thread is traced with an option (PTRACE_O_*).
pub fn has_option(thread: &Thread, option: u32) -> bool {
    let traced = &thread.debug.traced;
    traced.is_on() && traced.state.lock().options & option != 0
}

/// An event has come that the tracer may have asked for (PTRACE_O_*); whether it has.
pub fn event(thread: &Arc<Thread>, context: &mut UserContext, event: u32, message: u64) -> bool {
    let asked = thread.debug.traced.is_on() && thread.debug.traced.state.lock().options & 1 << event != 0;
    if asked {
        let status = abi::SIGTRAP | event << 8;
        let mut info = trap_info(thread, status);
        let signal = stay(thread, context, Stop { status, kind: StopKind::Signal }, &mut info, message);
        send(thread, signal);
    }
    asked
}

/// The number that the tracer of a thread, if it has one, sees of what is `id` on the machine.
pub fn tracer_sees(thread: &Thread, id: i32) -> i32 {
    if !thread.debug.traced.is_on() {
        return 0;
    }
    let tracer = process::by_pid(thread.debug.traced.tracer.load(SeqCst));
    tracer.map_or(0, |tracer| tracer.sees(id))
}

/// A child that is about to run has its maker's tracer, if that wants it. Returns the event of its making. ENOMEM, EPERM.
pub fn new_child(parent: &Thread, child: &Arc<Thread>, request: &Request) -> Result<Option<u32>, Errno> {
    if !parent.debug.traced.is_on() || request.flags & u64::from(abi::CLONE_UNTRACED) != 0 {
        return Ok(None);
    }
    let state = *parent.debug.traced.state.lock();
    let event = if request.flags & u64::from(abi::CLONE_VFORK) != 0 {
        pt::PTRACE_EVENT_VFORK
    } else if request.exit_signal != abi::SIGCHLD {
        pt::PTRACE_EVENT_CLONE
    } else {
        pt::PTRACE_EVENT_FORK
    };
    let is_wanted = state.options & 1 << event != 0;
    if !is_wanted && request.flags & u64::from(abi::CLONE_PTRACE) == 0 {
        return Ok(None);
    }
    let Some(tracer) = process::by_pid(parent.debug.traced.tracer.load(SeqCst)) else { return Ok(None) };
    attach(&tracer, child, state.is_seized, state.options)?;
    if state.is_seized {
        child.debug.traced.state.lock().is_interrupted = true;
        child.work().set(Work::HOLD);
    } else {
        signal::send_to_thread(child, SigInfo::kernel(abi::SIGSTOP));
    }
    Ok(is_wanted.then_some(event))
}

/// The thread, whose id was `id`, which its tracer saw as `seen`, executes another program.
pub fn executed(thread: &Arc<Thread>, context: &mut UserContext, id: i32, seen: i32) {
    if id != thread.process.pid {
        took_over(thread, id);
    }
    let traced = &thread.debug.traced;
    if !traced.is_on() || event(thread, context, pt::PTRACE_EVENT_EXEC, seen as u64) {
        return;
    }
    if !traced.state.lock().is_seized {
        let info = SigInfo::user(abi::SIGTRAP, SI_USER, thread.process.own_pid(), thread.process.user());
        signal::send_to_thread(thread, info);
    }
}
