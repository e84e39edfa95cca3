//! The ways into the kernel and out of it, in assembly: system calls, exceptions and interrupts, the first entry of a
//! thread into the program, the switch between kernel stacks.
//!
//! A thread's kernel stack has at its top the thread's `Arc` ([`Top`]), and below it the program's registers
//! ([`UserContext`]); the kernel's own frames follow. The kernel runs with interrupts off. In unikernel mode program and
//! kernel share ring 0 and the GS base, which is given back to the kernel if the program has loaded GS ([`trap::restore_gs`]); in
//! protected mode the GS base is swapped at each crossing.
//!
//! A system call saves of the registers what it must. If all is as usual it ends the same short way; what wants all
//! registers, to see or to change them, sets the thread's attention, and is done on a longer way out that saves the rest
//! first and restores everything.
//!
//! Exceptions and interrupts arrive on a stack of their own (IST), because the program's stack has a red zone and may be
//! anything. If the program was hit, its registers go to its kernel stack and the interrupt stack is free again before
//! the kernel is called; if the kernel was hit, the handler runs there and returns.
use crate::arch::context::UserContext;
use crate::arch::trap;
use crate::call::{Call, Top};
use crate::kernel::symbols;
use crate::local::Local;
use coracle_interrupts::Place;
use core::arch::global_asm;
use core::mem::{offset_of, size_of};

/// Flags that the program may set for itself, besides what is always set (Intel SDM volume 1, 3.4.3): arithmetic, TF, DF,
/// AC, ID. Not IOPL, NT, VM.
const PROGRAM_FLAGS: u32 = 0x0024_0dd5;
/// The interrupt flag and the bit that is always 1.
const FIXED_FLAGS: u32 = 0x202;

const _: () = assert!(
    offset_of!(Local, this) == 0 && (size_of::<UserContext>() + size_of::<Top<()>>()).is_multiple_of(16)
);
/// The registers that a system call leaves out lie together.
const _: () = assert!(offset_of!(UserContext, r9) == LEFT_OUT);

/// Bytes of the registers that a system call leaves out at first: r15 to r12, rbp, rbx, rax, rcx, r11.
const LEFT_OUT: usize = 9 * 8;

unsafe extern "C" {
    pub fn syscall_entry_unikernel();
    pub fn syscall_entry_protected();
    pub fn patched_syscall_entry();
    pub fn full_exit_unikernel();
    pub fn full_exit_protected();
    pub fn thread_entry();
    pub fn nmi_entry();
    pub static trap_stubs: u8;
    fn unikernel_exit_stack();
    fn unikernel_exit_jump();
    fn wait_with_interrupts();
    fn wait_halt();
    fn wait_end();
    fn open_window() -> u64;
    fn window_open();
    fn window_end();
    /// Saves the registers that calls preserve, stores the stack pointer to `save`, goes on with the stack `next`; what
    /// returns there gets `previous`.
    pub fn switch_stacks(save: *mut usize, next: usize, previous: *const ()) -> *const ();
}

/// An instruction of the kernel at which interrupts are on. `xtask interrupts` knows this layout.
#[repr(C)]
pub struct Interruptible {
    /// Its address.
    at: unsafe extern "C" fn(),
    /// What it is.
    place: Place,
}

/// All of them. `xtask interrupts` looks for others in the built kernel.
#[used]
static INTERRUPTIBLE: [Interruptible; 7] = [
    Interruptible { at: wait_end, place: Place::AfterHalt },
    Interruptible { at: wait_halt, place: Place::Halt },
    Interruptible { at: window_open, place: Place::Window },
    Interruptible { at: window_end, place: Place::Window },
    Interruptible { at: patched_syscall_entry, place: Place::CallEntry },
    Interruptible { at: unikernel_exit_stack, place: Place::ExitStack },
    Interruptible { at: unikernel_exit_jump, place: Place::ExitJump },
];

/// The place with this address.
pub fn interruptible(address: u64) -> Option<Place> {
    INTERRUPTIBLE.iter().find(|one| one.at as *const () as u64 == address).map(|one| one.place)
}

/// Waits for the next interrupt, with interrupts off before and after.
pub fn halt() {
    // SAFETY: handlers only leave marks, and the function changes no register. The caller holds no locks.
    unsafe { wait_with_interrupts() };
}

/// Takes an interrupt if one waits for this CPU, with interrupts off before and after; returns whether one did.
#[inline(always)]
pub fn take_interrupt() -> bool {
    // SAFETY: handlers only leave marks, and the function changes no register but the one of its result. The caller holds
    // no locks.
    unsafe { open_window() != 0 }
}

/// Bytes between trap stubs, and vectors that have one.
pub const STUB_SIZE: usize = 16;

global_asm!(
    r#"
    # Saves the number and the arguments.
    .macro SAVE_ARGUMENTS
        push rax                    # orig_rax
        push rdi
        push rsi
        push rdx
        push r10
        push r8
        push r9
        sub rsp, {left_out}
    .endm

    # The result, and what a system call keeps; the callee-saved registers are as they were.
    .macro LOAD_KEPT
        mov rax, rdx
        mov rdi, [rsp + {rdi}]
        mov rsi, [rsp + {rsi}]
        mov rdx, [rsp + {rdx}]
        mov r10, [rsp + {r10}]
        mov r8, [rsp + {r8}]
        mov r9, [rsp + {r9}]
        mov rcx, [rsp + {rip}]
    .endm

    # For debuggers: the program is the caller of what is called here, as of a signal's handler, with its registers at rsp. The
    # assembler's own directives can't say that of a signal (DWARF 5, 6.4.1; 0x0f is DW_CFA_def_cfa_expression, 0x10
    # DW_CFA_expression, 0x77 DW_OP_breg7, the stack pointer, 0x06 DW_OP_deref).
    .pushsection .debug_frame, "", @progbits
    .balign 8
program_frames:
    .long 72f - 71f
71: .long 0xffffffff
    .byte 1
    .asciz "S"
    .uleb128 1
    .sleb128 -8
    .byte 16                        # the return address is in rip
    .balign 8
72: .popsection
    .macro SAVED register, offset
        .byte 0x10, \register, 3, 0x77, (\offset & 0x7f) | 0x80, \offset >> 7
    .endm
    .macro CALL_BY_PROGRAM function, saves_all
73:     call \function
74:     .pushsection .debug_frame, "", @progbits
        .balign 8
        .long 76f - 75f
75:     .long program_frames
        .quad 73b, 74b - 73b + 1    # with the address behind the call
        .byte 0x0f, 4, 0x77, ({rsp} & 0x7f) | 0x80, {rsp} >> 7, 0x06
        SAVED 16, {rip}
        SAVED 5, {rdi}
        SAVED 4, {rsi}
        SAVED 1, {rdx}
        SAVED 10, {r10}
        SAVED 8, {r8}
        SAVED 9, {r9}
        .if \saves_all
        SAVED 0, {rax}
        SAVED 2, {rcx}
        SAVED 3, {rbx}
        SAVED 6, {rbp}
        SAVED 11, {r11}
        SAVED 12, {r12}
        SAVED 13, {r13}
        SAVED 14, {r14}
        SAVED 15, {r15}
        .endif
        .balign 8
76:     .popsection
    .endm

    .text
    .balign 64
    .globl syscall_entry_unikernel
syscall_entry_unikernel:
    mov gs:[{user_rsp}], rsp
    mov rsp, gs:[{stack_top}]
    push qword ptr gs:[{user_rsp}]
    push r11                        # rflags
    push rcx                        # rip
    SAVE_ARGUMENTS
    cmp rcx, gs:[{site}]
    je call_unikernel
    mov rdi, rsp
    call {new_site}
    mov gs:[{site}], rax
    jmp call_unikernel

    # The flags are the program's: `syscall` clears those of them that the kernel can't run with, which are lost here.
    .balign 64
    .globl patched_syscall_entry
patched_syscall_entry:
    cli
    cld
    mov r11, rsp
    mov rsp, gs:[{stack_top}]
    push r11
    push {fixed_flags}
    push rcx
    SAVE_ARGUMENTS
call_unikernel:
    mov rdi, rsp
    CALL_BY_PROGRAM {syscall}, 0
    cmp dword ptr [rsp + {attention}], 0
    jne attend
    LOAD_KEPT
    push qword ptr [rsp + {rflags}]
    popfq
unikernel_exit_stack:
    mov rsp, [rsp + {rsp}]
unikernel_exit_jump:
    jmp rcx

    .balign 64
    .globl syscall_entry_protected
syscall_entry_protected:
    swapgs
    mov gs:[{user_rsp}], rsp
    mov rsp, gs:[{stack_top}]
    push qword ptr gs:[{user_rsp}]
    push r11
    push rcx
    SAVE_ARGUMENTS
    mov rdi, rsp
    CALL_BY_PROGRAM {syscall}, 0
    cmp dword ptr [rsp + {attention}], 0
    jne attend
    LOAD_KEPT
    # sysret to an address that is not canonical faults in ring 0 on Intel's CPUs, with the program's stack.
    mov r11, rcx
    shr r11, 47
    jnz 9f
    mov r11, [rsp + {rflags}]
    mov rsp, [rsp + {rsp}]
    swapgs
    sysretq
9:  mov rdx, rax
    jmp attend

    # The longer way out of a system call, with its result in rdx: saves what the entry left out, and restores everything in the end.
    .balign 16
attend:
    mov [rsp + {rax}], rdx
    mov [rsp + {rbx}], rbx
    mov [rsp + {rbp}], rbp
    mov [rsp + {r12}], r12
    mov [rsp + {r13}], r13
    mov [rsp + {r14}], r14
    mov [rsp + {r15}], r15
    mov rcx, [rsp + {rip}]
    mov [rsp + {rcx}], rcx
    mov r11, [rsp + {rflags}]
    mov [rsp + {r11}], r11
    mov rdi, rsp
    CALL_BY_PROGRAM {attend}, 1
    jmp qword ptr gs:[{full_exit}]

    # All registers of the program from its context at rsp.
    .macro FULL_EXIT name, code, stack
    .balign 16
    .globl \name
\name:
    mov rax, [rsp + {rip}]
    shr rax, 47
    jnz 9f
    mov rax, [rsp + {rflags}]
    and eax, {program_flags}
    or eax, {fixed_flags}
    mov rcx, rsp
    push \stack
    push qword ptr [rcx + {rsp}]
    push rax
    push \code
    push qword ptr [rcx + {rip}]
    mov r15, [rcx + {r15}]
    mov r14, [rcx + {r14}]
    mov r13, [rcx + {r13}]
    mov r12, [rcx + {r12}]
    mov rbp, [rcx + {rbp}]
    mov rbx, [rcx + {rbx}]
    mov r9, [rcx + {r9}]
    mov r8, [rcx + {r8}]
    mov r10, [rcx + {r10}]
    mov rdx, [rcx + {rdx}]
    mov rsi, [rcx + {rsi}]
    mov rdi, [rcx + {rdi}]
    mov rax, [rcx + {rax}]
    mov r11, [rcx + {r11}]
    mov rcx, [rcx + {rcx}]
    .endm

    FULL_EXIT full_exit_unikernel, {kernel_code}, {kernel_data}
    iretq
9:  mov rsi, rsp
    lea rdi, [rsp + {slot}]
    call {bad_address}
    jmp full_exit_unikernel

    FULL_EXIT full_exit_protected, {user_code}, {user_data}
    swapgs
    iretq
9:  mov rsi, rsp
    lea rdi, [rsp + {slot}]
    call {bad_address}
    jmp full_exit_protected

    # A new thread: `switch_stacks` returns here, rax is the thread that was left, the context lies above.
    .balign 16
    .globl thread_entry
thread_entry:
    xor ebp, ebp
    mov rdi, rax
    lea rsi, [rsp + {slot}]
    mov rdx, rsp
    call {thread_start}
    jmp qword ptr gs:[{full_exit}]

    .balign 16
    .globl switch_stacks
switch_stacks:
    push rbp
    push rbx
    push r12
    push r13
    push r14
    push r15
    mov [rdi], rsp
    mov rsp, rsi
    mov rax, rdx
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbx
    pop rbp
    ret

    # One stub per vector: pushes an error code where the CPU does not, then the vector.
    .balign 16
    .globl trap_stubs
trap_stubs:
    .set vector, 0
    .rept {vectors}
    .balign 16
    .if (vector == 8) | ((vector >= 10) & (vector <= 14)) | (vector == 17) | (vector == 21) | (vector == 29) | (vector == 30)
    .else
    push 0
    .endif
    .byte 0x6a, vector               # push imm8
    jmp trap_common
    .set vector, vector + 1
    .endr

    # Closes the program's memory, which a program opens to the kernel by setting AC, and a copy that a fault interrupts has
    # opened: unlike `syscall`, gates leave this flag alone (Intel SDM volume 3, 6.12.1.3). Without SMAP there is no `clac`.
    .macro CLOSE_USER_MEMORY
        cmp byte ptr [rip + {smap}], 0
        je 8f
        clac
    8:
    .endm

    # [rsp]: vector, error, rip, cs, rflags, rsp, ss.
    .balign 16
trap_common:
    test byte ptr [rsp + 24], 3
    jnz 2f
    cmp qword ptr [rsp + 16], 0
    js trap_kernel
    # In ring 0 at an address of the lower half: the program in unikernel mode, else the kernel gone astray.
    cmp byte ptr [rip + {ring}], {unikernel}
    jne trap_kernel
    # A program that has loaded GS has taken the kernel's base from it. What is written is below the stack.
6:  mov word ptr [rsp - 8], gs
    cmp word ptr [rsp - 8], {unikernel_gs}
    je 3f
    push rax
    push rcx
    push rdx
    push rsi
    push rdi
    push r8
    push r9
    push r10
    push r11
    cld
    mov rdi, rsp
    call {restore_gs}
    pop r11
    pop r10
    pop r9
    pop r8
    pop rdi
    pop rsi
    pop rdx
    pop rcx
    pop rax
    jmp 3f
2:  swapgs
    CLOSE_USER_MEMORY
3:  mov gs:[{scratch}], rax
    mov rax, gs:[{stack_top}]
    lea rax, [rax - {registers}]
    mov [rax + {r15}], r15
    mov [rax + {r14}], r14
    mov [rax + {r13}], r13
    mov [rax + {r12}], r12
    mov [rax + {rbp}], rbp
    mov [rax + {rbx}], rbx
    mov [rax + {r9}], r9
    mov [rax + {r8}], r8
    mov [rax + {r10}], r10
    mov [rax + {rdx}], rdx
    mov [rax + {rsi}], rsi
    mov [rax + {rdi}], rdi
    mov [rax + {rcx}], rcx
    mov [rax + {r11}], r11
    mov rcx, gs:[{scratch}]
    mov [rax + {rax}], rcx
    mov qword ptr [rax + {orig_rax}], -1
    mov rdx, [rsp]
    mov rcx, [rsp + 8]
    mov rbx, [rsp + 16]
    mov [rax + {rip}], rbx
    mov rbx, [rsp + 32]
    mov [rax + {rflags}], rbx
    mov rbx, [rsp + 40]
    mov [rax + {rsp}], rbx
    mov rsp, rax
    xor ebp, ebp
    cld
    mov rsi, rsp
    lea rdi, [rsp + {slot}]
    CALL_BY_PROGRAM {trap_program}, 1
    jmp qword ptr gs:[{full_exit}]

    .macro POP_ALL
        pop r15
        pop r14
        pop r13
        pop r12
        pop r11
        pop r10
        pop r9
        pop r8
        pop rbp
        pop rdi
        pop rsi
        pop rdx
        pop rcx
        pop rbx
        pop rax
    .endm

    .balign 16
trap_kernel:
    push rax
    cmp qword ptr [rsp + 8], {first_interrupt}
    jb 5f
    lea rax, [rip + wait_end]
    cmp [rsp + 24], rax
    je wait_interrupted
    lea rax, [rip + wait_halt]
    cmp [rsp + 24], rax
    je wait_interrupted
    lea rax, [rip + window_end]
    cmp [rsp + 24], rax
    je wait_interrupted
    lea rax, [rip + window_open]
    cmp [rsp + 24], rax
    je wait_interrupted
5:  push rbx
    push rcx
    push rdx
    push rsi
    push rdi
    push rbp
    push r8
    push r9
    push r10
    push r11
    push r12
    push r13
    push r14
    push r15
    CLOSE_USER_MEMORY
    cld
    mov rdi, rsp
    mov rbx, rsp
    and rsp, -16
    call {trap_kernel}
    mov rsp, rbx
    test al, al
    jnz 4f
    POP_ALL
    add rsp, 16
    iretq
4:  POP_ALL
    jmp 6b

    # An interrupt in `wait_with_interrupts` or `open_window`: does what it is there for on the stack of the interrupted code,
    # and returns from that function, of which a caller expects no more than of any: interrupts are off, registers that
    # calls preserve are as they were. Past the `hlt`, because a hypervisor that takes interrupts right after `sti`
    # would have it sleep through the work. The interrupt stack is free at once. The result is that of `open_window`.
wait_interrupted:
    mov rdi, [rsp + 8]
    mov rsp, [rsp + 48]
    sub rsp, 8
    call {handle}
    add rsp, 8
    mov eax, 1
    ret

    # Interrupts are off before and after. They come on after the instruction that follows `sti`: a CPU that keeps to that
    # takes none before it halts.
    .balign 16
wait_with_interrupts:
    sti
wait_halt:
    hlt
wait_end:
    cli
    ret

    # Interrupts are off before and after. Returns 1 if one was taken, else 0.
    .balign 16
    .globl open_window
open_window:
    xor eax, eax
    sti
window_open:
    nop
window_end:
    cli
    ret

    .balign 16
    .globl nmi_entry
nmi_entry:
    iretq
    "#,
    left_out = const LEFT_OUT,
    registers = const size_of::<UserContext>(),
    attention = const offset_of!(Call<()>, top) + offset_of!(Top<()>, attention),
    slot = const offset_of!(Call<()>, top) + offset_of!(Top<()>, thread),
    r15 = const offset_of!(UserContext, r15),
    r14 = const offset_of!(UserContext, r14),
    r13 = const offset_of!(UserContext, r13),
    r12 = const offset_of!(UserContext, r12),
    rbp = const offset_of!(UserContext, rbp),
    rbx = const offset_of!(UserContext, rbx),
    r9 = const offset_of!(UserContext, r9),
    r8 = const offset_of!(UserContext, r8),
    r10 = const offset_of!(UserContext, r10),
    rdx = const offset_of!(UserContext, rdx),
    rsi = const offset_of!(UserContext, rsi),
    rdi = const offset_of!(UserContext, rdi),
    orig_rax = const offset_of!(UserContext, orig_rax),
    rax = const offset_of!(UserContext, rax),
    rcx = const offset_of!(UserContext, rcx),
    r11 = const offset_of!(UserContext, r11),
    rip = const offset_of!(UserContext, rip),
    rflags = const offset_of!(UserContext, rflags),
    rsp = const offset_of!(UserContext, rsp),
    user_rsp = const offset_of!(Local, user_rsp),
    stack_top = const offset_of!(Local, stack_top),
    scratch = const offset_of!(Local, scratch),
    full_exit = const offset_of!(Local, full_exit),
    site = const offset_of!(Local, site),
    program_flags = const PROGRAM_FLAGS,
    fixed_flags = const FIXED_FLAGS,
    kernel_code = const trap::KERNEL_CODE,
    kernel_data = const trap::KERNEL_DATA,
    user_code = const trap::USER_CODE,
    user_data = const trap::USER_DATA,
    vectors = const trap::VECTORS,
    first_interrupt = const trap::DEVICE_VECTOR,
    unikernel_gs = const trap::UNIKERNEL_GS,
    syscall = sym symbols::coracle_syscall,
    attend = sym symbols::coracle_attend,
    new_site = sym symbols::coracle_new_site,
    thread_start = sym symbols::coracle_thread_start,
    ring = sym crate::task::RING,
    smap = sym crate::arch::copy::SMAP,
    unikernel = const crate::task::Ring::Unikernel as u8,
    trap_program = sym trap::trap_program,
    trap_kernel = sym trap::trap_kernel,
    handle = sym trap::interrupt_wait,
    restore_gs = sym trap::restore_gs,
    bad_address = sym trap::bad_address,
);
