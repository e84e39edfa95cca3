//! Kernel stacks: the first frame of a new one, and moving to an empty one.
use core::mem::size_of;

pub use super::entry::switch_stacks;

/// Registers that `switch_stacks` pops before it returns.
const REGISTERS: usize = 6;

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
        *((place - size_of::<usize>()) as *mut usize) = first_code();
    }
    saved
}

fn first_code() -> usize {
    super::entry::thread_entry as *const () as usize
}

/// Goes on with `code` on the stack that ends at `top`.
///
/// # Safety
/// The stack is mapped and unused, for ever.
pub unsafe fn enter(top: usize, code: unsafe extern "C" fn() -> !) -> ! {
    // SAFETY: within the stack; nothing returns to the old one.
    unsafe {
        core::arch::asm!("mov rsp, {}", "xor ebp, ebp", "call {}", "ud2", in(reg) top & !15, in(reg) code,
            options(noreturn))
    }
}
