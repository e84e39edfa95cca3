//! The ways into the kernel and out of it, in assembly: exceptions and interrupts of programs, faults of the kernel, the first
//! entry of a thread into its program, the switch between kernel stacks.
//!
//! While a program runs, SP_EL1 is at its context, at the top of its thread's kernel stack. An entry saves all general registers
//! there, and the kernel's frames follow below. When the kernel is about to return, its stack pointer is there again. The kernel
//! runs with interrupts masked, and keeps nothing in SP_EL0.
use super::context::UserContext;
use super::{copy, interrupt, trap};
use crate::call::{Call, Top};
use crate::kernel::symbols;
use crate::local::Local;
use crate::task::{RING, Ring};
use core::arch::global_asm;
use core::mem::{offset_of, size_of};

const _: () = assert!((size_of::<UserContext>() + size_of::<Top<()>>()).is_multiple_of(16));

/// Flags that a program has for itself: the conditions (Arm ARM, C5.2.9). The others of a saved state are the kernel's choice.
const PROGRAM_FLAGS: u64 = 0xf000_0000;
/// The mode of a program in unikernel mode: EL1 with SP_EL0 (SPSR_EL1.M). That of one in protected mode, EL0, is 0.
const EL1T: u64 = 0b0100;

unsafe extern "C" {
    /// The table of exception vectors.
    pub static coracle_vectors: u8;
    pub fn thread_entry();
    /// Saves the registers that calls preserve, stores the stack pointer to `save`, goes on with the stack `next`; what
    /// returns there gets `previous`.
    pub fn switch_stacks(save: *mut usize, next: usize, previous: *const ()) -> *const ();
}

/// Waits until an interrupt waits for this CPU, with interrupts masked before and after, and takes it.
pub fn halt() {
    // SAFETY: an interrupt ends the wait though it is masked (Arm ARM, D1.6).
    unsafe { core::arch::asm!("dsb sy", "wfi", options(nomem, nostack, preserves_flags)) };
    interrupt::take();
}

/// Takes the interrupts that wait for this CPU; returns whether there were any.
#[inline(always)]
pub fn take_interrupt() -> bool {
    interrupt::take().any
}

global_asm!(
    r#"
    .macro VECTOR target
    .balign 128
    b \target
    .endm

    .text
    .balign 2048
    .globl coracle_vectors
coracle_vectors:
    # EL1 with SP_EL0: the program in unikernel mode.
    VECTOR program_exception
    VECTOR program_interrupt
    VECTOR program_interrupt
    VECTOR program_error
    # EL1 with SP_EL1: the kernel.
    VECTOR kernel_exception
    VECTOR kernel_exception
    VECTOR kernel_exception
    VECTOR kernel_exception
    # EL0: the program in protected mode.
    VECTOR program_exception
    VECTOR program_interrupt
    VECTOR program_interrupt
    VECTOR program_error
    # EL0 in 32-bit state, which is never entered.
    VECTOR kernel_exception
    VECTOR kernel_exception
    VECTOR kernel_exception
    VECTOR kernel_exception

    .macro SAVE_ALL
    stp x0, x1, [sp]
    stp x2, x3, [sp, 16]
    stp x4, x5, [sp, 32]
    stp x6, x7, [sp, 48]
    stp x8, x9, [sp, 64]
    stp x10, x11, [sp, 80]
    stp x12, x13, [sp, 96]
    stp x14, x15, [sp, 112]
    stp x16, x17, [sp, 128]
    stp x18, x19, [sp, 144]
    stp x20, x21, [sp, 160]
    stp x22, x23, [sp, 176]
    stp x24, x25, [sp, 192]
    stp x26, x27, [sp, 208]
    stp x28, x29, [sp, 224]
    mrs x9, sp_el0
    mrs x10, elr_el1
    mrs x11, spsr_el1
    str x30, [sp, 240]
    str x9, [sp, {sp}]
    stp x10, x11, [sp, {pc}]
    str x0, [sp, {orig_x0}]
    mov x29, xzr
    mov x30, xzr
    .endm

    .balign 64
program_exception:
    SAVE_ALL
    mrs x2, esr_el1
    lsr x9, x2, 26
    cmp x9, {svc}
    b.ne 1f
    str x8, [sp, {call}]
    mov x0, sp
    bl {syscall}
    str x1, [sp]
    ldr w9, [sp, {attention}]
    cbz w9, program_exit
    mov x0, sp
    bl {attend}
    b program_exit
1:  mov x9, -1
    str x9, [sp, {call}]
    mrs x3, far_el1
    mov x1, sp
    add x0, sp, {slot}
    bl {trap_program}
    b program_exit

    .balign 64
program_interrupt:
    SAVE_ALL
    mov x9, -1
    str x9, [sp, {call}]
    mov x1, sp
    add x0, sp, {slot}
    bl {interrupt_program}
    b program_exit

program_error:
    SAVE_ALL
    mrs x0, esr_el1
    mov x1, sp
    bl {error}

    # A new thread: `switch_stacks` returns here, x0 is the thread that was left, the context lies at the stack pointer.
    .balign 64
    .globl thread_entry
thread_entry:
    mov x29, xzr
    mov x2, sp
    add x1, sp, {slot}
    bl {thread_start}

    # All registers of the program from its context at sp, where sp stays.
program_exit:
    ldr x9, [sp, {sp}]
    ldp x10, x11, [sp, {pc}]
    and x11, x11, {program_flags}
    adrp x12, {ring}
    ldrb w12, [x12, :lo12:{ring}]
    mov x13, {el1t}
    cmp w12, {unikernel}
    csel x13, x13, xzr, eq
    orr x11, x11, x13
    msr sp_el0, x9
    msr elr_el1, x10
    msr spsr_el1, x11
    ldp x0, x1, [sp]
    ldp x2, x3, [sp, 16]
    ldp x4, x5, [sp, 32]
    ldp x6, x7, [sp, 48]
    ldp x8, x9, [sp, 64]
    ldp x10, x11, [sp, 80]
    ldp x12, x13, [sp, 96]
    ldp x14, x15, [sp, 112]
    ldp x16, x17, [sp, 128]
    ldp x18, x19, [sp, 144]
    ldp x20, x21, [sp, 160]
    ldp x22, x23, [sp, 176]
    ldp x24, x25, [sp, 192]
    ldp x26, x27, [sp, 208]
    ldp x28, x29, [sp, 224]
    ldr x30, [sp, 240]
    eret

    # An exception of the kernel. Its stack may have overflowed, so another one is used; SP_EL0 is free.
    .balign 64
kernel_exception:
    msr sp_el0, x0
    mrs x0, tpidr_el1
    ldr x0, [x0, {fault_stack}]
    sub x0, x0, {frame}
    stp x1, x2, [x0, 8]
    stp x3, x4, [x0, 24]
    stp x5, x6, [x0, 40]
    stp x7, x8, [x0, 56]
    stp x9, x10, [x0, 72]
    stp x11, x12, [x0, 88]
    stp x13, x14, [x0, 104]
    stp x15, x16, [x0, 120]
    stp x17, x18, [x0, 136]
    stp x19, x20, [x0, 152]
    stp x21, x22, [x0, 168]
    stp x23, x24, [x0, 184]
    stp x25, x26, [x0, 200]
    stp x27, x28, [x0, 216]
    stp x29, x30, [x0, 232]
    mrs x1, sp_el0
    str x1, [x0]
    mov x1, sp
    mrs x2, elr_el1
    mrs x3, spsr_el1
    stp x1, x2, [x0, 248]
    str x3, [x0, 264]
    mov sp, x0
    mrs x1, esr_el1
    mrs x2, far_el1
    bl {trap_kernel}
    mov x0, sp
    ldp x1, x2, [x0, 248]
    ldr x3, [x0, 264]
    mov sp, x1
    msr elr_el1, x2
    msr spsr_el1, x3
    ldp x3, x4, [x0, 24]
    ldp x5, x6, [x0, 40]
    ldp x7, x8, [x0, 56]
    ldp x9, x10, [x0, 72]
    ldp x11, x12, [x0, 88]
    ldp x13, x14, [x0, 104]
    ldp x15, x16, [x0, 120]
    ldp x17, x18, [x0, 136]
    ldp x19, x20, [x0, 152]
    ldp x21, x22, [x0, 168]
    ldp x23, x24, [x0, 184]
    ldp x25, x26, [x0, 200]
    ldp x27, x28, [x0, 216]
    ldp x29, x30, [x0, 232]
    ldp x1, x2, [x0, 8]
    ldr x0, [x0]
    eret

    .balign 16
    .globl switch_stacks
switch_stacks:
    sub sp, sp, 96
    stp x19, x20, [sp]
    stp x21, x22, [sp, 16]
    stp x23, x24, [sp, 32]
    stp x25, x26, [sp, 48]
    stp x27, x28, [sp, 64]
    stp x29, x30, [sp, 80]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    mov x0, x2
    ldp x19, x20, [sp]
    ldp x21, x22, [sp, 16]
    ldp x23, x24, [sp, 32]
    ldp x25, x26, [sp, 48]
    ldp x27, x28, [sp, 64]
    ldp x29, x30, [sp, 80]
    add sp, sp, 96
    ret
    "#,
    sp = const offset_of!(UserContext, sp),
    pc = const offset_of!(UserContext, pc),
    call = const offset_of!(UserContext, call),
    orig_x0 = const offset_of!(UserContext, orig_x0),
    attention = const offset_of!(Call<()>, top) + offset_of!(Top<()>, attention),
    slot = const offset_of!(Call<()>, top) + offset_of!(Top<()>, thread),
    fault_stack = const offset_of!(Local, tables) + offset_of!(super::tables::Tables, fault_stack),
    frame = const size_of::<trap::TrapFrame>(),
    program_flags = const PROGRAM_FLAGS,
    el1t = const EL1T,
    svc = const trap::SVC,
    unikernel = const Ring::Unikernel as u8,
    ring = sym RING,
    syscall = sym symbols::coracle_syscall,
    attend = sym symbols::coracle_attend,
    thread_start = sym symbols::coracle_thread_start,
    trap_program = sym trap::trap_program,
    interrupt_program = sym trap::interrupt_program,
    error = sym trap::error,
    trap_kernel = sym trap::trap_kernel,
);

/// Calls are not patched: their instruction is as fast as a jump would be.
pub fn patched_syscall_entry() {
    let _ = copy::has_pan;
}
