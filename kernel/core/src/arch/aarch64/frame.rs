//! The frame of a signal handler on the program's stack: Linux's `struct rt_sigframe` (arch/arm64/kernel/signal.c,
//! asm/sigcontext.h), and its way back, rt_sigreturn(2).
use crate::errno::Errno;
use crate::mm::user;
use crate::task::signal::frame::{self, Place};
use crate::task::signal::mask;
use crate::task::signal::{Action, Returned, SIGINFO_LEN, SigInfo, UNBLOCKABLE, set_alt_stack, stack_flags};
use crate::task::thread::Thread;
use alloc::sync::Arc;
use coracle_hal::context::UserContext;
use coracle_hal::{fpu, user as hal};
use linux_raw_sys::general as abi;

/// Offsets in a ucontext: the stack, the mask, the sigcontext, which is aligned to 16 bytes.
const STACK: usize = 16;
const MASK: usize = 40;
const SIGCONTEXT: usize = 176;
/// Offsets in a sigcontext: the general registers after the address of a fault, the records that follow.
const REGISTERS: usize = SIGCONTEXT + 8;
const RECORDS: usize = SIGCONTEXT + 288;
/// Bytes that a sigcontext has for records.
const RECORDS_LEN: usize = 4096;
const UCONTEXT_LEN: usize = RECORDS + RECORDS_LEN;
/// siginfo, ucontext.
const FRAME_LEN: usize = SIGINFO_LEN + UCONTEXT_LEN;
/// The frame pointer and the link register, above the frame: a record for debuggers, which walk the stack.
const RECORD_LEN: usize = 16;
/// `struct fpsimd_context`: its magic number and its length; FPSR and FPCR, then the vector registers.
const FPSIMD_MAGIC: u32 = 0x4650_8001;
const FPSIMD_LEN: usize = 528;
const HEAD_LEN: usize = 8;
const FPSIMD_HEAD: u64 = FPSIMD_MAGIC as u64 | (FPSIMD_LEN as u64) << 32;
/// `struct esr_context`: its magic number and its length; the syndrome of a fault.
const ESR_MAGIC: u32 = 0x4553_5201;
const ESR_LEN: usize = 16;
const VECTORS_LEN: usize = 512;
/// x0 to x30, sp, pc, pstate.
const WORDS: usize = 34;
/// Flags that a program may set: the conditions.
const USER_FLAGS: u64 = 0xf000_0000;
/// The mode in a state (SPSR_EL1.M): a program's is EL0, in 64-bit state.
const MODE: u64 = 0x1f;
/// The least room for a frame (AT_MINSIGSTKSZ).
pub fn minimum_stack() -> usize {
    FRAME_LEN + RECORD_LEN + 16
}

fn put(bytes: &mut [u8], at: usize, word: u64) {
    bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
}

fn get(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|bytes| bytes.first_chunk()).map_or(0, |word| u64::from_le_bytes(*word))
}

/// Puts a frame on the stack and makes the thread go on in the handler. EFAULT if the stack can't be written.
pub fn push(
    thread: &Arc<Thread>,
    context: &mut UserContext,
    info: SigInfo,
    action: &Action,
) -> Result<(), Errno> {
    let sp = context.sp as usize;
    let place = Place::of(thread, action, sp, 0);
    let Place { mask, stack, last_fault, entering_alt, top, .. } = place;
    let record = top.wrapping_sub(RECORD_LEN) & !15;
    let frame_at = record.wrapping_sub(FRAME_LEN) & !15;
    place.check(frame_at)?;

    let ucontext_at = frame_at + SIGINFO_LEN;
    let fpsimd = ucontext_at + RECORDS;
    // A fault is resolved after the state was given up again: another thread may run meanwhile.
    while let Err(fault) = fpu::saved(|state| copy_state(fpsimd, state)) {
        user::resolve(fault)?;
    }
    let [_, syndrome, address] = if info.is_fault() { last_fault } else { [0; 3] };
    let mut tail = [0; ESR_LEN + HEAD_LEN];
    if syndrome != 0 {
        put(&mut tail, 0, u64::from(ESR_MAGIC) | (ESR_LEN as u64) << 32);
        put(&mut tail, HEAD_LEN, syndrome);
    }
    user::write(fpsimd + FPSIMD_LEN, &tail)?;
    user::write(frame_at, &info.to_bytes())?;
    let mut ucontext = [0; RECORDS];
    put(&mut ucontext, STACK, stack.base as u64);
    put(&mut ucontext, STACK + 8, stack_flags(&stack, sp).into());
    put(&mut ucontext, STACK + 16, stack.size as u64);
    put(&mut ucontext, MASK, mask);
    put(&mut ucontext, SIGCONTEXT, address);
    let pstate = context.pstate & USER_FLAGS;
    for (index, word) in context.x.iter().chain([&context.sp, &context.pc, &pstate]).enumerate() {
        put(&mut ucontext, REGISTERS + 8 * index, *word);
    }
    user::write(ucontext_at, &ucontext)?;
    let mut links = [0; RECORD_LEN];
    put(&mut links, 0, context.x[29]);
    put(&mut links, 8, context.x[30]);
    user::write(record, &links)?;

    frame::enter(thread, &info, action, entering_alt);
    let returns_to = if action.flags & u64::from(abi::SA_RESTORER) != 0 {
        action.restorer
    } else {
        thread.process.memory().sigreturn()
    };
    context.x[0] = u64::from(info.signal);
    context.x[1] = frame_at as u64;
    context.x[2] = ucontext_at as u64;
    context.x[29] = record as u64;
    context.x[30] = returns_to as u64;
    context.sp = frame_at as u64;
    context.pc = action.handler as u64;
    Ok(())
}

/// rt_sigreturn(2): goes back to what the frame at the stack pointer says. EFAULT if it can't be read.
pub fn sigreturn(thread: &Arc<Thread>, context: &mut UserContext) -> Result<Returned, Errno> {
    let ucontext = (context.sp as usize).wrapping_add(SIGINFO_LEN);
    let sp = context.sp as usize;
    let [mask]: [u64; 1] = user::read_words(ucontext.wrapping_add(MASK))?;
    let words: [u64; WORDS] = user::read_words(ucontext.wrapping_add(REGISTERS))?;
    mask::set_mask(thread, mask & !UNBLOCKABLE);
    context.x.copy_from_slice(&words[..31]);
    [context.sp, context.pc] = [words[31], words[32]];
    if words[33] & MODE != 0 {
        return Ok(Returned::Refused([0; 3]));
    }
    context.pstate = words[33] & USER_FLAGS;
    // No call is to be started again.
    context.call = u64::MAX;
    restore_fpu(ucontext.wrapping_add(RECORDS))?;
    let stack: [u64; 3] = user::read_words(ucontext.wrapping_add(STACK))?;
    // A stack that sigaltstack(2) would refuse is passed over.
    let _ = set_alt_stack(thread, &stack, sp);
    Ok(Returned::Fine)
}

/// Copies the vector registers to the record of theirs at `at`.
fn copy_state(at: usize, state: &mut [u8]) -> Result<(), hal::Fault> {
    let (vectors, status) = state.split_at(VECTORS_LEN);
    let mut head = [0; 2 * HEAD_LEN];
    put(&mut head, 0, FPSIMD_HEAD);
    put(&mut head, HEAD_LEN, get(status, 0) & u64::from(u32::MAX) | get(status, 8) << 32);
    hal::copy_to(at, &head)?;
    hal::copy_to(at.wrapping_add(head.len()), vectors)
}

/// Why vector registers can't be taken from where a frame has them.
enum BadState {
    /// A page that isn't there.
    Fault(hal::Fault),
    /// It is another record.
    Other,
}

impl From<hal::Fault> for BadState {
    fn from(fault: hal::Fault) -> Self {
        BadState::Fault(fault)
    }
}

/// Loads the vector registers from the records at `at`, of which the first must be theirs (as Linux writes it).
fn restore_fpu(at: usize) -> Result<(), Errno> {
    loop {
        match fpu::restore(|state| fetch_state(state, at)) {
            Ok(true) => return Ok(()),
            Ok(false) | Err(BadState::Other) => return Err(Errno::FAULT),
            // As in `push`.
            Err(BadState::Fault(fault)) => user::resolve(fault)?,
        }
    }
}

/// Copies the vector registers from the record at `at`.
fn fetch_state(state: &mut [u8], at: usize) -> Result<(), BadState> {
    let (vectors, status) = state.split_at_mut(VECTORS_LEN);
    let mut head = [0; 2 * HEAD_LEN];
    hal::copy_from(&mut head, at)?;
    if get(&head, 0) != FPSIMD_HEAD {
        return Err(BadState::Other);
    }
    let registers = get(&head, HEAD_LEN);
    put(status, 0, registers & u64::from(u32::MAX));
    put(status, 8, registers >> 32);
    Ok(hal::copy_from(vectors, at.wrapping_add(head.len()))?)
}
