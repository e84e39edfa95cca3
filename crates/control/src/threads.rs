//! The answer to [`Request::Threads`](crate::Request::Threads).
//!
//! All numbers are words of 64 bits, little-endian. A [`Moment`] comes first. For each thread follow a [`ThreadRecord`], its name, padded
//! with zeros to [`NAME_BYTES`], and as many bytes of its kernel stack as the record says.

/// Bytes of a thread's name (TASK_COMM_LEN of Linux).
pub const NAME_BYTES: usize = 16;

words! {
    /// When the threads were looked at, and where the kernel is.
    Moment {
        /// Nanoseconds since boot.
        now_ns,
        /// The address that the kernel's ELF address 0 was moved to.
        kernel_slide,
        /// CPUs that run.
        cpus,
    }
}

words! {
    /// A thread.
    ThreadRecord {
        /// Its process.
        pid,
        /// Its own number.
        tid,
        /// Flags of [`thread_flag`].
        flags,
        /// The CPU that it runs on, or ran on last.
        cpu,
        /// Nanoseconds of CPU that it has used.
        run_ns,
        /// When its current sleep ends at the latest, in nanoseconds since boot; `u64::MAX`: never.
        deadline_ns,
        /// What the kernel has to do before the thread goes back to its program: bits of the kernel's own choice.
        work,
        /// The program's FS base (the thread pointer).
        fs_base,
        /// Address of the word that the kernel clears at the thread's end, and whose waiters it wakes (set_tid_address(2)); 0: none.
        clear_child_tid,
        /// The kernel's stack pointer. The bytes of the stack begin there; registers that `switch_stacks` saves lie first, the
        /// program's registers last.
        stack_pointer,
        /// Bytes of the stack that follow the name; 0 if the thread ran while it was looked at.
        stack_bytes,
    }
}

/// Flags of a [`ThreadRecord`].
pub mod thread_flag {
    /// It sleeps.
    pub const ASLEEP: u64 = 1;
    /// It was woken and has not noticed it yet.
    pub const WOKEN: u64 = 2;
    /// It waits for a CPU, or runs.
    pub const RUNNABLE: u64 = 4;
    /// Its process is stopped (SIGSTOP).
    pub const STOPPED: u64 = 8;
    /// Its sleep ends at a time of the real-time clock.
    pub const WALL_CLOCK: u64 = 16;
    /// A debugger, or a core dump, holds it where it enters its program.
    pub const HELD: u64 = 32;
}

/// The program's registers as they end a kernel stack, in their order there.
pub const REGISTERS: [&str; 19] = [
    "r15", "r14", "r13", "r12", "rbp", "rbx", "rax", "rcx", "r11", "r9", "r8", "r10", "rdx", "rsi", "rdi",
    "orig_rax", "rip", "rflags", "rsp",
];
