//! Delivery of pending signals when a thread returns to the program.
use super::info::{SigInfo, bit};
use super::state::{Action, DEFAULT, DefaultAction, IGNORE, default_action};
use crate::arch::{frame, registers};
use crate::errno::Errno;
use crate::task::thread::{Thread, Work};
use crate::task::{debug, exit, orphans, ptrace, rseq};
use alloc::sync::Arc;
use coracle_hal::context::UserContext;
use coracle_hal::sync::atomic::Ordering;
use linux_raw_sys::general as abi;

/// Delivers what is pending and not blocked. `in_call`: the thread comes from a system call, which may have to be
/// started again. Returns true if it is still to be decided, because the process stops first.
#[inline(never)]
pub fn deliver(thread: &Arc<Thread>, context: &mut UserContext, mut in_call: bool) -> bool {
    while let Some((info, action)) = next(thread) {
        let Some((info, action)) = offered(thread, context, info, action) else { continue };
        match action.handler {
            IGNORE => {}
            // It was blocked when it came (pid_namespaces(7), "The namespace init process").
            DEFAULT
                if thread.process.is_protected.load(Ordering::Relaxed)
                    && !matches!(info.signal, abi::SIGKILL | abi::SIGSTOP) => {}
            DEFAULT => match default_action(info.signal) {
                DefaultAction::Ignore | DefaultAction::Continue => {}
                // No process could let an orphaned group go on; SIGSTOP stops it all the same (setpgid(2), signal(7)).
                DefaultAction::Stop
                    if info.signal != abi::SIGSTOP
                        && orphans::is_orphaned(thread.process.group.load(Ordering::Relaxed)) => {}
                DefaultAction::Stop => {
                    thread.process.stop(info.signal);
                    // The stop is obeyed by the caller of this function.
                    return in_call;
                }
                DefaultAction::Terminate { crash } => exit::by_signal(thread, context, info, crash),
            },
            _ => {
                if core::mem::take(&mut in_call) {
                    restart(context, Some(action.flags));
                }
                let ready = rseq::before_handler(thread, context);
                if ready.and_then(|()| frame::push(thread, context, info, &action)).is_err() {
                    if thread.work().any(Work::EXIT) {
                        break;
                    }
                    // No room for the frame: the stack is broken.
                    let fault = SigInfo::kernel(abi::SIGSEGV);
                    exit::by_signal(thread, context, fault, true);
                }
            }
        }
    }
    if in_call {
        restart(context, None);
    }
    false
}

/// The signal that a debugger, if one has the process, lets the thread have in place of `info`, and what is done with it. What stops the
/// process is not asked about, as it is not the thread's alone.
#[inline(never)]
fn offered(
    thread: &Arc<Thread>,
    context: &mut UserContext,
    info: SigInfo,
    action: Action,
) -> Option<(SigInfo, Action)> {
    let own = if thread.debug.traced.is_on() {
        ptrace::signal_stop(thread, context, info)?
    } else if debug::attached(&thread.process) {
        debug::offer(thread, context, info)?
    } else {
        return Some((info, action));
    };
    let action =
        if own.signal == info.signal { action } else { thread.process.signals.lock().action(own.signal) };
    Some((own, action))
}

/// The next signal to act on, taken from what is pending.
fn next(thread: &Arc<Thread>) -> Option<(SigInfo, Action)> {
    let mut shared = thread.process.signals.lock();
    let mut own = thread.signals.lock();
    let allowed = !own.mask;
    let Some(taken) = super::send::take(thread, &mut shared, &mut own, allowed) else {
        thread.work().clear(Work::SIGNAL);
        return None;
    };
    let action = shared.action(taken.0.signal);
    if action.handler > IGNORE && action.flags & u64::from(abi::SA_RESETHAND) != 0 {
        shared.set_action(taken.0.signal, Action { handler: DEFAULT, ..action });
    }
    drop((own, shared));
    Some((taken.info(), action))
}

/// Decides how an interrupted call goes on (signal(7), "Interruption of system calls"): `handler` are the flags of the
/// handler that is to run, `None` if none is.
fn restart(context: &mut UserContext, handler: Option<u64>) {
    let result = registers::result(context);
    let error = Errno::new(result.unsigned_abs().try_into().unwrap_or(0));
    let again = match (error, handler) {
        // Done, or none: the context comes from a signal's frame.
        _ if result >= 0 || !registers::is_in_call(context) => return,
        (Errno::RESTARTSYS, Some(flags)) => flags & u64::from(abi::SA_RESTART) != 0,
        (Errno::RESTARTNOHAND, Some(_)) => false,
        (Errno::RESTARTNOINTR, _) => true,
        (Errno::RESTARTSYS | Errno::RESTARTNOHAND, None) => true,
        _ => return,
    };
    if again {
        registers::call_again(context);
    } else {
        registers::set_result(context, Errno::INTR.to_rax() as u64);
    }
}

/// No signal was delivered although a call was interrupted: it is started again.
pub fn resume_call(context: &mut UserContext) {
    restart(context, None);
}

/// The mask while a handler runs.
pub(super) fn handler_mask(mask: u64, info: &SigInfo, action: &Action) -> u64 {
    let own = if action.flags & u64::from(abi::SA_NODEFER) != 0 { 0 } else { bit(info.signal) };
    (mask | action.mask | own) & !super::info::UNBLOCKABLE
}
