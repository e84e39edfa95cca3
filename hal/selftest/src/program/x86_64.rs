//! Small programs for the tests, each ending in the call [`call::EXIT`]. rdi: argument, rsi: a data page, rdx: the entry
//! for patched system calls.
use coracle_hal as hal;
use core::arch::global_asm;
use hal::context::{Fault, UserContext};
use hal::task::Ring;

/// Has the timer's interrupt come now, though interrupts are off.
pub fn interrupt_early() {
    // SAFETY: the handler keeps all registers, and runs on a stack of its own.
    unsafe { core::arch::asm!("int 0x60") };
}

global_asm!(
    r#"
    .section .rodata.programs, "a"
    .balign 4096
program_start:

program_registers:
    mov qword ptr [rsp - 8], 0x55       # red zone
    mov qword ptr [rsp - 128], 0x66
    mov ebx, 1
    mov ebp, 2
    mov r8d, 3
    mov r9d, 4
    mov r10d, 5
    mov r12d, 6
    mov r13d, 7
    mov r14d, 8
    mov r15d, 9
    mov edi, 10
    mov esi, 11
    mov edx, 12
    mov eax, 0
    syscall
    cmp rax, 7
    jne 9f
    mov rax, rbx
    add rax, rbp
    add rax, r8
    add rax, r9
    add rax, r10
    add rax, r12
    add rax, r13
    add rax, r14
    add rax, r15
    add rax, rdi
    add rax, rsi
    add rax, rdx
    cmp rax, 78
    jne 9f
    cmp qword ptr [rsp - 8], 0x55
    jne 9f
    cmp qword ptr [rsp - 128], 0x66
    jne 9f
    mov edi, 1
    xor esi, esi
    mov eax, 1
    syscall
    mov eax, 2
    syscall
9:  xor edi, edi
    mov eax, 1
    syscall
    mov eax, 2
    syscall

program_faults:
    mov r14, rsi
    mov qword ptr [rsp - 8], 0x77
    xor r13d, r13d
    lea r15, [rip + 1f]
    ud2
1:  inc r13d
    lea r15, [rip + 2f]
    xor ecx, ecx
    xor edx, edx
    mov eax, 1
    div ecx
2:  inc r13d
    mov byte ptr [0x700010], 1
    inc r13d
    int3
    inc r13d
    lea r15, [rip + 3f]
    mov rax, 0x0123456789abcdef
    mov al, [rax]
3:  inc r13d
    lea r15, [rip + 4f]
    mov eax, [8]
4:  inc r13d
    lea r15, [rip + 5f]
    jmp r14
5:  mov rdi, [rsp - 8]
    mov rsi, r13
    mov eax, 1
    syscall
    mov eax, 2
    syscall

program_alarm:
    mov r14, rsi
    mov edi, 2000000
    mov eax, 4
    syscall
    mov rbx, 5
1:  cmp dword ptr [r14], 0
    je 1b
    mov rdi, rbx
    mov esi, [r14]
    mov eax, 1
    syscall
    mov eax, 2
    syscall

program_switch:
    mov r14, rdi
    lea rax, [rdi + 100]
    movq xmm7, rax
    mov ebx, 200
1:  mov eax, 3
    syscall
    movq rax, xmm7
    sub rax, 100
    cmp rax, r14
    jne 8f
    dec ebx
    jnz 1b
    mov edi, 1
    jmp 9f
8:  xor edi, edi
9:  mov eax, 1
    syscall
    mov eax, 2
    syscall

program_copies:
    mov r14, rsi
    lea rdi, [rsi + 100]
    mov ecx, 40
    mov al, 0x33
    rep stosb
    lea rdi, [r14 + 100]
    mov esi, 40
    mov eax, 5
    syscall
    mov r12, rax
    mov edi, 0x8ffff0
    mov byte ptr [rdi], 0
    mov esi, 40
    mov eax, 5
    syscall
    mov rdi, r12
    mov rsi, rax
    mov eax, 1
    syscall
    mov eax, 2
    syscall

program_patched:
    mov r14, rdx
    mov qword ptr [rsp - 8], 1
    mov eax, 0
    lea rcx, [rip + 1f]
    jmp r14
1:  mov rdi, rax
    mov rsi, [rsp - 8]
    mov eax, 1
    lea rcx, [rip + 2f]
    jmp r14
2:  mov eax, 2
    syscall

    .macro ODD_FLAGS
        pushfq
        or dword ptr [rsp], 0x44400         # AC, NT, DF
        popfq
    .endm
    .macro USUAL_FLAGS
        pushfq
        and dword ptr [rsp], ~0x44400
        popfq
    .endm

program_flags:
    ODD_FLAGS
    mov byte ptr [0x710010], 1              # a page that is not there
    ODD_FLAGS
    mov eax, 0
    syscall
    ODD_FLAGS
    int3
    # Until a timer interrupts.
    mov r14, rsi
    mov edi, 2000000
    mov eax, 4
    syscall
    ODD_FLAGS
1:  cmp dword ptr [r14], 0
    je 1b
    USUAL_FLAGS
    mov edi, 1
    xor esi, esi
    mov eax, 1
    syscall
    mov eax, 2
    syscall

program_flags_patched:
    mov r14, rdx
    ODD_FLAGS
    mov eax, 0
    lea rcx, [rip + 1f]
    jmp r14
    # One that is left by the longer way.
1:  ODD_FLAGS
    mov rdi, rax
    xor esi, esi
    mov eax, 1
    lea rcx, [rip + 2f]
    jmp r14
2:  USUAL_FLAGS
    mov eax, 2
    syscall

program_null:
    mov ebx, 2000
    rdtsc
    mov r12d, eax
1:  mov eax, 0
    syscall
    dec ebx
    jnz 1b
    rdtsc
    sub eax, r12d
    mov edi, eax
    mov esi, 2000
    mov eax, 1
    syscall
    mov eax, 2
    syscall

program_spin:
1:  cmp dword ptr [rsi], 0
    je 1b
    mov eax, 2
    syscall

program_remap:
    # Each thread has a page of its own, and has it replaced again and again by one with the next number.
    mov r14, rdi
    mov r12, rdi
    shl r12, 12
    add r12, 0xa00000
    mov ebx, 1
1:  mov rdi, r12
    mov rsi, rbx
    mov eax, 6
    syscall
    cmp [r12], rbx
    jne 8f
    mov [r12 + 8], rbx
    inc ebx
    cmp ebx, 300
    jne 1b
    mov edi, 1
    jmp 9f
8:  xor edi, edi
9:  mov eax, 1
    syscall
    mov eax, 2
    syscall

program_compat:
    # To 32-bit code, which must not be there: from it, system calls would start the kernel at address 0.
    lea r15, [rip + 1f]
    push 0x1b
    push 0
    mov rax, rsp
    mov ecx, 2
    .byte 0x48, 0xff, 0x6c, 0x24, 0x00      # jmp far [rsp]
1:  mov edi, ecx
    xor esi, esi
    mov eax, 1
    syscall
    mov eax, 2
    syscall

program_end:
    .balign 4096
    .text
    "#
);

unsafe extern "C" {
    static program_start: u8;
    static program_end: u8;
    static program_registers: u8;
    static program_faults: u8;
    static program_alarm: u8;
    static program_switch: u8;
    static program_copies: u8;
    static program_patched: u8;
    static program_flags: u8;
    static program_flags_patched: u8;
    static program_null: u8;
    static program_spin: u8;
    static program_remap: u8;
    static program_compat: u8;
}

/// Where a program starts.
#[derive(Clone, Copy)]
pub enum Entry {
    Registers,
    Faults,
    Alarm,
    Switch,
    Copies,
    Patched,
    Flags,
    FlagsPatched,
    Null,
    Spin,
    Remap,
    Compat,
}

/// The programs' code.
pub fn code() -> &'static [u8] {
    let start = &raw const program_start;
    let len = &raw const program_end as usize - start as usize;
    // SAFETY: the assembled bytes above, in the kernel's constants.
    unsafe { core::slice::from_raw_parts(start, len) }
}

/// Where `entry` lies in the code.
pub fn offset(entry: Entry) -> usize {
    let address = match entry {
        Entry::Registers => &raw const program_registers,
        Entry::Faults => &raw const program_faults,
        Entry::Alarm => &raw const program_alarm,
        Entry::Switch => &raw const program_switch,
        Entry::Copies => &raw const program_copies,
        Entry::Patched => &raw const program_patched,
        Entry::Flags => &raw const program_flags,
        Entry::FlagsPatched => &raw const program_flags_patched,
        Entry::Null => &raw const program_null,
        Entry::Spin => &raw const program_spin,
        Entry::Remap => &raw const program_remap,
        Entry::Compat => &raw const program_compat,
    };
    address as usize - &raw const program_start as usize
}

/// The time-stamp counter: with QEMU's `-icount shift=0`, the instructions since the machine's start.
pub fn ticks() -> u64 {
    // SAFETY: only reads a counter.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// The context of a thread that starts at `entry` with the stack `stack`, with its argument and its data page.
pub fn context(entry: usize, stack: usize, argument: u64, data: usize) -> UserContext {
    UserContext {
        rip: entry as u64,
        rsp: stack as u64,
        rdi: argument,
        rsi: data as u64,
        rdx: hal::task::patched_syscall_entry() as u64,
        ..UserContext::default()
    }
}

/// Has the program go on where it said before an instruction that faults.
pub fn skip(context: &mut UserContext) {
    context.rip = context.r15;
}

/// Whether the program has met a breakpoint.
pub fn is_breakpoint(fault: &Fault) -> bool {
    matches!(fault, Fault::Breakpoint)
}

/// What a breakpoint wants of the program's context: nothing, the program goes on behind it.
pub fn after_breakpoint(_: &mut UserContext) {}

/// Flags that the kernel runs with and must not, whatever the program has set.
pub fn wrong_flags() -> u64 {
    const TRAP: u64 = 1 << 8;
    const INTERRUPT: u64 = 1 << 9;
    const DIRECTION: u64 = 1 << 10;
    const NESTED_TASK: u64 = 1 << 14;
    const ALIGNMENT_CHECK: u64 = 1 << 18;
    const CR4_SMAP: u64 = 1 << 21;
    let hal::cpu::Registers { rflags, cr4, .. } = hal::cpu::registers();
    // With SMAP the flag opens the program's memory; without it, it means nothing in ring 0.
    let alignment_check = if cr4 & CR4_SMAP != 0 { ALIGNMENT_CHECK } else { 0 };
    // `iretq` refuses to work with the flag of nested tasks, which is mended when it does.
    let nested_task = if hal::task::ring() == Ring::Protected { NESTED_TASK } else { 0 };
    rflags & (TRAP | INTERRUPT | DIRECTION | nested_task | alignment_check)
}

/// What [`Entry::Faults`] reports, and whether the faults are those that it causes.
pub const FAULTS_REPORT: (u64, u64) = (0x77, 6);
pub fn are_expected(faults: &[Fault], data: usize) -> bool {
    matches!(
        faults,
        [
            Fault::InvalidOpcode,
            Fault::DivideError,
            Fault::Page { addr: 0x70_0010, write: true, present: false, exec: false },
            Fault::Breakpoint,
            Fault::GeneralProtection { .. },
            Fault::Page { addr: 0x8, write: false, present: false, exec: false },
            Fault::Page { addr, exec: true, present: true, .. },
        ] if *addr == data
    )
}

/// An instruction that is none.
pub fn invalid() {
    // SAFETY: it is refused, which ends the kernel.
    unsafe { core::arch::asm!("ud2") };
}
