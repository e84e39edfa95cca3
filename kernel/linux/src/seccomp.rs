//! seccomp(2): filters of a thread's own system calls.
use super::call::Call;
use super::seccomp_listener::{self, Listener};
use super::watch;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_bpf::{Fault, Instruction, PROGRAM_MAX, Program, SystemCall};
use coracle_core::arch::{machine, registers};
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::access::{capability, check_capability, check_capability_in};
use coracle_core::fs::file::OpenFile;
use coracle_core::mm::user;
use coracle_core::task::call_filters::{FILTERED, Filter, Heard, Listens, STRICT};
use coracle_core::task::later::Parting;
use coracle_core::task::process::ExitStatus;
use coracle_core::task::signal::{self, SigInfo};
use coracle_core::task::thread::{Thread, Work};
use coracle_core::task::{exit, ptrace};
use coracle_hal::sync::atomic::Ordering::*;
use linux_raw_sys::general::{self as abi, O_RDWR};
use linux_raw_sys::ptrace as pt;

/// Operations, and flags of SECCOMP_SET_MODE_FILTER (linux/seccomp.h).
const SET_MODE_STRICT: u32 = 0;
const SET_MODE_FILTER: u32 = 1;
const GET_ACTION_AVAIL: u32 = 2;
const GET_NOTIF_SIZES: u32 = 3;
const TSYNC: u32 = 1;
const LOG: u32 = 2;
const SPEC_ALLOW: u32 = 4;
const NEW_LISTENER: u32 = 8;
const TSYNC_ESRCH: u32 = 16;
const WAIT_KILLABLE_RECV: u32 = 32;
/// Modes (prctl(2), PR_SET_SECCOMP).
const MODE_STRICT: usize = 1;
const MODE_FILTER: usize = 2;
/// What a filter returns: an action, and data.
const RET_KILL_PROCESS: u32 = 0x8000_0000;
const RET_KILL_THREAD: u32 = 0;
const RET_TRAP: u32 = 0x0003_0000;
const RET_ERRNO: u32 = 0x0005_0000;
const RET_USER_NOTIF: u32 = 0x7fc0_0000;
const RET_TRACE: u32 = 0x7ff0_0000;
const RET_LOG: u32 = 0x7ffc_0000;
const RET_ALLOW: u32 = 0x7fff_0000;
const ACTION: u32 = 0xffff_0000;
const DATA: u32 = 0xffff;
/// Highest error number that a filter can have a call fail with.
const MAX_ERRNO: u32 = 4095;
/// si_code of SIGSYS (SYS_SECCOMP).
const SYS_SECCOMP: i32 = 1;
/// Calls of SECCOMP_MODE_STRICT: read, write, exit and rt_sigreturn.
const STRICT_CALLS: [u32; 4] = [abi::__NR_read, abi::__NR_write, abi::__NR_exit, abi::__NR_rt_sigreturn];

/// What is done with a call.
pub enum Verdict {
    /// It is made.
    Make,
    /// It is not; this is its result.
    Skip(usize),
}

fn data_of(call: &Call, number: usize) -> SystemCall {
    SystemCall {
        number: number as u32,
        architecture: machine::AUDIT,
        instruction_pointer: call.return_address() as u64,
        arguments: core::array::from_fn(|place| call.raw(place)),
    }
}

/// Decides about a call. `act`: all registers are saved, and what the decision asks for is done; else it may have to be asked again.
pub fn judge(call: &Call, number: usize, act: bool) -> Verdict {
    let thread = call.thread();
    let watch = thread.filters.watch.load(Relaxed);
    if ptrace::has_option(thread, pt::PTRACE_O_SUSPEND_SECCOMP) {
        return Verdict::Make;
    }
    let put_off = Verdict::Skip(0);
    if watch & STRICT != 0 && !STRICT_CALLS.contains(&(number as u32)) {
        if !act {
            return put_off;
        }
        exit::exit_thread(thread, &call.registers(), ExitStatus::Killed(abi::SIGKILL, false));
    }
    if watch & FILTERED == 0 {
        return Verdict::Make;
    }
    let mut data = data_of(call, number);
    let (mut found, mut filter) = thread.filters.decide(&data);
    if found & ACTION == RET_ALLOW {
        return Verdict::Make;
    }
    if !act {
        return put_off;
    }
    if found & ACTION == RET_TRACE {
        if let Some(left) = ask_tracer(call, found & DATA) {
            return left;
        }
        // The filters are asked about what the tracer has made of it.
        data = data_of(call, call.number());
        (found, filter) = thread.filters.decide(&data);
        if matches!(found & ACTION, RET_TRACE | RET_ALLOW) {
            return Verdict::Make;
        }
    }
    let (action, number) = (found & ACTION, data.number as usize);
    if filter.as_ref().is_some_and(|filter| filter.is_logged) && action != RET_LOG
        || matches!(action, RET_LOG | RET_KILL_PROCESS | RET_KILL_THREAD)
    {
        log!(
            "seccomp: process {}, thread {}: call {number} at {:#x}: {action:#010x}",
            thread.process.pid,
            thread.tid(),
            data.instruction_pointer
        );
    }
    match action {
        RET_LOG => Verdict::Make,
        RET_ERRNO => Verdict::Skip((found & DATA).min(MAX_ERRNO).wrapping_neg() as i32 as isize as usize),
        RET_USER_NOTIF => seccomp_listener::ask(thread, filter, &data),
        RET_TRAP => {
            signal::force(thread, violation(&data, found & DATA));
            Verdict::Skip(number)
        }
        _ => {
            if action == RET_KILL_THREAD && thread.process.threads.lock().len() > 1 {
                exit::exit_thread(thread, &call.registers(), ExitStatus::Killed(abi::SIGSYS, false));
            }
            let mut context = call.registers();
            registers::set_result(&mut context, number as u64);
            exit::by_signal(thread, &context, violation(&data, found & DATA), true);
        }
    }
}

/// Asks the tracer about a call; `None` if it is to be made, as the tracer has left it.
fn ask_tracer(call: &Call, data: u32) -> Option<Verdict> {
    let thread = call.thread();
    let mut context = call.registers();
    if !ptrace::event(thread, &mut context, pt::PTRACE_EVENT_SECCOMP, data.into()) {
        return Some(Verdict::Skip(Errno::NOSYS.to_rax()));
    }
    call.set_registers(context);
    let is_left = !registers::is_in_call(&context) || thread.work().any(Work::EXIT);
    is_left.then(|| Verdict::Skip(registers::result(&context) as usize))
}

/// SIGSYS for a call.
fn violation(data: &SystemCall, errno: u32) -> SigInfo {
    let call = u64::from(data.number) | u64::from(data.architecture) << 32;
    SigInfo {
        signal: abi::SIGSYS,
        errno: errno as i32,
        code: SYS_SECCOMP,
        fields: [data.instruction_pointer, call, 0, 0],
    }
}

/// seccomp(2).
pub fn seccomp(call: &Call) -> SysResult {
    let (operation, flags, argument) = (call.u32(0), call.u32(1), call.usize(2));
    match operation {
        SET_MODE_STRICT if flags == 0 && argument == 0 => set_strict(call),
        SET_MODE_FILTER => add_filter(call, flags, argument),
        GET_ACTION_AVAIL if flags == 0 => match user::read_u32(argument)? {
            RET_KILL_PROCESS | RET_KILL_THREAD | RET_TRAP | RET_ERRNO | RET_USER_NOTIF | RET_TRACE
            | RET_LOG | RET_ALLOW => Ok(0),
            _ => Err(Errno::OPNOTSUPP),
        },
        GET_NOTIF_SIZES if flags == 0 => {
            user::write(argument, seccomp_listener::SIZES.map(u16::to_le_bytes).as_flattened())?;
            Ok(0)
        }
        _ => Err(Errno::INVAL),
    }
}

/// PTRACE_SECCOMP_GET_METADATA of ptrace(2): the `struct seccomp_metadata` at `at`, of `size` bytes, says which filter of `thread` is meant, the
/// oldest being 0, and is given its flags. EACCES, EINVAL; ENOENT if there is none.
pub fn metadata(caller: &Thread, thread: &Thread, size: usize, at: usize) -> SysResult {
    const BYTES: usize = 16;
    check_may_look(caller)?;
    let size = size.min(BYTES);
    if size < BYTES / 2 {
        return Err(Errno::INVAL);
    }
    let place = user::read_u64(at)?;
    let filter = nth(thread, place)?;
    let flags = u64::from(if filter.is_logged { LOG } else { 0 });
    let words = [place, flags].map(u64::to_le_bytes);
    user::write(at, &words.as_flattened()[..size])?;
    Ok(size)
}

/// PTRACE_SECCOMP_GET_FILTER of ptrace(2): how many instructions a filter of `thread` has, the oldest being 0. They are written to `at`, if that
/// is not 0. EACCES, EINVAL, EFAULT; ENOENT if there is none.
pub fn program(caller: &Thread, thread: &Thread, place: usize, at: usize) -> SysResult {
    check_may_look(caller)?;
    let filter = nth(thread, place as u64)?;
    if at != 0 {
        for (number, instruction) in filter.program.instructions().iter().enumerate() {
            user::write(at.wrapping_add(number * Instruction::BYTES), &instruction.encode())?;
        }
    }
    Ok(filter.program.instruction_count())
}

/// EACCES unless a tracer may look at filters.
fn check_may_look(caller: &Thread) -> Result<(), Errno> {
    check_capability(capability::SYS_ADMIN).map_err(|_| Errno::ACCES)?;
    if caller.filters.mode() == 0 { Ok(()) } else { Err(Errno::ACCES) }
}

fn nth(thread: &Thread, place: u64) -> Result<Arc<Filter>, Errno> {
    let filters = thread.filters.get().ok_or(Errno::INVAL)?;
    let filter = usize::try_from(place).ok().and_then(|place| filters.get(place));
    filter.cloned().ok_or(Errno::NOENT)
}

/// PR_SET_SECCOMP of prctl(2).
pub fn set_mode(call: &Call, mode: usize, argument: usize) -> SysResult {
    match mode {
        MODE_STRICT => set_strict(call),
        MODE_FILTER => add_filter(call, 0, argument),
        _ => Err(Errno::INVAL),
    }
}

fn set_strict(call: &Call) -> SysResult {
    if call.thread().filters.mode() == MODE_FILTER {
        return Err(Errno::INVAL);
    }
    watch::begin(watch::THREADS)?;
    call.thread().filters.watch.fetch_or(STRICT, SeqCst);
    Ok(0)
}

/// The program of a `struct sock_fprog`. EFAULT, EINVAL, ENOMEM; EACCES if the thread could use it to fool a program that
/// has other rights.
fn read_program(call: &Call, argument: usize) -> Result<Program, Errno> {
    let [len, at]: [u64; 2] = user::read_words(argument)?;
    let len = usize::from(len as u16);
    if !(1..=PROGRAM_MAX).contains(&len) {
        return Err(Errno::INVAL);
    }
    if !call.thread().process.no_new_privileges.load(Relaxed) {
        let space = call.thread().process.credentials.lock().space.clone();
        check_capability_in(space.as_ref(), capability::SYS_ADMIN).map_err(|_| Errno::ACCES)?;
    }
    let mut bytes: Vec<u8> = coracle_fallible::filled(0, len * Instruction::BYTES)?;
    user::read(&mut bytes, at as usize)?;
    let program = Program::decode(&bytes).map_err(|fault| match fault {
        Fault::NoMemory => Errno::NOMEM,
        _ => Errno::INVAL,
    })?;
    if program.filters_calls() { Ok(program) } else { Err(Errno::INVAL) }
}

fn add_filter(call: &Call, flags: u32, argument: usize) -> SysResult {
    // Of a listener and of the thread that has other filters only one can be returned.
    let is_ambiguous = flags & (TSYNC | NEW_LISTENER | TSYNC_ESRCH) == TSYNC | NEW_LISTENER;
    let is_idle = flags & (NEW_LISTENER | WAIT_KILLABLE_RECV) == WAIT_KILLABLE_RECV;
    let known = TSYNC | LOG | SPEC_ALLOW | NEW_LISTENER | TSYNC_ESRCH | WAIT_KILLABLE_RECV;
    if flags & !known != 0 || is_ambiguous || is_idle {
        return Err(Errno::INVAL);
    }
    let thread = call.thread();
    let program = read_program(call, argument)?;
    if call.thread().filters.mode() == MODE_STRICT {
        return Err(Errno::INVAL);
    }
    watch::begin(watch::THREADS)?;
    let descriptors = &thread.process.descriptors;
    let mut listener = None;
    if flags & NEW_LISTENER != 0 {
        let own = thread.filters.get();
        if own.iter().flat_map(|own| own.iter()).any(|filter| filter.listener.is_some()) {
            return Err(Errno::BUSY);
        }
        let made = Listener::new(flags & WAIT_KILLABLE_RECV != 0)?;
        let fd = descriptors.insert(OpenFile::new(made.clone(), O_RDWR)?, true, 0)?;
        listener = Some((fd, made));
    }
    let heard = listener.as_ref().map(|(_, made)| {
        let made: Arc<dyn Listens> = made.clone();
        Parting::new(Heard(Arc::downgrade(&made)))
    });
    let result = heard.transpose().map_err(Errno::from).and_then(|listener| {
        set_filter(thread, Filter { program, is_logged: flags & LOG != 0, listener }, flags)
    });
    match (result, listener) {
        (Ok(0), Some((fd, _))) => Ok(fd as usize),
        (result, Some((fd, _))) => {
            let _ = descriptors.remove(fd);
            result
        }
        (result, None) => result,
    }
}

/// Gives a thread one more filter, and with TSYNC the others of its process.
fn set_filter(thread: &Arc<Thread>, filter: Filter, flags: u32) -> SysResult {
    // Others can't come meanwhile, nor can they change their own.
    let threads = thread.process.threads.lock();
    let filters = thread.filters.with(filter)?;
    if flags & TSYNC != 0 {
        let (_, before) = filters.split_last().ok_or(Errno::INVAL)?;
        let others =
            || threads.iter().filter(|other| !other.work().any(Work::WORKER | Work::EXIT | Work::ENDS));
        if let Some(other) = others().find(|other| !other.filters.is_beginning_of(before)) {
            return if flags & TSYNC_ESRCH != 0 { Err(Errno::SRCH) } else { Ok(other.tid() as usize) };
        }
        others().for_each(|other| other.filters.set(filters.clone()));
    }
    thread.filters.set(filters);
    Ok(0)
}
