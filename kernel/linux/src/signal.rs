//! Signals: actions, masks, sending, waiting.
use super::call::Call;
use coracle_core::arch::{self, registers};
use coracle_core::errno::{Errno, SysResult};
use coracle_core::mm::user;
use coracle_core::task::long_call;
use coracle_core::task::pid_space;
use coracle_core::task::process::{self, Process};
use coracle_core::task::sched::{self, Wake};
use coracle_core::task::signal::{
    self, Action, IGNORE, MAX_SIGNAL, Returned, SI_TKILL, SI_USER, SIGINFO_LEN, SigInfo, Taken, UNBLOCKABLE,
    bit,
};
use coracle_core::task::thread::Work;
use coracle_core::time::posix_clock;
use coracle_hal::sync::atomic::Ordering::*;
use linux_raw_sys::general as abi;

/// Bytes of a signal set.
const SIGSET_LEN: usize = 8;

fn check_set_size(size: usize) -> Result<(), Errno> {
    if size == SIGSET_LEN { Ok(()) } else { Err(Errno::INVAL) }
}

/// Checks a signal number; 0 stands for "only look whether it could be sent".
pub(super) fn check_signal(signal: i32) -> Result<u32, Errno> {
    u32::try_from(signal).ok().filter(|&signal| signal <= MAX_SIGNAL).ok_or(Errno::INVAL)
}

/// rt_sigaction(2).
pub fn rt_sigaction(call: &Call) -> SysResult {
    check_set_size(call.usize(3))?;
    let signal = check_signal(call.i32(0))?;
    if signal == 0 {
        return Err(Errno::INVAL);
    }
    let new = match call.usize(1) {
        0 => None,
        at => {
            let [handler, flags, restorer, mask]: [u64; 4] = user::read_words(at)?;
            if bit(signal) & UNBLOCKABLE != 0 {
                return Err(Errno::INVAL);
            }
            let (handler, restorer) = (handler as usize, restorer as usize);
            Some(Action { handler, flags, restorer, mask: mask & !UNBLOCKABLE })
        }
    };
    let process = &call.thread().process;
    let old = {
        let threads = process.threads.lock();
        let mut shared = process.signals.lock();
        let old = shared.action(signal);
        if let Some(new) = new {
            shared.set_action(signal, new);
            // What is now ignored and waits is forgotten (sigaction(2), POSIX).
            if shared.ignores(signal) && new.handler == IGNORE {
                shared.pending.discard(bit(signal));
                threads.iter().for_each(|thread| thread.signals.lock().pending.discard(bit(signal)));
                process.timers.signal_taken(signal);
            }
        }
        old
    };
    if new.is_some() && old.handler <= IGNORE && !process.signals.lock().ignores(signal) {
        process.timers.unignored(process, signal);
    }
    if call.usize(2) != 0 {
        user::write_words(call.usize(2), &[old.handler as u64, old.flags, old.restorer as u64, old.mask])?;
    }
    Ok(0)
}

/// rt_sigprocmask(2).
pub fn rt_sigprocmask(call: &Call) -> SysResult {
    check_set_size(call.usize(3))?;
    let old = call.thread().signals.lock().mask;
    if call.usize(1) != 0 {
        let set = user::read_u64(call.usize(1))?;
        let mask = match call.u32(0) {
            abi::SIG_BLOCK => old | set,
            abi::SIG_UNBLOCK => old & !set,
            abi::SIG_SETMASK => set,
            _ => return Err(Errno::INVAL),
        };
        signal::set_mask(call.thread(), mask);
    }
    if call.usize(2) != 0 {
        user::write_u64(call.usize(2), old)?;
    }
    Ok(0)
}

/// rt_sigpending(2).
pub fn rt_sigpending(call: &Call) -> SysResult {
    if call.usize(1) > SIGSET_LEN {
        return Err(Errno::INVAL);
    }
    let shared = call.thread().process.signals.lock().pending.set();
    let pending = {
        let own = call.thread().signals.lock();
        (own.pending.set() | shared) & own.mask
    };
    user::write(call.usize(0), &pending.to_le_bytes()[..call.usize(1)])?;
    Ok(0)
}

/// rt_sigsuspend(2).
pub fn rt_sigsuspend(call: &Call) -> SysResult {
    check_set_size(call.usize(1))?;
    let mask = user::read_u64(call.usize(0))?;
    signal::set_temporary_mask(call.thread(), mask);
    wait_for_signal()
}

/// pause(2).
pub fn pause(_: &Call) -> SysResult {
    wait_for_signal()
}

fn wait_for_signal() -> SysResult {
    while sched::park(None, true) != Wake::Interrupted {}
    Err(Errno::RESTARTNOHAND)
}

/// rt_sigtimedwait(2).
pub fn rt_sigtimedwait(call: &Call) -> SysResult {
    check_set_size(call.usize(3))?;
    let set = user::read_u64(call.usize(0))? & !UNBLOCKABLE;
    let deadline = posix_clock::read_relative_deadline(call.usize(2))?;
    let take = || {
        let taken = {
            let mut shared = call.thread().process.signals.lock();
            let mut own = call.thread().signals.lock();
            let taken = signal::take(call.thread(), &mut shared, &mut own, set);
            own.waiting = if taken.is_some() { 0 } else { set };
            taken
        };
        taken.map(Taken::info)
    };
    let outcome = loop {
        if let Some(info) = take() {
            break Ok(info);
        }
        // A waited-for signal marks the thread, which mustn't end the sleep for good; a real one is found by delivery.
        match sched::park(deadline, true) {
            Wake::Woken => {}
            Wake::TimedOut => break take().ok_or(Errno::AGAIN),
            Wake::Interrupted => match take() {
                Some(info) => break Ok(info),
                None if deliverable(call) => break Err(Errno::INTR),
                None => call.thread().work().clear(Work::SIGNAL),
            },
        }
    };
    call.thread().signals.lock().waiting = 0;
    let info = outcome?;
    if call.usize(1) != 0 {
        user::write(call.usize(1), &info.to_bytes())?;
    }
    Ok(info.signal as usize)
}

fn deliverable(call: &Call) -> bool {
    if call.thread().work().any(Work::EXIT) {
        return true;
    }
    let shared = call.thread().process.signals.lock();
    let own = call.thread().signals.lock();
    (shared.pending.set() | own.pending.set()) & !own.mask != 0
}

/// rt_sigreturn(2).
pub fn rt_sigreturn(call: &Call) -> SysResult {
    let mut registers = call.registers();
    match arch::frame::sigreturn(call.thread(), &mut registers) {
        Ok(Returned::Fine) => {}
        Ok(Returned::Refused(details)) => {
            call.thread().signals.lock().last_fault = details;
            signal::force(call.thread(), SigInfo::fault(abi::SIGSEGV, abi::SI_KERNEL as i32, 0));
        }
        // Linux's badframe: the program can't go on.
        Err(_) => signal::force(call.thread(), SigInfo::kernel(abi::SIGSEGV)),
    }
    call.set_registers(registers);
    Ok(registers::result(&registers) as usize)
}

/// restart_syscall(2): the kernel never asks a program for it, and there is nothing to go on with.
pub fn restart_syscall(_: &Call) -> SysResult {
    Err(Errno::INTR)
}

/// sigaltstack(2).
pub fn sigaltstack(call: &Call) -> SysResult {
    let sp = registers::sp(&call.registers());
    let old = call.thread().signals.lock().alt_stack;
    if call.usize(0) != 0 {
        let words: [u64; 3] = user::read_words(call.usize(0))?;
        signal::set_alt_stack(call.thread(), &words, sp)?;
    }
    if call.usize(1) != 0 {
        let flags = signal::stack_flags(&old, sp);
        user::write_words(call.usize(1), &[old.base as u64, u64::from(flags), old.size as u64])?;
    }
    Ok(0)
}

fn from_caller(call: &Call, target: &Process, signal: u32, code: i32) -> SigInfo {
    let process = &call.thread().process;
    SigInfo::user(signal, code, target.sees(process.pid), process.credentials.lock().uid[0])
}

/// EPERM unless the caller may send `signal` to `target` (kill(2)).
pub fn check_target(call: &Call, target: &Process, signal: u32) -> Result<(), Errno> {
    let me = &call.thread().process;
    if core::ptr::eq(&**me, target) {
        return Ok(());
    }
    let own = me.credentials.lock().ids();
    let same_session = me.session.load(Relaxed) == target.session.load(Relaxed);
    let allowed = own.may_signal(&target.credentials.lock()) || (signal == abi::SIGCONT && same_session);
    if allowed { Ok(()) } else { Err(Errno::PERM) }
}

/// kill(2).
pub fn kill(call: &Call) -> SysResult {
    let (pid, signal) = (call.i32(0), check_signal(call.i32(1))?);
    let me = &call.thread().process;
    let group = match pid {
        0 => Some(me.group.load(Relaxed)),
        i32::MIN | -1 | 1.. => None,
        _ => pid_space::named(-pid),
    };
    let is_meant = |other: &Process| match pid {
        1.. => true,
        // Everybody in the namespace but its first process and the caller.
        -1 => me.sees(other.pid) > 1 && other.pid != me.pid,
        _ => group == Some(other.group.load(Relaxed)),
    };
    let one = (pid > 0).then(|| pid_space::process_of(pid)).flatten();
    let all = (pid <= 0).then(process::all);
    let targets = one.into_iter().chain(all.into_iter().flatten());
    let mut result = Err(Errno::SRCH);
    for target in targets {
        // Whatever comes meanwhile, as a signal that ends the caller, the call reaches all.
        long_call::pause();
        if !is_meant(&target) {
            continue;
        }
        if check_target(call, &target, signal).is_err() {
            result = result.or(Err(Errno::PERM));
            continue;
        }
        result = Ok(0);
        if signal != 0 && !target.dead.load(Relaxed) {
            signal::send_to_process(&target, from_caller(call, &target, signal, SI_USER));
        }
    }
    result
}

/// `info`: `None` for what tells of the caller alone.
fn send_to_tid(call: &Call, tid: i32, group: Option<i32>, signal: u32, info: Option<SigInfo>) -> SysResult {
    if tid <= 0 || group.is_some_and(|group| group <= 0) {
        return Err(Errno::INVAL);
    }
    let thread = pid_space::thread(tid).ok_or(Errno::SRCH)?;
    if group.is_some_and(|group| pid_space::named(group) != Some(thread.process.pid)) {
        return Err(Errno::SRCH);
    }
    check_target(call, &thread.process, signal)?;
    if signal != 0 {
        let info = info.unwrap_or_else(|| from_caller(call, &thread.process, signal, SI_TKILL));
        signal::send_to_thread(&thread, info).check()?;
    }
    Ok(0)
}

/// tgkill(2).
pub fn tgkill(call: &Call) -> SysResult {
    let signal = check_signal(call.i32(2))?;
    send_to_tid(call, call.i32(1), Some(call.i32(0)), signal, None)
}

/// tkill(2).
pub fn tkill(call: &Call) -> SysResult {
    let signal = check_signal(call.i32(1))?;
    send_to_tid(call, call.i32(0), None, signal, None)
}

/// The siginfo_t at `addr` with which a program sends a signal to process `target`. EFAULT, EPERM.
pub(super) fn queued_info(call: &Call, signal: u32, addr: usize, target: i32) -> Result<SigInfo, Errno> {
    let mut bytes = [0; SIGINFO_LEN];
    user::read(&mut bytes, addr)?;
    let info = SigInfo::from_bytes(signal, &bytes);
    // Nobody may pretend to be the kernel or kill(2), except towards oneself.
    if (info.code >= 0 || info.code == SI_TKILL) && target != call.thread().process.own_pid() {
        return Err(Errno::PERM);
    }
    Ok(info)
}

/// rt_sigqueueinfo(2).
pub fn rt_sigqueueinfo(call: &Call) -> SysResult {
    let (pid, signal) = (call.i32(0), check_signal(call.i32(1))?);
    let info = queued_info(call, signal, call.usize(2), pid)?;
    let target = pid_space::process_of(pid).ok_or(Errno::SRCH)?;
    check_target(call, &target, signal)?;
    if signal != 0 {
        signal::send_to_process(&target, info).check()?;
    }
    Ok(0)
}

/// rt_tgsigqueueinfo(2).
pub fn rt_tgsigqueueinfo(call: &Call) -> SysResult {
    let (group, tid, signal) = (call.i32(0), call.i32(1), check_signal(call.i32(2))?);
    let info = queued_info(call, signal, call.usize(3), group)?;
    send_to_tid(call, tid, Some(group), signal, Some(info))
}

/// signalfd(2).
pub fn signalfd(call: &Call) -> SysResult {
    signalfd_with(call, 0)
}

/// signalfd4(2).
pub fn signalfd4(call: &Call) -> SysResult {
    signalfd_with(call, call.u32(3))
}

fn signalfd_with(call: &Call, flags: u32) -> SysResult {
    check_set_size(call.usize(2))?;
    if flags & !(abi::O_CLOEXEC | abi::O_NONBLOCK) != 0 {
        return Err(Errno::INVAL);
    }
    let mask = user::read_u64(call.usize(1))? & !UNBLOCKABLE;
    coracle_core::ipc::signalfd::open(call.thread(), call.i32(0), mask, flags)
}
