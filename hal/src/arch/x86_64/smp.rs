//! Starting the other CPUs (Intel SDM volume 3, 9.4.4): INIT, then STARTUP with the page of a trampoline below 1 MiB.
use super::{apic, trap};
use crate::cpu;
use crate::machine::topology;
use core::sync::atomic::Ordering;

/// Stops all other CPUs for ever.
pub fn stop_others() {
    if cpu::COUNT.load(Ordering::Relaxed) > 1 {
        apic::send_to_others(trap::STOP_VECTOR);
    }
}

/// CPUs that the firmware's tables name.
pub fn named() -> usize {
    topology::get().cpus.len().max(1)
}

/// Starts the CPUs that the firmware's tables name, one after the other.
#[cfg(target_os = "none")]
pub fn start_others() {
    let me = apic::id();
    for &id in &topology::get().cpus {
        let number = cpu::COUNT.load(Ordering::Relaxed);
        if id != me && number < cpu::possible() && machine::start(number, id).is_none() {
            // Out of memory, or a CPU that does not answer: go on with those that do.
            break;
        }
    }
}

/// There are none to start on the host.
#[cfg(not(target_os = "none"))]
pub fn start_others() {
    let _ = (topology::get(), apic::send_init as fn(u32), apic::send_startup as fn(u32, u8));
}

#[cfg(target_os = "none")]
mod machine {
    use super::super::memory_map::TRAMPOLINE;
    use crate::arch::page_table::pte;
    use crate::arch::{apic, instructions};
    use crate::local::Local;
    use crate::mm::kmap;
    use crate::mm::layout;
    use crate::{cpu, time};
    use alloc::boxed::Box;
    use core::arch::global_asm;
    use core::sync::atomic::{AtomicU8, Ordering};

    /// Wait between the two STARTUPs, in nanoseconds (SDM volume 3, 9.4.4.1). The 10 ms after INIT were for CPUs before
    /// 64-bit mode (Linux leaves them out, too).
    const STARTUP_WAIT: u64 = 200_000;
    /// How long a CPU may take to start, in nanoseconds: as long as Linux waits. Under a hypervisor it is a thread of a host that
    /// may be busy.
    const PATIENCE: u64 = 10_000_000_000;

    /// The state of a CPU, in [`Start`]: it has not started; it has, and sets itself up; it is in service.
    const AWAITED: u8 = 0;
    const COMES: u8 = 1;
    const UP: u8 = 2;
    /// It is not waited for any more: if it starts after all, it stops.
    const GIVEN_UP: u8 = 3;

    // Runs at TRAMPOLINE. Real mode with cs = TRAMPOLINE / 16; to long mode in one step, then to the kernel's half. The
    // words at its end are filled in for each CPU.
    global_asm!(
        r#"
    .section .rodata.trampoline, "a"
    .globl trampoline_start, trampoline_end, trampoline_words
    .code16
trampoline_start:
    cli
    cld
    movw %cs, %ax
    movw %ax, %ds
    movl $0x20, %eax                // PAE
    movl %eax, %cr4
    movl trampoline_words - trampoline_start, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx
    rdmsr
    orl $0x900, %eax                // LME, NXE
    wrmsr
    movl $0x80010021, %eax          // PG, WP, NE, PE
    movl %eax, %cr0
    lgdtl trampoline_gdt_pointer - trampoline_start
    ljmpl $8, $(0x1000 + trampoline_long - trampoline_start)
    .code64
trampoline_long:
    movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    movl $(0x1000 + trampoline_words - trampoline_start), %ebx
    movq 8(%rbx), %rsp
    movq 16(%rbx), %rdi
    movq 24(%rbx), %rax
    xorl %ebp, %ebp
    pushq $0
    jmpq *%rax
    .balign 8
trampoline_gdt:
    .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff
trampoline_gdt_pointer:
    .word 23
    .long 0x1000 + trampoline_gdt - trampoline_start
    .balign 8
trampoline_words:
    .skip 32                        // page tables, stack, argument, code
trampoline_end:
    .text
        "#,
        options(att_syntax)
    );

    unsafe extern "C" {
        static trampoline_start: u8;
        static trampoline_end: u8;
        static trampoline_words: u8;
    }

    /// What a CPU is started with.
    struct Start {
        local: &'static Local,
        number: usize,
        trap_stack: usize,
        double_fault_stack: usize,
        stack: usize,
        /// See [`AWAITED`].
        state: AtomicU8,
    }

    impl Start {
        fn is(&self, state: u8) -> bool {
            self.state.load(Ordering::Acquire) == state
        }
        /// Goes from [`AWAITED`] to `state`; false if it is not awaited.
        fn leave_awaited(&self, state: u8) -> bool {
            self.state.compare_exchange(AWAITED, state, Ordering::AcqRel, Ordering::Acquire).is_ok()
        }
    }

    fn wait(ns: u64, until: impl Fn() -> bool) -> bool {
        let end = time::now_ns() + ns;
        while !until() {
            if time::now_ns() >= end {
                return false;
            }
            core::hint::spin_loop();
        }
        true
    }

    /// Starts the CPU with this APIC id as CPU `number`.
    pub fn start(number: usize, apic_id: u32) -> Option<()> {
        let start: &'static Start = Box::leak(Box::new(Start {
            local: Box::leak(Box::new(Local::new())),
            number,
            trap_stack: kmap::alloc_stack(crate::boot::FAULT_STACK_SIZE)?,
            double_fault_stack: kmap::alloc_stack(crate::boot::FAULT_STACK_SIZE)?,
            stack: kmap::alloc_stack(crate::task::KERNEL_STACK_SIZE)?,
            state: AtomicU8::new(AWAITED),
        }));
        let root = crate::boot::root_table();
        // SAFETY: the page is reserved for this; the code is position-free but for its known address.
        unsafe {
            let from = &raw const trampoline_start;
            let len = &raw const trampoline_end as usize - from as usize;
            let words = &raw const trampoline_words as usize - from as usize;
            let page = layout::direct(TRAMPOLINE as u64) as *mut u8;
            core::ptr::copy_nonoverlapping(from, page, len);
            let entry = first_code as *const () as usize;
            *(page.add(words) as *mut [usize; 4]) =
                [root as usize, start.stack, core::ptr::from_ref(start) as usize, entry];
            // The trampoline runs at its physical address.
            *(layout::direct(root) as *mut u64) =
                crate::arch::start::identity_table() | pte::PRESENT | pte::WRITE;
        }
        apic::send_init(apic_id);
        for _ in 0..2 {
            apic::send_startup(apic_id, (TRAMPOLINE >> 12) as u8);
            if wait(STARTUP_WAIT, || start.is(UP)) {
                break;
            }
        }
        if !wait(PATIENCE, || !start.is(AWAITED)) && start.leave_awaited(GIVEN_UP) {
            // It may still start. Nothing cancels the STARTUP, and without the trampoline's mappings, which stay, it would reset
            // the machine.
            return None;
        }
        while !start.is(UP) {
            core::hint::spin_loop();
        }
        // SAFETY: no CPU runs at physical addresses any more.
        unsafe { *(layout::direct(root) as *mut u64) = 0 };
        instructions::flush_tlb();
        Some(())
    }

    /// A started CPU's first code in the kernel's half.
    unsafe extern "C" fn first_code(start: &'static Start) -> ! {
        if !start.leave_awaited(COMES) {
            crate::arch::power::halt();
        }
        // SAFETY: the first thing that this CPU does here.
        unsafe { start.local.install(start.number) };
        crate::arch::trap::init_cpu(start.local, start.trap_stack, start.double_fault_stack);
        crate::arch::fpu::init_cpu();
        apic::init_cpu();
        crate::arch::timer::init_cpu();
        cpu::COUNT.fetch_add(1, Ordering::SeqCst);
        let top = start.stack;
        start.state.store(UP, Ordering::Release);
        // The identity map may be in the TLB.
        instructions::flush_tlb();
        // SAFETY: this CPU's own fresh stack, which nothing on it is needed of any more.
        unsafe { crate::task::enter_stack(top, crate::kernel::symbols::coracle_cpu_main) }
    }
}
