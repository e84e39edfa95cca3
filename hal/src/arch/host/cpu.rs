//! What a CPU says of itself.
pub use crate::arch::x86_64::cpu::{Brand, Registers, hwcap};
pub use crate::host::schedule::spin as pause;

/// Programs of this machine have no way to the kernel's memory but the system calls.
pub fn guards() -> (bool, bool) {
    (true, true)
}

/// The registers as they are now: a thread of the host has none to tell of.
pub fn registers() -> Registers {
    Registers {
        rsp: 0,
        rbp: 0,
        rbx: 0,
        r12: 0,
        r13: 0,
        r14: 0,
        r15: 0,
        rflags: 0,
        cr0: 0,
        cr2: 0,
        cr3: 0,
        cr4: 0,
    }
}
