//! The answers to [`Request::MachineCpus`](crate::Request::MachineCpus) and [`Request::MachineSample`](crate::Request::MachineSample).

words! {
    /// The registers of a CPU, as the machine shows them from outside.
    CpuRecord {
        /// Its number.
        number,
        /// 1 while it waits for an interrupt.
        halted,
        /// Its privilege level: 0, or 3.
        level,
        /// rax.
        rax,
        /// rbx.
        rbx,
        /// rcx.
        rcx,
        /// rdx.
        rdx,
        /// rsi.
        rsi,
        /// rdi.
        rdi,
        /// rbp.
        rbp,
        /// rsp.
        rsp,
        /// r8.
        r8,
        /// r9.
        r9,
        /// r10.
        r10,
        /// r11.
        r11,
        /// r12.
        r12,
        /// r13.
        r13,
        /// r14.
        r14,
        /// r15.
        r15,
        /// rip.
        rip,
        /// rflags.
        rflags,
        /// The base of FS.
        fs_base,
        /// The address of the task state segment.
        task_state,
        /// The address of the interrupt descriptor table.
        interrupt_table,
        /// The address of the last page fault.
        cr2,
        /// Where the page tables are.
        cr3,
    }
}

words! {
    /// A CPU that is held for a sample.
    SampleRecord {
        /// Its number.
        number,
        /// The address of its next instruction, or that of another mapping of the same code.
        address,
    }
}
