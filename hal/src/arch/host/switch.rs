//! Kernel stacks: the first frame of a new one, and switching. The code is that of the real machine, with the calling convention of the host,
//! which is the same (System V ABI for AMD64, 3.2.1).
use core::arch::naked_asm;
use core::mem::size_of;

/// Registers that `switch_stacks` pops before it returns.
const REGISTERS: usize = 6;

/// Saves the registers that calls preserve, stores the stack pointer to `save`, goes on with the stack `next`; what
/// returns there gets `previous`.
///
/// # Safety
/// `next` is what [`prepare`] returned, or was stored by a switch away from it; it is used once.
#[unsafe(naked)]
pub unsafe extern "C" fn switch_stacks(save: *mut usize, next: usize, previous: *const ()) -> *const () {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov [rdi], rsp",
        "mov rsp, rsi",
        "mov rax, rdx",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
    )
}

/// The first code on a stack: goes on with what was left and the end of the stack.
#[unsafe(naked)]
unsafe extern "C" fn first_code() -> ! {
    naked_asm!(
        "xor ebp, ebp",
        "mov rdi, rax",
        "mov rsi, rsp",
        "and rsp, -16",
        "call {begin}",
        "ud2",
        begin = sym crate::host::program::begin,
    )
}

/// Writes what `switch_stacks` finds on a new thread's stack, below `place`, so that it returns to the thread's first code.
/// Returns the stack pointer to switch to.
///
/// # Safety
/// There is room on the stack, which is not in use.
pub unsafe fn prepare(place: usize) -> usize {
    let saved = place - (REGISTERS + 1) * size_of::<usize>();
    // SAFETY: within the stack, by the caller's word.
    unsafe {
        *(saved as *mut [usize; REGISTERS]) = [0; REGISTERS];
        *((place - size_of::<usize>()) as *mut usize) = first_code as *const () as usize;
    }
    saved
}
