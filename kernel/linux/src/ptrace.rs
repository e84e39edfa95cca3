//! ptrace(2): the requests.
use super::call::Call;
use super::other_process::process_of;
use super::{seccomp, watch};
use alloc::sync::Arc;
use coracle_core::arch::meaning::OldRequest;
use coracle_core::arch::{machine, registers, traced};
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::access::{capability, check_capability};
use coracle_core::mm::user;
use coracle_core::task::debug::held::{Held, INFO_BYTES, Stop, StopKind};
use coracle_core::task::pid_space;
use coracle_core::task::signal::{self, MAX_SIGNAL, SigInfo, UNBLOCKABLE};
use coracle_core::task::thread::{Thread, Work};
use coracle_core::task::{long_call, look_into, ptrace};
use coracle_fallible::prelude::*;
use coracle_hal::fpu;
use coracle_hal::sync::atomic::Ordering::*;
use linux_raw_sys::general as abi;
use linux_raw_sys::ptrace as pt;

/// Kinds of registers (PTRACE_GETREGSET).
const NT_PRSTATUS: u64 = 1;
const NT_PRFPREG: u64 = 2;
const NT_X86_XSTATE: u64 = 0x202;
/// Bytes of a word.
const WORD: usize = 8;
/// A `struct ptrace_syscall_info`: its head, and what it has of a call that begins, and of one that ends.
const CALL_HEAD: usize = 24;
const CALL_ENTRY: usize = CALL_HEAD + 7 * WORD;
const CALL_EXIT: usize = CALL_HEAD + WORD + 1;

/// ptrace(2).
pub fn ptrace(call: &Call) -> SysResult {
    let (request, id, address, data) = (call.u32(0), call.i32(1), call.usize(2), call.usize(3));
    match request {
        pt::PTRACE_TRACEME => return trace_me(call),
        pt::PTRACE_ATTACH => return attach(call, id, false, 0),
        pt::PTRACE_SEIZE if address == 0 && data & !(pt::PTRACE_O_MASK as usize) == 0 => {
            return attach(call, id, true, checked_options(call, data)?);
        }
        pt::PTRACE_SEIZE => return Err(Errno::IO),
        _ => {}
    }
    let thread = pid_space::thread(id).ok_or(Errno::SRCH)?;
    let tracing = &thread.debug.traced;
    if tracing.tracer.load(SeqCst) != call.thread().process.pid {
        return Err(Errno::SRCH);
    }
    match request {
        pt::PTRACE_KILL => {
            signal::send_to_process(&thread.process, SigInfo::kernel(abi::SIGKILL));
            return Ok(0);
        }
        pt::PTRACE_INTERRUPT => return interrupt(&thread),
        _ => {}
    }
    let state = *tracing.state.lock();
    let stop = state.stop.filter(|_| !state.listens).ok_or(Errno::SRCH)?;
    let at = Stopped { thread: &thread, stop };
    if let Some(old) = traced::old_request(request) {
        at.all_registers(old, data)?;
        return Ok(0);
    }
    match request {
        pt::PTRACE_PEEKTEXT | pt::PTRACE_PEEKDATA => {
            let mut bytes = [0; WORD];
            thread.process.memory().peek(address, &mut bytes).map_err(|_| Errno::IO)?;
            user::write(data, &bytes)?;
        }
        pt::PTRACE_POKETEXT | pt::PTRACE_POKEDATA => {
            thread.process.memory().poke(address, &data.to_le_bytes()).map_err(|_| Errno::IO)?;
        }
        pt::PTRACE_PEEKUSR => user::write_u64(data, at.user_word(address)?)?,
        pt::PTRACE_POKEUSR => at.set_user_word(address, data as u64)?,
        pt::PTRACE_CONT
        | pt::PTRACE_SYSCALL
        | pt::PTRACE_SYSEMU
        | pt::PTRACE_SYSEMU_SINGLESTEP
        | pt::PTRACE_SINGLESTEP
        | pt::PTRACE_DETACH => {
            let signal = u32::try_from(data).ok().filter(|&signal| signal <= MAX_SIGNAL).ok_or(Errno::IO)?;
            if request == pt::PTRACE_DETACH {
                ptrace::release(&call.thread().process, &thread, signal);
            } else {
                let emulates = matches!(request, pt::PTRACE_SYSEMU | pt::PTRACE_SYSEMU_SINGLESTEP);
                let calls = emulates || request == pt::PTRACE_SYSCALL;
                let steps = matches!(request, pt::PTRACE_SINGLESTEP | pt::PTRACE_SYSEMU_SINGLESTEP);
                if calls {
                    watch::begin(watch::THREADS)?;
                }
                tracing.state.lock().emulates = emulates;
                ptrace::resume(&thread, signal, calls, steps);
            }
        }
        pt::PTRACE_LISTEN if state.is_seized && stop.kind == StopKind::Group => {
            tracing.state.lock().listens = true;
            ptrace::wake(&thread);
        }
        pt::PTRACE_GETREGSET | pt::PTRACE_SETREGSET => {
            at.register_set(address as u64, data, request == pt::PTRACE_SETREGSET)?
        }
        pt::PTRACE_SETOPTIONS => {
            let options = checked_options(call, data)?;
            tracing.state.lock().options = options;
        }
        pt::PTRACE_SECCOMP_GET_FILTER => return seccomp::program(call.thread(), &thread, address, data),
        pt::PTRACE_SECCOMP_GET_METADATA => return seccomp::metadata(call.thread(), &thread, address, data),
        pt::PTRACE_GETEVENTMSG => user::write_u64(data, state.message)?,
        pt::PTRACE_PEEKSIGINFO => return peek_signals(&thread, address, data),
        pt::PTRACE_GETSIGINFO => {
            let info = at.held(|held| held.info)?;
            if info == [0; INFO_BYTES] {
                return Err(Errno::INVAL);
            }
            user::write(data, &info)?;
        }
        pt::PTRACE_SETSIGINFO => {
            let mut info = [0; INFO_BYTES];
            user::read(&mut info, data)?;
            at.held(|held| held.info = info)?;
        }
        pt::PTRACE_GETSIGMASK if address == WORD => {
            let mask = thread.signals.lock().mask;
            user::write_u64(data, mask)?;
        }
        pt::PTRACE_SETSIGMASK if address == WORD => {
            let mask = user::read_u64(data)? & !UNBLOCKABLE;
            thread.signals.lock().mask = mask;
            thread.work().set(Work::SIGNAL);
        }
        pt::PTRACE_GETSIGMASK | pt::PTRACE_SETSIGMASK => return Err(Errno::INVAL),
        pt::PTRACE_GET_RSEQ_CONFIGURATION => {
            let (area, len) = (thread.rseq.load(Relaxed) as u64, thread.rseq_len.load(Relaxed));
            let words = if area == 0 {
                [0; 3]
            } else {
                [area, u64::from(len) | u64::from(thread.rseq_signature.load(Relaxed)) << 32, 0]
            };
            let bytes = words.map(u64::to_le_bytes);
            let bytes = bytes.as_flattened();
            user::write(data, bytes.get(..address).unwrap_or(bytes))?;
            return Ok(bytes.len());
        }
        pt::PTRACE_GET_SYSCALL_INFO => return at.call_info(address, data, state.options),
        _ => return Err(Errno::IO),
    }
    Ok(0)
}

/// Options as they are given. EINVAL for unknown ones; EPERM for PTRACE_O_SUSPEND_SECCOMP without CAP_SYS_ADMIN, or of a thread whose own
/// calls are filtered, or would be.
fn checked_options(call: &Call, options: usize) -> Result<u32, Errno> {
    let known = u32::try_from(options).ok().filter(|options| options & !pt::PTRACE_O_MASK == 0);
    let options = known.ok_or(Errno::INVAL)?;
    if options & pt::PTRACE_O_SUSPEND_SECCOMP != 0 {
        check_capability(capability::SYS_ADMIN)?;
        let me = call.thread();
        if me.filters.mode() != 0 || ptrace::has_option(me, pt::PTRACE_O_SUSPEND_SECCOMP) {
            return Err(Errno::PERM);
        }
    }
    Ok(options)
}

/// PTRACE_TRACEME: the parent traces the caller.
fn trace_me(call: &Call) -> SysResult {
    let tracer = call.thread().process.parent().ok_or(Errno::PERM)?;
    ptrace::attach(&tracer, call.thread(), false, 0)?;
    Ok(0)
}

fn attach(call: &Call, id: i32, is_seized: bool, options: u32) -> SysResult {
    let me = &call.thread().process;
    let Some(thread) = pid_space::thread(id) else {
        // One that waits to be waited for has no threads.
        return Err(if pid_space::process(id).is_some() { Errno::PERM } else { Errno::SRCH });
    };
    // Threads that never enter the program have no place to stop.
    if Arc::ptr_eq(me, &thread.process) || thread.process.pid == 0 || thread.work().any(Work::WORKER) {
        return Err(Errno::PERM);
    }
    look_into::check(&process_of(id)?)?;
    ptrace::attach(me, &thread, is_seized, options)?;
    if !is_seized {
        signal::send_to_thread(&thread, SigInfo::kernel(abi::SIGSTOP));
    }
    if thread.process.stopped.load(SeqCst) != 0 {
        // It stands still already, and stands still for its tracer from now on.
        ptrace::wake(&thread);
    }
    Ok(0)
}

/// PTRACE_PEEKSIGINFO, with the `struct ptrace_peeksiginfo_args` at `arguments`: how many signals that wait were written to `to`.
fn peek_signals(thread: &Arc<Thread>, arguments: usize, to: usize) -> SysResult {
    const SHARED: u32 = 1;
    let [from, rest]: [u64; 2] = user::read_words(arguments)?;
    let (flags, count) = (rest as u32, (rest >> 32) as i32);
    if flags & !SHARED != 0 || count < 0 {
        return Err(Errno::INVAL);
    }
    let mut done = 0;
    while done < count as usize {
        let at = usize::try_from(from).unwrap_or(usize::MAX).saturating_add(done);
        let info = if flags & SHARED != 0 {
            thread.process.signals.lock().pending.nth(at)
        } else {
            thread.signals.lock().pending.nth(at)
        };
        let Some(info) = info else { break };
        let written = user::write(to.wrapping_add(done * INFO_BYTES), &info.to_bytes());
        if written.is_err() && done > 0 {
            break;
        }
        written?;
        done += 1;
        long_call::pause_unless_killed()?;
    }
    Ok(done)
}

fn interrupt(thread: &Arc<Thread>) -> SysResult {
    let is_stopped = {
        let mut state = thread.debug.traced.state.lock();
        if !state.is_seized {
            return Err(Errno::IO);
        }
        let is_stopped = state.stop.is_some() && !state.listens;
        if !is_stopped {
            state.is_interrupted = true;
        }
        is_stopped
    };
    if !is_stopped {
        // The second ends a sleep in a call, which then begins anew.
        thread.add_work(Work::HOLD | Work::SIGNAL);
    }
    Ok(0)
}

/// A thread that is stopped for the caller.
struct Stopped<'a> {
    thread: &'a Arc<Thread>,
    stop: Stop,
}

impl Stopped<'_> {
    /// What is kept of it. EIO if that could not be kept for lack of memory, ESRCH if it has gone on meanwhile.
    fn held<R>(&self, f: impl FnOnce(&mut Held) -> R) -> Result<R, Errno> {
        self.thread.debug.held.lock().as_deref_mut().map(f).ok_or(Errno::IO)
    }

    fn registers(&self) -> Result<[u8; traced::BYTES], Errno> {
        let bases = [self.thread.task.fs_base(), self.thread.task.gs_base()];
        let words = self.held(|held| traced::registers(held.context, bases))?;
        let mut bytes = [0; traced::BYTES];
        let (places, _) = bytes.as_chunks_mut::<WORD>();
        places.iter_mut().zip(words).for_each(|(place, word)| *place = word.to_le_bytes());
        Ok(bytes)
    }

    fn set_registers(&self, bytes: &[u8; traced::BYTES]) -> Result<(), Errno> {
        let mut words = [0; traced::WORDS];
        let (values, _) = bytes.as_chunks::<WORD>();
        words.iter_mut().zip(values).for_each(|(word, value)| *word = u64::from_le_bytes(*value));
        let bases = self.held(|held| traced::set_registers(&mut held.context, words))??;
        if let Some([fs_base, gs_base]) = bases
            && !(self.thread.task.set_fs_base(fs_base) && self.thread.task.set_gs_base(gs_base))
        {
            return Err(Errno::IO);
        }
        Ok(())
    }

    /// A word of a `struct user`: beside the registers, all are zero.
    fn user_word(&self, offset: usize) -> Result<u64, Errno> {
        if !offset.is_multiple_of(WORD) || !(0..traced::USER_BYTES).contains(&offset) {
            return Err(Errno::IO);
        }
        let registers = self.registers()?;
        let (words, _) = registers.as_chunks::<WORD>();
        Ok(words.get(offset / WORD).map_or(0, |word| u64::from_le_bytes(*word)))
    }

    fn set_user_word(&self, offset: usize, value: u64) -> Result<(), Errno> {
        if !offset.is_multiple_of(WORD) || !(0..traced::USER_BYTES).contains(&offset) {
            return Err(Errno::IO);
        }
        let mut registers = self.registers()?;
        match registers.get_mut(offset..offset + WORD) {
            Some(place) => place.copy_from_slice(&value.to_le_bytes()),
            // Nothing is watched by way of debug registers: they are 0, and stay so.
            None if value == 0 && traced::DEBUG_REGISTERS.contains(&offset) => return Ok(()),
            None => return Err(Errno::IO),
        }
        self.set_registers(&registers)
    }

    fn copy_area(&self, to: usize, len: usize) -> Result<(), Errno> {
        let area =
            self.held(|held| held.fpu.get(..len.min(held.fpu.len())).unwrap_or(&[]).try_to_vec())??;
        user::write(to, &area)
    }

    /// Replaces the beginning of the floating-point registers' area. EINVAL for what the CPU would refuse.
    fn set_area(&self, from: usize, len: usize) -> Result<(), Errno> {
        let mut bytes = coracle_fallible::filled(0, len)?;
        user::read(&mut bytes, from)?;
        self.held(|held| {
            let rest = held.fpu.get(len..).unwrap_or(&[]);
            bytes.try_extend_from_slice(rest)?;
            if len < held.fpu.len() {
                fpu::note_floating(&mut bytes);
            }
            if !fpu::accepts(&bytes) {
                return Err(Errno::INVAL);
            }
            held.fpu = bytes;
            Ok(())
        })?
    }

    /// Requests that have the registers at `data` itself.
    fn all_registers(&self, request: OldRequest, data: usize) -> Result<(), Errno> {
        match request {
            OldRequest::Get => user::write(data, &self.registers()?),
            OldRequest::Set => {
                let mut bytes = [0; traced::BYTES];
                user::read(&mut bytes, data)?;
                self.set_registers(&bytes)
            }
            OldRequest::GetFloating => self.copy_area(data, traced::FLOATING_BYTES),
            OldRequest::SetFloating => self.set_area(data, traced::FLOATING_BYTES),
        }
    }

    /// PTRACE_GETREGSET and PTRACE_SETREGSET, with the `struct iovec` at `vector`.
    fn register_set(&self, kind: u64, vector: usize, sets: bool) -> Result<(), Errno> {
        let [base, len]: [u64; 2] = user::read_words(vector)?;
        let base = base as usize;
        let (size, step) = match kind {
            NT_PRSTATUS => (traced::BYTES, WORD),
            NT_PRFPREG => (traced::FLOATING_BYTES, WORD),
            NT_X86_XSTATE if traced::HAS_XSTATE => (self.held(|held| held.fpu.len())?, WORD),
            _ => return Err(Errno::INVAL),
        };
        if !len.is_multiple_of(step as u64) {
            return Err(Errno::INVAL);
        }
        let len = size.min(usize::try_from(len).unwrap_or(usize::MAX));
        match (kind, sets) {
            (NT_PRSTATUS, false) => user::write(base, self.registers()?.get(..len).unwrap_or(&[]))?,
            (NT_PRSTATUS, true) => {
                let mut bytes = self.registers()?;
                if let Some(part) = bytes.get_mut(..len) {
                    user::read(part, base)?;
                }
                self.set_registers(&bytes)?;
            }
            (_, false) => self.copy_area(base, len)?,
            // Linux takes it as a whole.
            (NT_X86_XSTATE, true) if len != size => return Err(Errno::FAULT),
            (NT_PRFPREG, true) if len != size && traced::HAS_XSTATE => return Err(Errno::INVAL),
            (_, true) => self.set_area(base, len)?,
        }
        user::write_u64(vector + WORD, len as u64)
    }

    /// PTRACE_GET_SYSCALL_INFO into `len` bytes at `to`. Returns how many there are.
    fn call_info(&self, len: usize, to: usize, options: u32) -> SysResult {
        let context = self.held(|held| held.context)?;
        let mut bytes = [0; CALL_ENTRY];
        let mut put = |at: usize, word: u64| {
            if let Some(place) = bytes.get_mut(at..at + WORD) {
                place.copy_from_slice(&word.to_le_bytes());
            }
        };
        let is_known = options & pt::PTRACE_O_TRACESYSGOOD != 0;
        let (kind, size) = match self.stop.kind {
            StopKind::Entry if is_known => {
                put(CALL_HEAD, context.call_number() as u64);
                (0..6).for_each(|n| put(CALL_HEAD + (1 + n) * WORD, context.argument(n)));
                (pt::PTRACE_SYSCALL_INFO_ENTRY, CALL_ENTRY)
            }
            StopKind::Exit if is_known => {
                const ERRORS: core::ops::Range<i64> = -4095..0;
                let result = registers::result(&context);
                put(CALL_HEAD, result as u64);
                put(CALL_HEAD + WORD, u64::from(ERRORS.contains(&result)));
                (pt::PTRACE_SYSCALL_INFO_EXIT, CALL_EXIT)
            }
            _ => (pt::PTRACE_SYSCALL_INFO_NONE, CALL_HEAD),
        };
        put(0, u64::from(kind) | u64::from(machine::AUDIT) << 32);
        put(WORD, registers::pc(&context) as u64);
        put(2 * WORD, registers::sp(&context) as u64);
        user::write(to, bytes.get(..len.min(size)).unwrap_or(&[]))?;
        Ok(size)
    }
}
