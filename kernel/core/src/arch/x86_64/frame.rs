//! The frame of a signal handler on the program's stack: Linux's `struct rt_sigframe` (arch/x86/include/asm/sigframe.h,
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

/// Bytes below the stack pointer that the interrupted function may use (System V ABI, 3.2.2).
const RED_ZONE: usize = 128;
/// `sizeof(struct ucontext)`: flags, link, stack, sigcontext, mask.
const UCONTEXT_LEN: usize = 8 + 8 + 24 + SIGCONTEXT_LEN + 8;
/// `sizeof(struct sigcontext)`.
const SIGCONTEXT_LEN: usize = 256;
/// Return address, ucontext, siginfo.
const FRAME_LEN: usize = 8 + UCONTEXT_LEN + SIGINFO_LEN;
/// Offset of the ucontext in the frame.
const UCONTEXT: usize = 8;
/// 64-bit words in the part of a ucontext that is written and read: up to the mask, without the reserved words.
const UCONTEXT_WORDS: usize = UCONTEXT_LEN / 8;
/// Word of the sigcontext in a ucontext.
const SIGCONTEXT_WORD: usize = 5;
/// Word of the signal mask.
const MASK_WORD: usize = UCONTEXT_WORDS - 1;
/// The words of a sigcontext after the 16 general registers.
const RIP: usize = 16;
const EFLAGS: usize = 17;
const SEGMENTS: usize = 18;
const ERROR: usize = 19;
const TRAP: usize = 20;
const OLD_MASK: usize = 21;
const CR2: usize = 22;
const FPSTATE: usize = 23;
/// cs and ss that programs expect to see: Linux's __USER_CS and __USER_DS.
const USER_CODE: u16 = 0x33;
const USER_DATA: u16 = 0x2b;
const USER_SEGMENTS: u64 = USER_CODE as u64 | (USER_DATA as u64) << 48;
const UC_FP_XSTATE: u64 = 1;
const UC_SIGCONTEXT_SS: u64 = 2;
const UC_STRICT_RESTORE_SS: u64 = 4;
const UC_FLAGS: u64 = UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS;
/// Where software may leave notes in an XSAVE area: `struct _fpx_sw_bytes`.
const SW_BYTES: usize = 464;
const FP_XSTATE_MAGIC1: u32 = 0x4650_5853;
const FP_XSTATE_MAGIC2: u32 = 0x4650_5845;
/// Bytes of the second magic number after the state.
const MAGIC2_LEN: usize = 4;
/// Bytes of an FXSAVE area.
const FXSAVE_LEN: usize = 512;
/// FXSAVE areas are aligned so.
const FXSAVE_ALIGN: usize = 16;
/// XSAVE areas are aligned so.
const XSAVE_ALIGN: usize = 64;
/// The vector of the exception by which `iret` refuses a segment.
const GENERAL_PROTECTION: u64 = 13;
/// Flags that a program may set: CF PF AF ZF SF TF DF OF RF AC (Linux's FIX_EFLAGS).
const USER_FLAGS: u64 = 0x0005_0dd5;
/// TF, DF, RF and AC are clear when a handler begins.
const FLAGS_CLEARED: u64 = 0x0005_0500;

/// The least room for a frame (AT_MINSIGSTKSZ).
pub fn minimum_stack() -> usize {
    fpu::state_size() + MAGIC2_LEN + XSAVE_ALIGN + FRAME_LEN + 16 + RED_ZONE
}

/// Puts a frame on the stack and makes the thread go on in the handler. EFAULT if the stack can't be written.
pub fn push(
    thread: &Arc<Thread>,
    context: &mut UserContext,
    info: SigInfo,
    action: &Action,
) -> Result<(), Errno> {
    let sp = context.rsp as usize;
    let place = Place::of(thread, action, sp, RED_ZONE);
    let Place { mask, stack, last_fault, entering_alt, top, .. } = place;
    let fp_len = fpu::state_size();
    let fp = top.wrapping_sub(fp_len + MAGIC2_LEN) & !(XSAVE_ALIGN - 1);
    let frame_at = (fp.wrapping_sub(FRAME_LEN) & !15).wrapping_sub(8);
    place.check(frame_at)?;

    // A fault is resolved after the state was given up again: another thread may run meanwhile.
    while let Err(fault) = fpu::saved(|state| copy_state(fp, state)) {
        user::resolve(fault)?;
    }

    let mut words = [0u64; UCONTEXT_WORDS];
    words[0] = UC_FLAGS;
    words[2] = stack.base as u64;
    words[3] = u64::from(stack_flags(&stack, sp));
    words[4] = stack.size as u64;
    let registers = &mut words[SIGCONTEXT_WORD..MASK_WORD];
    registers[..RIP].copy_from_slice(&general(context));
    registers[RIP] = context.rip;
    registers[EFLAGS] = context.rflags;
    registers[SEGMENTS] = USER_SEGMENTS;
    if info.is_fault() {
        [registers[TRAP], registers[ERROR], registers[CR2]] = last_fault;
    }
    registers[OLD_MASK] = mask;
    registers[FPSTATE] = fp as u64;
    words[MASK_WORD] = mask;
    let mut bytes = [0u8; FRAME_LEN];
    bytes[..UCONTEXT].copy_from_slice(&action.restorer.to_le_bytes());
    for (i, word) in words.iter().enumerate() {
        bytes[UCONTEXT + i * 8..UCONTEXT + i * 8 + 8].copy_from_slice(&word.to_le_bytes());
    }
    bytes[UCONTEXT + UCONTEXT_LEN..].copy_from_slice(&info.to_bytes());
    user::write(frame_at, &bytes)?;

    frame::enter(thread, &info, action, entering_alt);
    context.rdi = u64::from(info.signal);
    context.rsi = (frame_at + UCONTEXT + UCONTEXT_LEN) as u64;
    context.rdx = (frame_at + UCONTEXT) as u64;
    context.rax = 0;
    context.rsp = frame_at as u64;
    context.rip = action.handler as u64;
    context.rflags &= !FLAGS_CLEARED;
    fpu::reset();
    Ok(())
}

/// Copies the state of the FPU to `fp`, with the notes of `struct _fpx_sw_bytes` in it and the second magic number behind it.
fn copy_state(fp: usize, state: &mut [u8]) -> Result<(), hal::Fault> {
    let len = state.len();
    let notes = &mut state[SW_BYTES..FXSAVE_LEN];
    notes.fill(0);
    notes[..4].copy_from_slice(&FP_XSTATE_MAGIC1.to_le_bytes());
    notes[4..8].copy_from_slice(&((len + MAGIC2_LEN) as u32).to_le_bytes());
    notes[8..16].copy_from_slice(&fpu::xfeatures().to_le_bytes());
    notes[16..20].copy_from_slice(&(len as u32).to_le_bytes());
    hal::copy_to(fp, state)?;
    hal::copy_to(fp.wrapping_add(len), &FP_XSTATE_MAGIC2.to_le_bytes())
}

/// rt_sigreturn(2): goes back to what the frame at the stack pointer says. EFAULT if it can't be read.
pub fn sigreturn(thread: &Arc<Thread>, context: &mut UserContext) -> Result<Returned, Errno> {
    let frame = (context.rsp as usize).wrapping_sub(8);
    let words: [u64; UCONTEXT_WORDS] = user::read_words(frame.wrapping_add(UCONTEXT))?;
    let registers = &words[SIGCONTEXT_WORD..MASK_WORD];
    // What comes first holds also if what comes later is bad, as on Linux.
    mask::set_mask(thread, words[MASK_WORD] & !UNBLOCKABLE);
    set_general(context, registers);
    context.rip = registers[RIP];
    context.rflags = (context.rflags & !USER_FLAGS) | (registers[EFLAGS] & USER_FLAGS);
    // No call is to be started again.
    context.orig_rax = u64::MAX;
    restore_fpu(registers[FPSTATE] as usize)?;
    // A stack that sigaltstack(2) would refuse is passed over.
    let _ = set_alt_stack(thread, &words[2..5], context.rsp as usize);
    Ok(match bad_segment(registers[SEGMENTS], words[0]) {
        // Linux's `iret` faults.
        Some(code) => Returned::Refused([GENERAL_PROTECTION, code, 0]),
        None => Returned::Fine,
    })
}

/// The error code of the exception that the code or the stack segment of a sigcontext means, if it isn't the program's.
fn bad_segment(segments: u64, flags: u64) -> Option<u64> {
    /// The privilege level in a selector, which is always set to the program's.
    const RPL: u16 = 3;
    let (code, stack) = (segments as u16 | RPL, (segments >> 48) as u16 | RPL);
    let bad = if code != USER_CODE {
        code
    } else if flags & UC_STRICT_RESTORE_SS != 0 && stack != USER_DATA {
        stack
    } else {
        return None;
    };
    Some(u64::from(bad & !RPL))
}

/// Why the state of the FPU can't be taken from where a frame says it is.
enum BadState {
    /// A page that isn't there.
    Fault(hal::Fault),
    /// The CPU would not load it from such an address.
    Misaligned,
}

impl From<hal::Fault> for BadState {
    fn from(fault: hal::Fault) -> Self {
        BadState::Fault(fault)
    }
}

fn restore_fpu(fp: usize) -> Result<(), Errno> {
    if fp == 0 {
        fpu::reset();
        return Ok(());
    }
    loop {
        match fpu::restore(|state| fetch_state(state, fp)) {
            Ok(true) => return Ok(()),
            Ok(false) | Err(BadState::Misaligned) => return Err(Errno::FAULT),
            // As in `push`.
            Err(BadState::Fault(fault)) => user::resolve(fault)?,
        }
    }
}

/// Copies the state of the FPU from `fp`.
fn fetch_state(state: &mut [u8], fp: usize) -> Result<(), BadState> {
    let len = state.len();
    if !fp.is_multiple_of(FXSAVE_ALIGN) {
        return Err(BadState::Misaligned);
    }
    hal::copy_from(&mut state[..FXSAVE_LEN], fp)?;
    let word = |at: usize| u32::from_le_bytes([state[at], state[at + 1], state[at + 2], state[at + 3]]);
    if word(SW_BYTES) == FP_XSTATE_MAGIC1 && word(SW_BYTES + 16) as usize == len {
        let mut magic = [0; MAGIC2_LEN];
        hal::copy_from(&mut magic, fp.wrapping_add(len))?;
        if u32::from_le_bytes(magic) == FP_XSTATE_MAGIC2 {
            if !fp.is_multiple_of(XSAVE_ALIGN) {
                return Err(BadState::Misaligned);
            }
            return Ok(hal::copy_from(&mut state[FXSAVE_LEN..], fp.wrapping_add(FXSAVE_LEN))?);
        }
    }
    // The old format: x87 and SSE alone. XSTATE_BV names them, the rest starts afresh.
    state[FXSAVE_LEN..].fill(0);
    if len > FXSAVE_LEN {
        const X87_AND_SSE: u64 = 3;
        state[FXSAVE_LEN..FXSAVE_LEN + 8].copy_from_slice(&X87_AND_SSE.to_le_bytes());
    }
    Ok(())
}

/// The general registers in the order of a sigcontext.
fn general(c: &UserContext) -> [u64; RIP] {
    [
        c.r8, c.r9, c.r10, c.r11, c.r12, c.r13, c.r14, c.r15, c.rdi, c.rsi, c.rbp, c.rbx, c.rdx, c.rax,
        c.rcx, c.rsp,
    ]
}

fn set_general(c: &mut UserContext, words: &[u64]) {
    let places = [
        &mut c.r8, &mut c.r9, &mut c.r10, &mut c.r11, &mut c.r12, &mut c.r13, &mut c.r14, &mut c.r15,
        &mut c.rdi, &mut c.rsi, &mut c.rbp, &mut c.rbx, &mut c.rdx, &mut c.rax, &mut c.rcx, &mut c.rsp,
    ];
    places.into_iter().zip(words).for_each(|(place, word)| *place = *word);
}
