//! The frame of a signal handler on the program's stack: Linux's `struct rt_sigframe` (arch/arm64/kernel/signal.c,
//! asm/sigcontext.h), and its way back, rt_sigreturn(2).
use crate::errno::Errno;
use crate::mm::user;
use crate::task::signal::frame::{self, Place};
use crate::task::signal::mask;
use crate::task::signal::{Action, Returned, SIGINFO_LEN, SigInfo, UNBLOCKABLE, set_alt_stack, stack_flags};
use crate::task::thread::Thread;
use alloc::sync::Arc;
use coracle_fallible::filled;
use coracle_hal::context::UserContext;
use coracle_hal::fpu;
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
const VECTORS_LEN: usize = 512;
/// x0 to x30, sp, pc, pstate.
const WORDS: usize = 34;
/// Flags that a program may set: the conditions.
const USER_FLAGS: u64 = 0xf000_0000;
/// The mode in a state (SPSR_EL1.M): a program's is EL0, in 64-bit state.
const MODE: u64 = 0x1f;
/// Bytes of a frame that hold something: up to the end of the records in use.
const USED_LEN: usize = SIGINFO_LEN + RECORDS + FPSIMD_LEN + HEAD_LEN;

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

    let mut bytes = filled(0u8, USED_LEN).map_err(|_| Errno::NOMEM)?;
    bytes[..SIGINFO_LEN].copy_from_slice(&info.to_bytes());
    let ucontext = &mut bytes[SIGINFO_LEN..];
    put(ucontext, STACK, stack.base as u64);
    put(ucontext, STACK + 8, stack_flags(&stack, sp).into());
    put(ucontext, STACK + 16, stack.size as u64);
    put(ucontext, MASK, mask);
    put(ucontext, SIGCONTEXT, if info.is_fault() { last_fault[2] } else { 0 });
    let pstate = context.pstate & USER_FLAGS;
    for (index, word) in context.x.iter().chain([&context.sp, &context.pc, &pstate]).enumerate() {
        put(ucontext, REGISTERS + 8 * index, *word);
    }
    let fpsimd = &mut ucontext[RECORDS..RECORDS + FPSIMD_LEN];
    put(fpsimd, 0, u64::from(FPSIMD_MAGIC) | (FPSIMD_LEN as u64) << 32);
    fpu::saved(|state| {
        let (vectors, status) = state.split_at(VECTORS_LEN);
        put(fpsimd, HEAD_LEN, get(status, 0) & u64::from(u32::MAX) | get(status, 8) << 32);
        fpsimd[HEAD_LEN + 8..].copy_from_slice(vectors);
    });
    user::write(frame_at, &bytes)?;
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
    context.x[2] = (frame_at + SIGINFO_LEN) as u64;
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

/// Loads the vector registers from the records at `at`, of which the first must be theirs (as Linux writes it).
fn restore_fpu(at: usize) -> Result<(), Errno> {
    let mut record = filled(0u8, FPSIMD_LEN).map_err(|_| Errno::NOMEM)?;
    user::read(&mut record, at)?;
    if get(&record, 0) != u64::from(FPSIMD_MAGIC) | (FPSIMD_LEN as u64) << 32 {
        return Err(Errno::FAULT);
    }
    let restored = fpu::restore(|state| {
        let (vectors, status) = state.split_at_mut(VECTORS_LEN);
        let registers = get(&record, HEAD_LEN);
        put(status, 0, registers & u64::from(u32::MAX));
        put(status, 8, registers >> 32);
        vectors.copy_from_slice(&record[HEAD_LEN + 8..]);
        Ok::<(), Errno>(())
    })?;
    if restored { Ok(()) } else { Err(Errno::FAULT) }
}
