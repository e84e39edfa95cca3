//! Small programs for the tests, each ending in the call [`call::EXIT`]. rdi: argument, rsi: a data page, rdx: the entry
//! for patched system calls.
#![allow(unsafe_code)]
use core::arch::global_asm;

/// System calls of the test.
pub mod call {
    pub const NULL: u64 = 0;
    pub const REPORT: u64 = 1;
    pub const EXIT: u64 = 2;
    pub const YIELD: u64 = 3;
    pub const ALARM: u64 = 4;
    pub const COPY: u64 = 5;
    pub const REMAP: u64 = 6;
}

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

/// Crashes the kernel.
pub fn crash(how: &str) {
    // SAFETY: none of it is sound; each must end in a report.
    unsafe {
        match how {
            "null" => *core::hint::black_box(core::ptr::null_mut::<u64>()) = 1,
            "text" => *(coracle_hal::boot::kernel_text().start as *mut u64) = 1,
            "alias" => *(coracle_hal::boot::image_frame as *const () as *mut u64) = 1,
            "execute" => {
                let data = [0xc3u8; 16];
                let code: extern "C" fn() = core::mem::transmute(data.as_ptr());
                code();
            }
            "stack" => overflow(&mut [0; 64]),
            "invalid" => core::arch::asm!("ud2"),
            _ => {}
        }
    }
}

#[inline(never)]
#[allow(unconditional_recursion)]
fn overflow(words: &mut [u64; 64]) {
    let mut more = *words;
    more[5] = core::hint::black_box(&raw const more as u64);
    overflow(&mut more);
    core::hint::black_box(&more);
}

/// The time-stamp counter: with QEMU's `-icount shift=0`, the instructions since the machine's start.
pub fn ticks() -> u64 {
    // SAFETY: only reads a counter.
    unsafe { core::arch::x86_64::_rdtsc() }
}
