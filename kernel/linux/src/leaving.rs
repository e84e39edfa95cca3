//! The way of a thread back to its program: from a call, an exception or an interrupt.
use crate::call::Call;
use crate::{call_put_off, trace, watch};
use alloc::sync::Arc;
use coracle_core::arch;
use coracle_core::arch::meaning::Meaning;
use coracle_core::arch::registers;
use coracle_core::errno::Errno;
use coracle_core::events::{self, bit, kind};
use coracle_core::mm::fault::{self, Refused};
use coracle_core::mm::patch;
use coracle_core::mm::user::Access;
use coracle_core::task::debug;
use coracle_core::task::process::ExitStatus;
use coracle_core::task::signal::{self, SigInfo};
use coracle_core::task::thread::{Thread, Work};
use coracle_core::task::{clone, exit, later, ptrace, rseq, sched, slice};
use coracle_fs::memory::remains;
use coracle_hal::context::{Fault, UserContext};
use coracle_hal::paging::USER_END;
use coracle_hal::sync::atomic::Ordering::Relaxed;
use coracle_ipc::unix;
use linux_raw_sys::general as abi;

/// The end of a call whose thread has something to do first: `Kernel::attend`.
pub fn attend(call: &Call) {
    if call.thread().work().any(Work::CALL) {
        let is_watched = call.thread().work().any(Work::WATCHED);
        let result = if is_watched { watch::make(call) } else { call_put_off(call) };
        let mut changed = call.registers();
        registers::set_result(&mut changed, result.unwrap_or_else(Errno::to_rax) as u64);
        call.set_registers(changed);
        if is_watched {
            watch::finished(call);
        }
    }
    if call.thread().work().any(Work::TRACE) {
        trace::left(call);
    }
    let mut registers = call.registers();
    leave(call.thread(), &mut registers, true);
    call.set_registers(registers);
}

/// The program caused an exception: `Kernel::fault`.
pub fn fault(thread: &Arc<Thread>, context: &mut UserContext, fault: Fault) {
    if let Some(info) = resolve(thread, context, fault) {
        signal::force(thread, info);
    } else {
        thread.process.faults.fetch_add(1, Relaxed);
        // No other thread writes this one.
        thread.faults.store(thread.faults.load(Relaxed) + 1, Relaxed);
    }
    if thread.work().is_some() {
        leave(thread, context, false);
    }
}

/// An interrupt arrived while the program ran: `Kernel::interrupted`.
pub fn interrupted(thread: &Arc<Thread>, context: &mut UserContext) {
    slice::interrupted();
    if thread.work().is_some() {
        leave(thread, context, false);
    }
}

/// What is to be done before a thread goes back to the program.
#[cold]
pub fn leave(thread: &Arc<Thread>, context: &mut UserContext, mut in_call: bool) {
    loop {
        let work = thread.work();
        if work.any(Work::NEW) {
            clone::begins(thread);
        }
        if work.any(Work::COLLECT) {
            unix::after_call(thread);
        }
        if work.any(Work::LATER) {
            later::run(thread);
        }
        if work.any(Work::EXIT) {
            // Another thread ended the process, or replaced its program.
            let status = thread.process.exiting.lock().unwrap_or(ExitStatus::Exited(0));
            exit::exit_thread(thread, context, status);
        }
        if work.any(Work::STOP) && thread.debug.traced.is_on() {
            ptrace::group_stop(thread, context);
        } else if work.any(Work::STOP) {
            // Until it goes on or ends: SIGKILL ends a stopped process, too (signal(7)).
            sched::park(None, false);
        } else if work.any(Work::HOLD) {
            debug::rest(thread, context);
        } else if work.any(Work::REMAINS) {
            work.clear(Work::REMAINS);
            remains::free();
        } else if work.any(Work::CPU_TIMER) {
            work.clear(Work::CPU_TIMER);
            thread.process.timers.look_at_cpu_timers();
        } else if work.any(Work::GIVE_WAY) {
            work.clear(Work::GIVE_WAY);
            slice::give_way();
        } else if work.any(Work::MIGRATE) {
            work.clear(Work::MIGRATE);
            sched::migrate(thread);
        } else if work.any(Work::RSEQ) {
            rseq::enter(thread, context);
        } else if work.any(Work::SIGNAL) {
            in_call = signal::deliver(thread, context, in_call);
        } else if work.any(Work::RESTORE_MASK) {
            signal::restore_mask(thread);
        } else {
            break;
        }
    }
    if in_call {
        // Nothing was delivered after all: an interrupted call goes on as if nothing had been.
        signal::resume_call(context);
    }
}

/// Resolves a page fault, or says which signal an exception means (signal(7)).
fn resolve(thread: &Arc<Thread>, context: &mut UserContext, fault: Fault) -> Option<SigInfo> {
    if let Fault::Page { addr, write, exec, present } = fault {
        events::note(bit::FAULT, || {
            let bits = [
                (write, kind::access::WRITE),
                (exec, kind::access::EXECUTE),
                (present, kind::access::PRESENT),
            ];
            let access = bits.into_iter().map(|(holds, bit)| u16::from(holds) * bit).sum();
            (kind::FAULT, access, addr as u64, registers::pc(context) as u64)
        });
        return resolve_page(thread, addr, (write, exec, present));
    }
    if debug::take_fault(thread, context, &fault) {
        return None;
    }
    let ip = registers::pc(context);
    if arch::fault::is_breakpoint(&fault) && patch::reached(thread, ip) {
        return None;
    }
    let Meaning { signal, code, at, details } = arch::fault::meaning(fault);
    thread.signals.lock().last_fault = details;
    // Those that Linux tells as coming from the kernel have no address.
    let addr = if code == abi::SI_KERNEL { 0 } else { at.unwrap_or(ip) };
    Some(SigInfo::fault(signal, code as i32, addr))
}

/// Resolves a page fault, or says which signal it means.
fn resolve_page(thread: &Thread, addr: usize, (write, exec, present): (bool, bool, bool)) -> Option<SigInfo> {
    let access = if write {
        Access::Write
    } else if exec {
        Access::Execute
    } else {
        Access::Read
    };
    let refused = match fault::resolve_current(addr, access) {
        Ok(()) => return None,
        // SIGKILL is on its way.
        Err(Refused::OutOfMemory | Refused::Ending) => return None,
        Err(refused) => refused,
    };
    let (signal, si_code) = match refused {
        Refused::NotMapped => (abi::SIGSEGV, abi::SEGV_MAPERR),
        Refused::Access => (abi::SIGSEGV, abi::SEGV_ACCERR),
        Refused::NoPage | Refused::OutOfMemory | Refused::Ending => (abi::SIGBUS, abi::BUS_ADRERR),
    };
    // As Linux says it, the kernel's half is all present: no fault shows what is mapped there.
    let present = present || addr >= USER_END;
    thread.signals.lock().last_fault = arch::fault::page_details(addr, write, exec, present);
    Some(SigInfo::fault(signal, si_code as i32, addr))
}
