//! Return addresses on the kernel's own stack. The kernel keeps no frame pointers (each function would pay for them), so
//! the stack is searched for words that point behind a call instruction; the result may contain stale ones.
use crate::arch::instructions;
use crate::mm::layout::PAGE;
use crate::task::KERNEL_STACK_SIZE;

/// Return addresses reported at most.
const MAX_DEPTH: usize = 48;
/// Calls `f` with each return address into the kernel's text, innermost first.
#[inline(never)]
pub fn kernel(mut f: impl FnMut(usize)) {
    let text = crate::boot::kernel_text();
    let start = instructions::stack_pointer().next_multiple_of(8);
    let top = crate::local::Local::get().stack_top.get();
    // On a thread's stack up to its end; on others (boot, exceptions) what is left of the page, which is surely there.
    let on_thread_stack = top.checked_sub(start).is_some_and(|left| left <= KERNEL_STACK_SIZE);
    let end = if on_thread_stack { top } else { start.next_multiple_of(PAGE) };
    let mut found = 0;
    for address in (start..end).step_by(8) {
        // SAFETY: an aligned word of the stack that runs, above its pointer and below its end.
        let word = unsafe { (address as *const usize).read_volatile() };
        if text.contains(&word) && instructions::follows_call(word, text.start) {
            f(word);
            found += 1;
            if found == MAX_DEPTH {
                return;
            }
        }
    }
}
