//! Kernel stacks: the first frame of a new one, and moving to an empty one.
use core::mem::size_of;

pub use super::entry::switch_stacks;

/// Registers that `switch_stacks` loads before it returns: x19 to x30.
const REGISTERS: usize = 12;

/// Writes what `switch_stacks` finds on a new thread's stack, below `place`, so that it returns to the thread's first code.
/// Returns the stack pointer to switch to.
///
/// # Safety
/// There is room on the stack, which is not in use.
pub unsafe fn prepare(place: usize) -> usize {
    let saved = place - REGISTERS * size_of::<usize>();
    let mut registers = [0; REGISTERS];
    registers[REGISTERS - 1] = super::entry::thread_entry as *const () as usize;
    // SAFETY: within the stack, by the caller's word.
    unsafe { *(saved as *mut [usize; REGISTERS]) = registers };
    saved
}

/// Goes on with `code` on the stack that ends at `top`.
///
/// # Safety
/// The stack is mapped and unused, for ever.
pub unsafe fn enter(top: usize, code: unsafe extern "C" fn() -> !) -> ! {
    // SAFETY: within the stack; nothing returns to the old one.
    unsafe {
        core::arch::asm!("mov sp, {}", "mov x29, xzr", "mov x30, xzr", "br {}", in(reg) top & !15, in(reg) code,
            options(noreturn))
    }
}
