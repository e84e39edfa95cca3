//! Return addresses of the kernel's own stack, by frame pointers.
use crate::layout::PAGE;

/// Frames reported at most.
const MAX_DEPTH: usize = 64;

/// Calls `f` with each return address, innermost first, while they lie in the kernel's text.
#[inline(never)]
pub fn kernel(mut f: impl FnMut(usize)) {
    let text = crate::boot::kernel_text();
    let mut frame = crate::x86::frame_pointer();
    for _ in 0..MAX_DEPTH {
        // Frames lie in the kernel's half, aligned, and each further up the stack, but for a change of stacks by a trap.
        if (frame as isize) >= 0 || !frame.is_multiple_of(8) || frame > usize::MAX - PAGE {
            return;
        }
        // SAFETY: an aligned address of the kernel's half, from the chain that compiled functions keep on their stacks;
        // the entry code ends it with zero.
        let (next, return_address) = unsafe { *(frame as *const (usize, usize)) };
        if !text.contains(&return_address) {
            return;
        }
        f(return_address);
        frame = next;
    }
}
